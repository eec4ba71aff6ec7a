"""Readers of the sets' layouts: Seed-TTS-eval, LibriSpeech, and lines of JSON."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile

from fireredtts2.evaluation.clone_sets import CloneItem, SetSource, check_ids

META_NAME = "meta.lst"
FIELD_NAMES = ("id", "prompt_text", "prompt_wav", "text")
JSON_FIELDS = {"id", "text", "prompt_audio", "prompt_text", "reference_audio"}
ID_PATTERN = re.compile(r"[\w-][\w.-]*")
MAX_ID_BYTES = 128

# As in VALL-E and after: what is spoken is of 4 to 10 s, the prompt another sentence of the
# speaker. A prompt is a whole sentence, since it needs its transcript.
MIN_TARGET_S, MAX_TARGET_S = 4.0, 10.0
MIN_PROMPT_S, MAX_PROMPT_S = 3.0, 10.0


def read_set(source: SetSource, seed: int = 0) -> list[CloneItem]:
    """All items of a set.

    Args:
        source: Which set.
        seed: Draws the prompts of a set that leaves them open (LibriSpeech).

    Raises:
        ValueError: The layout is not that of its kind; names the file and the line.
    """
    if not source.path.exists():
        raise ValueError(f"{source.path}: no such file or folder ({source.kind} set)")
    if source.kind == "librispeech":
        items = read_librispeech(source.path, seed)
    else:
        readers = {"seed-tts-eval": read_seed_tts_eval, "jsonl": read_jsonl}
        items = readers[source.kind](source.path)
    check_ids(items, source.path)
    return items


def read_seed_tts_eval(path: Path) -> list[CloneItem]:
    """Reads `meta.lst`: `id|prompt_text|prompt_wav|text` and, where there is one, `|gt_wav`.

    Args:
        path: The file, or the folder that holds `meta.lst`. Sounds are beside it.

    Raises:
        ValueError: names the file and line that is not so.
    """
    meta = path / META_NAME if path.is_dir() else path
    if not meta.is_file():
        raise ValueError(f"{path}: no {META_NAME} in this folder; it is not a Seed-TTS-eval set")
    return [_meta_item(meta, number, line) for number, line in _lines(meta)]


def _meta_item(meta: Path, number: int, line: str) -> CloneItem:
    where = f"{meta}, line {number}"
    fields = [field.strip() for field in line.split("|")]
    if len(fields) not in (4, 5):
        raise ValueError(
            f"{where}: {len(fields)} fields between '|'; expected {'|'.join(FIELD_NAMES)}[|gt_wav]"
        )
    values = dict(zip(FIELD_NAMES, fields, strict=False))
    empty = [name for name, value in values.items() if not value]
    if empty:
        raise ValueError(f"{where}: {', '.join(empty)} is empty")
    reference = fields[4] if len(fields) == 5 and fields[4] else ""
    return CloneItem(
        _id(values["id"], where),
        values["text"],
        _sound(meta.parent, values["prompt_wav"], where),
        values["prompt_text"],
        _sound(meta.parent, reference, where) if reference else None,
    )


def read_jsonl(path: Path) -> list[CloneItem]:
    """Reads lines of JSON: `id`, `text`, `prompt_audio`, `prompt_text`, maybe `reference_audio`.

    Paths are taken from the file's folder.

    Raises:
        ValueError: names the file and line that is not so.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not a file of JSON lines")
    return [_json_item(path, number, line) for number, line in _lines(path)]


