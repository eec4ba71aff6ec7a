"""Crops that the codec's second stage learns from, with and without a prompt before them."""

import json
from pathlib import Path

import numpy as np
import pytest

from fireredtts2.training.codes_data import PROMPT_FRAMES, CodesData

NUM_CODEBOOKS = 4
FRAME = 1_920


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Clips whose first code is their id, whose second is the frame's number; sound alike."""
    speakers = {7: "anna", 8: "anna", 9: "anna", 10: "bert", 100: "anna"}
    lengths = dict(zip(speakers, (30, 20, 60, 40, 30), strict=True))
    rows, codes, samples, offset = [], [], [], 0
    for clip, speaker in speakers.items():
        frames = lengths[clip]
        own = np.zeros((NUM_CODEBOOKS, frames), np.int16)
        own[0], own[1] = clip, np.arange(frames)
        codes.append(own)
        samples.append(np.repeat(100 * clip + np.arange(frames), FRAME).astype(np.int16))
        size = frames * FRAME
        rows.append({"id": clip, "speaker": speaker, "offset": offset, "samples": size})
        offset += size
    np.concatenate(samples).tofile(tmp_path / "audio_24k.i16")
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.savez(
        tmp_path / "codes_000.npz",
        clip=list(speakers),
        frames=list(lengths.values()),
        codes=np.concatenate(codes, axis=1),
    )
    return tmp_path


def drawn(work: Path, prompt_share: float, count: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    batches = CodesData(work).batches(40, seed=1, prompt_share=prompt_share)
    return [
        (codes.numpy(), audio.numpy()) for codes, audio in (next(batches) for _ in range(count))
    ]


def prompt_of(codes: np.ndarray, audio: np.ndarray) -> int:
    return codes.shape[2] - audio.shape[1] // FRAME


@pytest.mark.parametrize("prompt_share", [0.0, 1.0])
def test_sound_is_that_of_the_codes_behind_the_prompt(work: Path, prompt_share: float):
    for codes, audio in drawn(work, prompt_share):
        said = codes[:, :, prompt_of(codes, audio) :]
        wanted = (100 * said[:, 0] + said[:, 1]) / 32_768
        assert np.allclose(audio[:, ::FRAME], wanted)
        assert np.allclose(audio[:, FRAME - 1 :: FRAME], wanted)


def test_a_prompt_is_of_the_same_speaker_and_another_clip(work: Path):
    lengths = set()
    for codes, audio in drawn(work, 1.0):
        size = prompt_of(codes, audio)
        lengths.add(size)
        for row in codes:
            clip, heard = row[0, -1], set(row[0, :size])
            if clip == 10:  # the speaker has no other
                assert heard == {10}
            else:
                assert len(heard) == 1
                assert heard < {7, 8, 9} - {clip}  # and never the one that is held out
    assert lengths == set(PROMPT_FRAMES)


def test_as_many_batches_have_prompts_as_asked_for(work: Path):
    with_prompt = [prompt_of(*batch) > 0 for batch in drawn(work, 0.5, 200)]
    assert 0.4 < np.mean(with_prompt) < 0.6
    assert not any(prompt_of(*batch) for batch in drawn(work, 0.0))


def test_prompts_make_batches_smaller(work: Path):
    for codes, audio in drawn(work, 1.0):
        frames, prompt = audio.shape[1] // FRAME, prompt_of(codes, audio)
        assert len(codes) == max(1, 40 // (frames + prompt // 2))


def test_clips_too_short_for_a_crop_are_named(work: Path):
    np.savez(work / "codes_000.npz", clip=[7], frames=[11], codes=np.zeros((4, 11), np.int16))
    with pytest.raises(ValueError, match="longest of 1 has 11 frames"):
        next(CodesData(work).batches(24, seed=0))
    with pytest.raises(ValueError, match="longest of 0 has 0 frames"):
        next(CodesData(work, below=3).batches(24, seed=0))
