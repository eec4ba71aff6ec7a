import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fireredtts2.evaluation.clone_readers import read_set
from fireredtts2.evaluation.clone_sets import CloneItem, SetKind, SetSource
from tests.evaluation.fakes import tone


def read(kind: SetKind, path: Path, seed: int = 0) -> list[CloneItem]:
    return read_set(SetSource(kind, path), seed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, tone(200, 0.1), 24_000)
    return tmp_path


# --- Seed-TTS-eval ------------------------------------------------------------------------------


def test_seed_tts_eval(folder: Path) -> None:
    lines = ["x1-x2|What he said.|a.wav|Say this.", "", "y.wav| Prompt. |b.wav|And this.|a.wav"]
    (folder / "meta.lst").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    first, second = read("seed-tts-eval", folder)
    assert first == CloneItem("x1-x2", "Say this.", folder / "a.wav", "What he said.")
    assert second == CloneItem("y", "And this.", folder / "b.wav", "Prompt.", folder / "a.wav")
    assert read("seed-tts-eval", folder / "meta.lst") == [first, second]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x|Prompt.|a.wav", "line 2: 3 fields between '|'; expected id|prompt_text|prompt_wav"),
        ("x|Prompt.|a.wav|Text.|b.wav|more", "line 2: 6 fields"),
        ("x||a.wav|", "line 2: prompt_text, text is empty"),
        ("x|Prompt.|gone.wav|Text.", "line 2: no such sound file: "),
        ("x|Prompt.|a.wav|Text.|gone.wav", "line 2: no such sound file: "),
        ("../x|Prompt.|a.wav|Text.", "line 2: id '../x'; allowed: letters"),
        ("字" * 43 + "|Prompt.|a.wav|Text.", "and at most 128 bytes as UTF-8"),
        ("ok|Prompt.|a.wav|Text.", "the id 'ok' comes twice"),
    ],
)
def test_a_bad_line_of_seed_tts_eval_is_named(folder: Path, line: str, message: str) -> None:
    text = f"ok|Prompt.|a.wav|Text.\n{line}\n"
    (folder / "meta.lst").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read("seed-tts-eval", folder)
    assert str(folder) in str(caught.value)


# --- JSON lines ---------------------------------------------------------------------------------

ROW = {"id": "x", "text": "Say this.", "prompt_audio": "a.wav", "prompt_text": "Prompt."}