def _json_item(path: Path, number: int, line: str) -> CloneItem:
    where = f"{path}, line {number}"
    try:
        values: Any = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON ({error})") from None
    if not isinstance(values, dict) or set(values) - JSON_FIELDS:
        fields = sorted(set(values) - JSON_FIELDS) if isinstance(values, dict) else "no object"
        raise ValueError(f"{where}: {fields}; allowed: {', '.join(sorted(JSON_FIELDS))}")
    for name in ("id", "text", "prompt_audio", "prompt_text"):
        if not isinstance(values.get(name), str) or not values[name].strip():
            raise ValueError(f"{where}: {name} must be a text that is not empty")
        if _has_half_a_character(values[name]):
            raise ValueError(f"{where}: {name} holds half a character: {values[name]!a}")
    reference = values.get("reference_audio")
    if reference is not None and not (isinstance(reference, str) and reference):
        raise ValueError(f"{where}: reference_audio must be the path of a sound, or null")
    return CloneItem(
        _id(values["id"], where),
        values["text"],
        _sound(path.parent, values["prompt_audio"], where),
        values["prompt_text"],
        _sound(path.parent, reference, where) if reference else None,
    )


def read_librispeech(path: Path, seed: int = 0) -> list[CloneItem]:
    """Reads `speaker/chapter/*.flac` with `*.trans.txt`; each sentence cloned from another.

    Sentences of 4 to 10 s are spoken; the prompt is another one of the same speaker, of 3 to 10 s,
    drawn by `seed`. The transcripts are in capitals without punctuation: they are spoken in small
    letters, the first large, with a full stop.

    Raises:
        ValueError: no transcript in the folder, or a line of one that is not so.
    """
    files = sorted(path.rglob("*.trans.txt"))
    if not files:
        raise ValueError(f"{path}: no *.trans.txt below this folder; it is not a LibriSpeech set")
    by_speaker: dict[str, list[_Sentence]] = defaultdict(list)
    for file in files:
        for number, line in _lines(file):
            sentence = _Sentence(file, number, line)
            by_speaker[sentence.speaker].append(sentence)
    items = [
        item
        for speaker, sentences in sorted(by_speaker.items())
        for item in _cross_sentence(sentences, random.Random(f"{seed} {speaker}"))
    ]
    if not items:
        raise ValueError(
            f"{path}: no speaker has a sentence of {MIN_TARGET_S:.0f} to {MAX_TARGET_S:.0f} s and "
            f"another of {MIN_PROMPT_S:.0f} to {MAX_PROMPT_S:.0f} s as its prompt"
        )
    return items


class _Sentence:
    """One line of a transcript and its recording."""

    def __init__(self, file: Path, number: int, line: str) -> None:
        where = f"{file}, line {number}"
        name, _, text = line.strip().partition(" ")
        if not text.strip():
            raise ValueError(f"{where}: expected SPEAKER-CHAPTER-NUMBER TEXT, got {line.strip()!r}")
        self.id = _id(name, where)
        self.speaker = name.partition("-")[0]
        self.text = f"{text.strip().capitalize()}."
        self.path = _sound(file.parent, f"{name}.flac", where)
        self.seconds = float(soundfile.info(self.path).duration)


def _cross_sentence(sentences: Sequence[_Sentence], draw: random.Random) -> list[CloneItem]:
    prompts = [s for s in sentences if MIN_PROMPT_S <= s.seconds <= MAX_PROMPT_S]
    items = []
    for target in sentences:
        others = [prompt for prompt in prompts if prompt is not target]
        if others and MIN_TARGET_S <= target.seconds <= MAX_TARGET_S:
            prompt = draw.choice(others)
            items.append(CloneItem(target.id, target.text, prompt.path, prompt.text, target.path))
    return items


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 ({error})") from None
    return [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _has_half_a_character(text: str) -> bool:
    """Whether JSON wrote one of two surrogates alone, which no file can hold."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _id(name: str, where: str) -> str:
    """An id that can be a file's name."""
    plain = name.removesuffix(".wav")
    if not ID_PATTERN.fullmatch(plain) or len(plain.encode()) > MAX_ID_BYTES:
        raise ValueError(
            f"{where}: id {name!r}; allowed: letters, digits, '_', '-', '.', and at most "
            f"{MAX_ID_BYTES} bytes as UTF-8"
        )
    return plain


def _sound(folder: Path, name: str, where: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise ValueError(f"{where}: no such sound file: {path}")
    return path
