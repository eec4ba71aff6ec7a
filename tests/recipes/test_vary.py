"""Varied clips are appended as other voices; what is held out stays held out."""

import json
from pathlib import Path

import numpy as np
import pytest

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.corpus import is_held_out, open_samples, read_index
from recipes.mini import vary

TONE_HZ = 300
SECONDS = 0.5


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Two shards of two clips each, all of them a tone."""
    time = np.arange(int(SECONDS * OUTPUT_RATE_HZ)) / OUTPUT_RATE_HZ
    tone = (8_000 * np.sin(2 * np.pi * TONE_HZ * time)).astype(np.int16)
    rows = [
        {
            "id": number,
            "speaker": f"anna{number % 2}",
            "text": "Hm.",
            "shard": f"shard_{number // 100:03d}.tar",
            "offset": place * len(tone),
            "samples": len(tone),
        }
        for place, number in enumerate([1, 5, 102, 107])
    ]
    tmp_path.joinpath("audio_24k.i16").write_bytes(np.tile(tone, len(rows)).tobytes())
    tmp_path.joinpath("index.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return tmp_path


def test_every_clip_comes_once_more_in_another_voice(work: Path):
    before = read_index(work)
    vary.main(str(work))
    rows, samples = read_index(work), open_samples(work)
    assert len(rows) == 2 * len(before)
    assert rows.keys() >= before.keys()
    for number, row in before.items():
        other = rows[number + vary.FIRST_VARIED_ID]
        factor = vary.factor_of(row["speaker"])
        assert 0.04 <= abs(factor - 1) <= 0.10
        assert other["samples"] == pytest.approx(row["samples"] / factor, abs=2)
        assert other["speaker"] not in {one["speaker"] for one in before.values()}
        assert is_held_out(other["id"]) == is_held_out(number)
        audio = samples[other["offset"] : other["offset"] + other["samples"]]
        spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
        peak_hz = spectrum.argmax() * OUTPUT_RATE_HZ / len(audio)
        assert peak_hz == pytest.approx(TONE_HZ * factor, abs=3)


def test_a_shard_whose_files_would_be_anothers_is_named():
    with pytest.raises(ValueError, match=r"shard_500\.tar.*below 500"):
        vary.varied_shard("shard_500.tar")


def test_a_speaker_keeps_its_new_voice(work: Path):
    vary.main(str(work))
    rows = read_index(work)
    voices = {(rows[n]["speaker"], rows[n + vary.FIRST_VARIED_ID]["speaker"]) for n in (1, 5, 107)}
    assert len(voices) == 1  # all of anna1


def test_a_second_run_adds_nothing_and_a_cut_one_goes_on(work: Path):
    vary.main(str(work))
    whole_index = (work / "index.jsonl").read_text()
    whole_audio = (work / "audio_24k.i16").read_bytes()
    vary.main(str(work))
    assert (work / "index.jsonl").read_text() == whole_index
    # Cut in the second varied shard: its samples are there in part, its rows are not.
    lines = whole_index.splitlines()
    (work / "index.jsonl").write_text("\n".join(lines[:6]) + "\n")
    (work / "audio_24k.i16").write_bytes(whole_audio[:-1_000])
    vary.main(str(work))
    assert (work / "index.jsonl").read_text() == whole_index
    assert (work / "audio_24k.i16").read_bytes() == whole_audio