def test_json_lines(folder: Path) -> None:
    rows = [ROW, {**ROW, "id": "y", "reference_audio": str(folder / "b.wav")}]
    path = folder / "set.jsonl"
    path.write_text("\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second = read("jsonl", path)
    assert first == CloneItem("x", "Say this.", folder / "a.wav", "Prompt.")
    assert second.reference == folder / "b.wav"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: no object; allowed: id, prompt_audio"),
        (json.dumps({**ROW, "speaker": "me"}), "line 2: ['speaker']; allowed: id"),
        (json.dumps({**ROW, "text": "  "}), "line 2: text must be a text that is not empty"),
        (json.dumps({**ROW, "prompt_text": None}), "line 2: prompt_text must be a text"),
        (
            json.dumps({**ROW, "text": "so \ud83d"}),
            r"line 2: text holds half a character: 'so \ud83d'",
        ),
        (json.dumps({**ROW, "id": 7}), "line 2: id must be a text"),
        (json.dumps({**ROW, "prompt_audio": "gone.wav"}), "line 2: no such sound file: "),
        (json.dumps({**ROW, "reference_audio": 3}), "line 2: reference_audio must be"),
        (json.dumps({**ROW, "reference_audio": ""}), "line 2: reference_audio must be"),
    ],
)
def test_a_bad_json_line_is_named(folder: Path, line: str, message: str) -> None:
    path = folder / "set.jsonl"
    path.write_text(f"{json.dumps({**ROW, 'id': 'ok'})}\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        read("jsonl", path)


def test_a_reference_may_be_null(folder: Path) -> None:
    path = folder / "set.jsonl"
    path.write_text(json.dumps({**ROW, "reference_audio": None}), encoding="utf-8")
    assert read("jsonl", path)[0].reference is None


# --- LibriSpeech --------------------------------------------------------------------------------

Sentences = dict[str, float]


@pytest.fixture
def librispeech(tmp_path: Path) -> Callable[[Sentences], Path]:
    """Writes sentences of given names and seconds as LibriSpeech does."""

    def write(sentences: Sentences) -> Path:
        for name, seconds in sentences.items():
            speaker, chapter, _ = name.split("-")
            folder = tmp_path / speaker / chapter
            folder.mkdir(parents=True, exist_ok=True)
            silence = np.zeros(round(seconds * 8_000), dtype=np.float32)
            soundfile.write(folder / f"{name}.flac", silence, 8_000)
            with (folder / f"{speaker}-{chapter}.trans.txt").open("a") as file:
                file.write(f"{name} SENTENCE {name.upper()} IS HERE\n")
        return tmp_path

    return write


def test_librispeech_speaks_middling_sentences_with_another_of_the_speaker(
    librispeech: Callable[[Sentences], Path],
) -> None:
    lengths = {"1-2-0000": 5.0, "1-2-0001": 3.5, "1-3-0000": 9.0, "1-3-0001": 20.0}
    alone = {"7-1-0000": 6.0, "7-1-0001": 2.0}  # no prompt long enough besides itself
    items = read("librispeech", librispeech({**lengths, **alone}))
    assert [item.id for item in items] == ["1-2-0000", "1-3-0000"]
    for item in items:
        assert item.text == f"Sentence {item.id} is here."
        assert item.reference is not None
        assert item.reference.name == f"{item.id}.flac"
        assert item.prompt.stem in {"1-2-0000", "1-2-0001", "1-3-0000"} - {item.id}
        assert item.prompt_text == f"Sentence {item.prompt.stem} is here."


def test_librispeech_draws_prompts_by_seed(librispeech: Callable[[Sentences], Path]) -> None:
    path = librispeech({f"1-2-{n:04d}": 5.0 for n in range(8)})
    assert read("librispeech", path, 1) == read("librispeech", path, 1)
    assert read("librispeech", path, 1) != read("librispeech", path, 2)


def test_bad_librispeech_folders(librispeech: Callable[[Sentences], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \*\.trans\.txt"):
        read("librispeech", tmp_path)
    path = librispeech({"1-2-0000": 5.0})
    with pytest.raises(ValueError, match="no speaker has a sentence of 4 to 10 s"):
        read("librispeech", path)
    transcript = path / "1" / "2" / "1-2.trans.txt"
    with transcript.open("a") as file:
        file.write("1-2-0001 THIS ONE HAS NO SOUND\n")
    with pytest.raises(ValueError, match=r"1-2\.trans\.txt, line 2: no such sound file"):
        read("librispeech", path)
    transcript.write_text("1-2-0000\n")
    with pytest.raises(ValueError, match=r"line 1: expected SPEAKER-CHAPTER-NUMBER TEXT, got '1-2"):
        read("librispeech", path)


# --- All ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["seed-tts-eval", "librispeech", "jsonl"])
def test_what_is_not_there_is_named(kind: SetKind, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"nowhere: no such file or folder \({kind} set\)"):
        read(kind, tmp_path / "nowhere")


def test_other_layouts_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"no meta\.lst in this folder"):
        read("seed-tts-eval", folder)
    with pytest.raises(ValueError, match="not a file of JSON lines"):
        read("jsonl", folder)
    with pytest.raises(ValueError, match="not UTF-8"):
        read("jsonl", folder / "a.wav")
    (folder / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="no item in this set"):
        read("jsonl", folder / "empty.jsonl")
    with pytest.raises(ValueError, match=r"no \*\.trans\.txt|not a folder"):
        read("librispeech", folder / "a.wav")
