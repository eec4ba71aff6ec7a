"""Shards become samples and an index, whatever their channels, and whole shards or none."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fireredtts2.training.corpus import open_samples, read_index
from recipes.mini import decode_corpus
from recipes.mini.speak_lines import add_file

RATE_HZ = 24_000
SECONDS = 0.5


def write_shard(folder: Path, number: int, tones_hz: list[int], channels: int = 1) -> None:
    """A shard of tones, whose ids are their Hz; a second channel is silent."""
    time = np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
    rows = [{"id": hz, "speaker": "a", "text": "x"} for hz in tones_hz]
    with tarfile.open(folder / f"shard_{number:03d}.tar", "w") as tar:
        for hz in tones_hz:
            audio = np.zeros((len(time), channels))
            audio[:, 0] = 0.3 * np.sin(2 * np.pi * hz * time)
            data = io.BytesIO()
            soundfile.write(data, audio, RATE_HZ, format="OGG", subtype="OPUS")
            add_file(tar, f"{hz:05d}.opus", data.getvalue())
        add_file(tar, "metadata.jsonl", "\n".join(map(json.dumps, rows)).encode())


def heard(work: Path) -> dict[int, int]:
    """The Hz that each clip of the index has in the samples."""
    samples, found = open_samples(work), {}
    for clip, row in read_index(work).items():
        audio = samples[row["offset"] : row["offset"] + row["samples"]].astype(float)
        assert len(audio) == SECONDS * RATE_HZ
        found[clip] = round(np.abs(np.fft.rfft(audio)).argmax() / SECONDS)
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    return tmp_path / "corpus"


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def test_of_two_channels_the_first_is_taken(corpus: Path, work: Path):
    write_shard(corpus, 0, [200, 400], channels=2)
    write_shard(corpus, 1, [600])
    decode_corpus.main(str(corpus), str(work))
    assert heard(work) == {200: 200, 400: 400, 600: 600}


def test_a_cut_run_goes_on_after_the_last_whole_shard(
    corpus: Path, work: Path, monkeypatch: pytest.MonkeyPatch
):
    write_shard(corpus, 0, [200])
    write_shard(corpus, 1, [])  # nothing in it, which is no clip and no line
    write_shard(corpus, 2, [400, 600])

    real = json.dumps

    def dump(row: dict) -> str:
        if row["id"] == 600:
            raise RuntimeError("cut")
        return real(row)

    monkeypatch.setattr(decode_corpus.json, "dumps", dump)
    with pytest.raises(RuntimeError, match="cut"):
        decode_corpus.main(str(corpus), str(work))
    assert heard(work) == {200: 200}
    monkeypatch.undo()
    decode_corpus.main(str(corpus), str(work))
    assert heard(work) == {200: 200, 400: 400, 600: 600}
    assert (work / "audio_24k.i16").stat().st_size == 3 * 2 * SECONDS * RATE_HZ


def test_a_folder_without_shards_and_a_shard_of_four_digits_are_named(corpus: Path, work: Path):
    with pytest.raises(ValueError, match=r"no shard_\*\.tar in this folder"):
        decode_corpus.main(str(corpus), str(work))
    write_shard(corpus, 1000, [200])
    with pytest.raises(ValueError, match=r"shard_1000\.tar: .*three digits"):
        decode_corpus.main(str(corpus), str(work))
    assert not work.exists()
