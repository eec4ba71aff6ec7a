"""Who says a new text after what, for the takes that the language model learns from."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.llm.prompt import Rows, audio_rows, text_rows
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.text_frontend import TextFrontend
from fireredtts2.training.corpus import Row, is_held_out, read_codes, read_index
from fireredtts2.training.guidance import SpokenSegment
from fireredtts2.voices import VoiceLibrary

KINDS = ("talk", "talk2", "sentence", "pair")
MAX_TEXT_BYTES = 140
MIN_PROMPT_SECONDS, MAX_PROMPT_SECONDS = 2.0, 5.5
MAX_TURN_SECONDS = 11.0
NAMED_SHARE = 0.6  # of texts in a voice that ships, with the clip that it ships as
TALK_SHARE = 0.5  # of texts that come after other turns
MAX_EARLIER_TURNS = 3
MAX_SPEAKERS = 2
MAX_PROMPT_ROWS = 400  # with a long take no more than training showed


@dataclass(frozen=True)
class Said:
    """A segment that comes before: whose tag, what words, which codes (Q, T)."""

    tag: str
    text: str
    codes: Tensor


@dataclass(frozen=True)
class Task:
    """A text to be spoken after segments that were said.

    Attributes:
        text: as it is written.
        tag: "S1" to "S4", who speaks it.
        speaker: the corpus's name of the voice.
        said: prompts of all voices, then turns.
    """

    text: str
    tag: str
    speaker: str
    said: Sequence[Said]


class Casting:
    """Draws who says a text after what."""

    def __init__(self, work: Path, folder: CheckpointFolder) -> None:
        self.num_codebooks = folder.llm_config.audio_num_codebooks
        self.codes = dict(read_codes(work))
        self.rows: dict[str, list[Row]] = {}
        for row in read_index(work).values():
            if row["id"] in self.codes and not is_held_out(row["id"]):
                self.rows.setdefault(row["speaker"], []).append(row)
        library = VoiceLibrary([folder.voices_path])
        self.voices = {name: library.get(name) for name in library.list()}
        self.named = sorted(set(self.rows) & set(self.voices))
        self.others = sorted(set(self.rows) - set(self.voices))
        if max(len(self.named), len(self.others)) < MAX_SPEAKERS:
            raise ValueError(f"{work}: takes need clips of two voices, there are {list(self.rows)}")

    def task(self, text: str, rng: np.random.Generator) -> Task:
        """The text in the voice of somebody who was heard before."""
        said, tags, speakers = self._scene(rng, self._prompt)
        who = int(rng.integers(len(tags)))
        return Task(text, tags[who], speakers[who], said)

    def conversation(self, rng: np.random.Generator) -> list[Said]:
        """Prompts and turns, all of them recorded, and none always the same."""
        said, tags, speakers = self._scene(rng, self._turn)
        who = int(rng.integers(len(tags)))
        return [*said, self._turn(tags[who], speakers[who], rng, MAX_TURN_SECONDS)]

    def _scene(
        self, rng: np.random.Generator, prompt: Callable[[str, str, np.random.Generator], Said]
    ) -> tuple[list[Said], list[str], list[str]]:
        """Prompts of one voice or two, then turns; the tags, and whose they are."""
        count = MAX_SPEAKERS if rng.random() < TALK_SHARE else 1
        pools = (
            (self.named, self.others) if rng.random() < NAMED_SHARE else (self.others, self.named)
        )
        pool = next(names for names in pools if len(names) >= count)
        speakers = [str(name) for name in rng.choice(pool, count, replace=False)]
        tags = sorted(f"S{n + 1}" for n in rng.choice(MAX_SPEAKERS, count, replace=False))
        said = [prompt(tag, name, rng) for tag, name in zip(tags, speakers, strict=True)]
        for _ in range(int(rng.integers(MAX_EARLIER_TURNS + 1)) if count > 1 else 0):
            who = int(rng.integers(count))
            said.append(self._turn(tags[who], speakers[who], rng))
        return said, tags, speakers

    def _prompt(self, tag: str, speaker: str, rng: np.random.Generator) -> Said:
        if speaker in self.voices:
            voice = self.voices[speaker]
            return Said(tag, voice.text, voice.codes[: self.num_codebooks])
        return self._turn(tag, speaker, rng)

    def _turn(
        self,
        tag: str,
        speaker: str,
        rng: np.random.Generator,
        most_seconds: float = MAX_PROMPT_SECONDS,
    ) -> Said:
        row = self._drawn(speaker, rng, most_seconds)
        codes = torch.from_numpy(self.codes[row["id"]][: self.num_codebooks]).long()
        return Said(tag, row["text"], codes)

    def _drawn(self, speaker: str, rng: np.random.Generator, most_seconds: float) -> Row:
        least, most = MIN_PROMPT_SECONDS * OUTPUT_RATE_HZ, most_seconds * OUTPUT_RATE_HZ
        rows = self.rows[speaker]
        fitting = [row for row in rows if least <= row["samples"] <= most] or rows
        return fitting[int(rng.integers(len(fitting)))]


class PromptRows:
    """Rows of tasks, as inference lays them out."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self.frontend = TextFrontend.from_checkpoint(folder)
        self.tokenizer = TextTokenizer.from_folder(folder.tokenizer_path)
        self.num_codebooks = folder.llm_config.audio_num_codebooks

    def of(self, task: Task) -> Rows:
        """What is read before the first frame."""
        parts = []
        for one in task.said:
            parts += [self._text(one.tag, one.text), audio_rows(one.codes)]
        return Rows.concatenate([*parts, self._text(task.tag, task.text)])

    def shortened(self, task: Task) -> Task:
        """The task without the last turns that would be too much to read; prompts stay."""
        said, least = list(task.said), len({one.tag for one in task.said})
        while len(said) > least and len(self.of(replace(task, said=said))) > MAX_PROMPT_ROWS:
            said.pop()
        return replace(task, said=said)

    def segment(self, said: Said) -> SpokenSegment:
        """As guidance learns from it."""
        bare = self.tokenizer.encode_segment_text(f"[{said.tag}]", "")
        return SpokenSegment(self._ids(said.tag, said.text), bare, said.codes)

    def _text(self, tag: str, text: str) -> Rows:
        return text_rows(self._ids(tag, text), self.num_codebooks)

    def _ids(self, tag: str, text: str) -> list[int]:
        return self.tokenizer.encode_segment_text(f"[{tag}]", self.frontend.prepare(text))


def new_texts(path: Path, work: Path, normalize: Callable[[str], str]) -> list[str]:
    """Texts that no clip says, and in which there is something to hear."""
    said = {row["text"] for row in read_index(work).values()}
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [
        row["text"]
        for row in rows
        if row["kind"] in KINDS
        and row["text"] not in said
        and len(row["text"].encode()) <= MAX_TEXT_BYTES
        and normalize(row["text"]).split()
    ]
