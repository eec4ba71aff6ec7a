"""More speech by a teacher: every line once, in the corpus's voices, whole shards or none."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.sets import load_dialogues, load_sentences
from fireredtts2.training.prepare.levels import active_level
from recipes.mini import speak_lines
from recipes.mini.decode_corpus import read_shard
from tests.recipes.test_whole_recipe import write_corpus

LINES = [f"This is line number {n}." for n in range(7)]
SHARED_WORDS = 5
heard: list[tuple[str, str, float]] = []


def teacher(text: str, style: str, speed: float) -> np.ndarray:
    """Half a second of a quiet tone."""
    heard.append((text, style, speed))
    return 0.01 * np.sin(0.1 * np.arange(OUTPUT_RATE_HZ // 2)).astype(np.float32)


def tired(text: str, style: str, speed: float) -> np.ndarray:
    """Fails at the last line of the first shard."""
    if len(heard) == 2:
        raise RuntimeError("tired")
    return teacher(text, style, speed)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, once: its clips take seconds to encode."""
    folder = tmp_path_factory.mktemp("written") / "corpus"
    write_corpus(folder)
    return folder


@pytest.fixture
def corpus(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    heard.clear()
    monkeypatch.setattr(speak_lines, "CLIPS_PER_SHARD", 3)
    shutil.copytree(written, tmp_path / "corpus")
    (tmp_path / "lines.txt").write_text("\n\n".join(LINES) + "\n")
    return tmp_path / "corpus"


def speak(corpus: Path, name: str = "teacher", part: str = "0/1") -> None:
    speak_lines.main(str(corpus), f"{__name__}:{name}", str(corpus.parent / "lines.txt"), part)


def spoken_shards(corpus: Path) -> list[Path]:
    return sorted(corpus.glob("shard_1??.tar"))


def test_every_line_is_spoken_once_in_a_voice_of_the_corpus(corpus: Path):
    speak(corpus)
    clips = [clip for path in spoken_shards(corpus) for clip in read_shard(path)]
    rows = [row for row, _ in clips]
    assert sorted(row["text"] for row in rows) == LINES
    ids = [[row["id"] for row, _ in read_shard(path)] for path in spoken_shards(corpus)]
    assert ids == [[*range(100_000, 100_003)], [*range(101_000, 101_003)], [102_000]]
    assert {row["speaker"] for row in rows} <= {"af_one", "bm_two"}
    assert {row["style"] for row in rows} == {"a"}
    assert all(row["seconds"] == 0.5 for row in rows)
    levels = [active_level(samples / 32_768, OUTPUT_RATE_HZ) for _, samples in clips]
    assert levels == pytest.approx([speak_lines.LEVEL_DBFS] * len(LINES), abs=0.7)  # Opus


def test_two_processes_share_the_work_as_one_would_have_done_it(corpus: Path):
    speak(corpus, part="0/2")
    assert [path.name for path in spoken_shards(corpus)] == ["shard_100.tar", "shard_102.tar"]
    speak(corpus, part="1/2")
    shared, texts = sorted(heard), [read_shard(p)[0][0]["text"] for p in spoken_shards(corpus)]
    for path in spoken_shards(corpus):
        path.unlink()
    heard.clear()
    speak(corpus)
    assert sorted(heard) == shared
    assert [read_shard(p)[0][0]["text"] for p in spoken_shards(corpus)] == texts


def test_a_cut_leaves_no_half_shard_and_a_second_run_goes_on(corpus: Path):
    with pytest.raises(RuntimeError, match="tired"):
        speak(corpus, "tired")
    assert sorted(path.name for path in corpus.iterdir()) == ["shard_000.tar", "shard_001.tar"]
    speak(corpus)
    assert len(heard) == 2 + len(LINES)
    speak(corpus)
    assert len(heard) == 2 + len(LINES)


@pytest.mark.parametrize("name", ["teacher", "no.such:teacher", f"{__name__}:nobody"])
def test_a_teacher_that_is_not_there_is_named(corpus: Path, name: str):
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        speak_lines.main(str(corpus), name)


@pytest.mark.parametrize("part", ["2/2", "0/0", "1", "-1/2", "a/b", "0/2/4"])
def test_a_part_that_there_is_not_is_named(corpus: Path, part: str):
    with pytest.raises(ValueError, match=re.escape(repr(part))):
        speak_lines.main(str(corpus), f"{__name__}:teacher", str(speak_lines.LINES), part)


def test_a_folder_without_shards_is_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no shard_NNN\.tar"):
        speak_lines.main(str(tmp_path), f"{__name__}:teacher")


def test_a_shard_of_ones_own_among_the_spoken_ones_is_named(corpus: Path):
    (corpus / "shard_001.tar").rename(corpus / "shard_100.tar")
    with pytest.raises(ValueError, match=r"shard_100\.tar: numbers from 100 on"):
        speak(corpus)


def test_the_lines_are_none_of_the_evaluations():
    """Not one run of five words is shared, and every sign is one that the front end knows."""
    lines = speak_lines.read_lines(speak_lines.LINES)
    assert len(set(lines)) == len(lines) > 2_000
    assert all(re.fullmatch(r"[A-Za-z0-9 .,?!':]+", line) for line in lines)
    judged = [*load_sentences(100), *(line.text for d in load_dialogues(10) for line in d.lines)]
    asked = {run for text in judged for run in runs(text)}
    assert len(asked) > 500
    assert not [line for line in lines if asked & set(runs(line))]


def runs(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return [tuple(words[i : i + SHARED_WORDS]) for i in range(len(words) - SHARED_WORDS + 1)]
