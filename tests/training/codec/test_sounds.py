"""Sounds are found, looked through, and read window by window; batches are what they say."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fireredtts2.training.codec.batches import ChunkBatches, CropPlan, crop_audio
from fireredtts2.training.codec.read_ahead import ReadAhead
from fireredtts2.training.codec.recipe_sections import DataRecipe
from fireredtts2.training.codec.sounds import SoundReader, open_sounds
from fireredtts2.training.codec.sources import read_sounds
from fireredtts2.training.codes_data import PROMPT_FRAMES
from fireredtts2.training.prepare.recordings import SourceError
from tests.training.codec.conftest import RATE_HZ, made_sound, write_sounds

READER = SoundReader(100.0)


def test_a_folder_needs_no_texts(sounds: Path) -> None:
    assert [recording.id for recording in read_sounds(sounds)] == [
        f"clip{number}.wav" for number in range(6)
    ]


@pytest.mark.parametrize("below", ["runs/one", "a/../runs", "."])
def test_a_run_must_not_lie_among_its_sounds(tmp_path: Path, below: str) -> None:
    source, linked = write_sounds(tmp_path / "recordings", count=1), tmp_path / "linked"
    linked.symlink_to(source)
    for given in (source, linked):
        with pytest.raises(ValueError, match=r"lies in data.source"):
            open_sounds(DataRecipe(str(source)), given / below)
    assert sorted(path.name for path in source.iterdir()) == ["clip0.wav"]
    open_sounds(DataRecipe(str(source), validation=0.0), tmp_path / "recordings-run")


def test_a_run_may_lie_beside_a_manifest(sounds: Path, tmp_path: Path) -> None:
    """It names its own sounds."""
    manifest = tmp_path / "sounds.jsonl"
    manifest.write_text(json.dumps({"audio": str(sounds / "clip0.wav")}))
    assert open_sounds(DataRecipe(str(manifest), validation=0.0), tmp_path / "run").all


def test_a_manifest_needs_only_audio(sounds: Path, tmp_path: Path) -> None:
    lines = [
        {"audio": str(sounds / "clip0.wav")},
        {"audio": str(sounds / "clip5.wav"), "start": 1.0, "end": 2.5, "text": "words"},
        {"turns": [{"audio": str(sounds / "clip1.wav")}, {"audio": str(sounds / "clip2.wav")}]},
    ]
    path = tmp_path / "sounds.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_sounds(path)
    assert [one.id for one in found] == ["sounds-1", "sounds-2", "sounds-3#0", "sounds-3#1"]
    opened = open_sounds(DataRecipe(str(path)), tmp_path / "out")
    assert [sound.seconds for sound in opened.all] == pytest.approx([2.0, 1.5, 2.3, 2.6])
    cut = next(sound for sound in opened.all if sound.id == "sounds-2")
    whole = made_sound(3.5, 5)
    window = READER.window(cut, 0, 10, RATE_HZ)
    assert np.allclose(window, whole[RATE_HZ : RATE_HZ + window.size], atol=1e-4)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio": "a.wav", "star": 1}', "unknown 'star'"),
        ('{"text": "a"}', "line 1: no audio"),
        ('{"audio": "a.wav", "start": 2, "end": 1}', "end 1 is not after start 2"),
        ("{", "line 1"),
        ("[]", "expected an object"),
    ],
)
def test_faults_of_a_manifest_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "sounds.jsonl"
    path.write_text(line)
    with pytest.raises(SourceError, match=message):
        read_sounds(path)


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        read_sounds(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no sound files"):
        read_sounds(tmp_path)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two sounds that can be used, and one of every kind that cannot."""
    folder = write_sounds(tmp_path / "mixed", count=2)
    (folder / "noise.wav").write_bytes(b"RIFF but no sound")
    (folder / "nothing.flac").write_bytes(b"")
    soundfile.write(folder / "short.wav", made_sound(0.4, 1), RATE_HZ)
    soundfile.write(folder / "low.wav", made_sound(2.0, 1, 8_000), 8_000)
    soundfile.write(folder / "silent.wav", np.zeros(RATE_HZ * 2), RATE_HZ)
    nan = made_sound(2.0, 1)
    nan[100] = np.nan
    soundfile.write(folder / "nan.wav", nan, RATE_HZ, subtype="FLOAT")
    return folder


@pytest.mark.parametrize("workers", [1, 3])
def test_what_cannot_be_used_is_left_out_and_counted(
    mixed: Path, tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    found = open_sounds(DataRecipe(str(mixed), workers=workers), tmp_path / "out")
    assert [sound.id for sound in found.all] == ["clip0.wav", "clip1.wav"]
    assert found.refused == {"unreadable": 3, "too_short": 1, "low_rate": 1, "silence": 1}
    assert "6 left out (low_rate 1, silence 1, too_short 1, unreadable 3)" in found.summary
    assert "low.wav: the sampling rate is too low (8000 Hz)" in caplog.text


def test_faults_may_be_refused(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"low\.wav: .*data\.faults: skip"):
        open_sounds(DataRecipe(str(mixed), faults="refuse"), tmp_path / "out")


def test_nothing_that_can_be_used_is_an_error(mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to learn from: 0 sounds"):
        open_sounds(DataRecipe(str(mixed), min_seconds=50), tmp_path / "out")


def test_sounds_are_looked_through_once(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = DataRecipe(str(sounds))
    first = open_sounds(recipe, tmp_path / "out")
    monkeypatch.setattr("fireredtts2.training.codec.sounds._look", None)
    assert open_sounds(recipe, tmp_path / "out") == first
    with pytest.raises(TypeError):
        open_sounds(DataRecipe(str(sounds), min_seconds=0.5), tmp_path / "out")


def test_a_file_that_vanishes_later_is_named(sounds: Path, tmp_path: Path) -> None:
    folder = write_sounds(tmp_path / "some", count=2)
    sound = open_sounds(DataRecipe(str(folder)), tmp_path / "out").all[0]
    sound.place.path.unlink()
    with pytest.raises(ValueError, match=r"clip0\.wav: could be read before, and now not"):
        READER.window(sound, 0, 5, RATE_HZ)


def test_windows_are_parts_of_the_whole(sounds: Path, tmp_path: Path) -> None:
    sound = open_sounds(DataRecipe(str(sounds)), tmp_path / "out").all[3]
    whole = made_sound(2.9, 3)
    at_24k = READER.window(sound, 10, 8, 24_000)
    assert np.allclose(at_24k, whole[19_200 : 19_200 + 8 * 1920], atol=1e-4)
    from fireredtts2.audio_decoding import resample_array

    at_16k = READER.window(sound, 10, 8, 16_000)
    wanted = resample_array(whole, RATE_HZ, 16_000)[12_800 : 12_800 + 8 * 1280]
    assert np.abs(at_16k - wanted).max() < 1e-3
    end = READER.window(sound, 30, 20, 24_000)
    assert end.shape == (20 * 1920,)
    assert np.allclose(end[: whole.size - 57_600], whole[57_600:], atol=1e-4)
    assert not end[whole.size - 57_600 :].any()


def test_every_chunk_comes_once_an_epoch(sounds: Path, tmp_path: Path) -> None:
    found = open_sounds(DataRecipe(str(sounds)), tmp_path / "out").all
    batches = ChunkBatches(found, READER, 2, 8, RATE_HZ, seed=0)
    assert len(batches) == 3
    lives = [sorted(int(n) for i in range(3) for n in batches.batch(3 * epoch + i).live)
             for epoch in range(2)]  # fmt: skip
    assert lives[0] == lives[1] == sorted(sound.num_frames for sound in found)
    assert len({tuple(batches._order(epoch)) for epoch in range(6)}) > 1


def test_a_chunk_batch_holds_its_own_sound(sounds: Path, tmp_path: Path) -> None:
    found = open_sounds(DataRecipe(str(sounds)), tmp_path / "out").all
    batch = ChunkBatches(found[:1], READER, 1, 8, 16_000, seed=0).batch(4)
    assert batch.audio.shape == (1, 96_000)
    assert batch.live.tolist() == [25]
    begin = int(batch.start) * 1280
    assert (batch.target[0] - batch.audio[0, begin : begin + 8 * 1280]).abs().max() < 1e-3
    assert not batch.audio[0, 32_100:].any()


def test_crops_lie_inside_and_are_drawn_by_length(sounds: Path, tmp_path: Path) -> None:
    found = open_sounds(DataRecipe(str(sounds)), tmp_path / "out").all
    plan = CropPlan(found, [12, 40, 400], 48, seed=0)
    assert plan.lengths == [12, 40]
    places = [place for number in range(60) for place in plan.places(number)]
    assert {place.num_frames for place in places} == {12, 40}
    assert all(p.first + p.num_frames <= p.sound.num_frames for p in places)
    assert any(p.first == 0 for p in places)
    assert any(p.first > 0 for p in places)
    assert plan.places(7) == plan.places(7)
    long = [place.sound.id for place in places if place.num_frames == 40]
    assert set(long) == {"clip4.wav", "clip5.wav"}
    assert crop_audio(READER, places[:1]).shape == (1, places[0].num_frames * 1920)
    with pytest.raises(ValueError, match="the longest sound has 44 frames"):
        CropPlan(found, [400], 48, seed=0)


def test_prompts_are_other_sounds_of_the_speaker(tmp_path: Path) -> None:
    for speaker in ("anna", "bert"):
        write_sounds(tmp_path / "all" / speaker, count=4)  # 25 to 37 frames
    found = open_sounds(DataRecipe(str(tmp_path / "all")), tmp_path / "out").all
    plain = CropPlan(found, [12, 20], 48, seed=0)
    plan = CropPlan(found, [12, 20], 48, seed=0, prompt_share=0.6)
    lengths = set()
    for number in range(80):
        crops, frames = plan.places(number), plan.prompt_frames(number)
        assert len(crops) == max(1, 48 // (crops[0].num_frames + frames // 2))
        assert crops == plain.places(number)[: len(crops)]
        prompts = plan.prompts(number, crops)
        assert prompts == plan.prompts(number, crops)
        lengths.add(frames)
        if frames not in (12, 25):  # none, or longer than any sound
            assert not prompts
            continue
        for crop, prompt in zip(crops, prompts, strict=True):
            assert prompt.num_frames == frames
            assert prompt.first + frames <= prompt.sound.num_frames
            assert prompt.sound.speaker == crop.sound.speaker
            assert prompt.sound.id != crop.sound.id
    assert lengths == {0, *PROMPT_FRAMES}
    assert not any(plain.prompt_frames(number) for number in range(80))


def test_who_has_one_sound_is_prompted_by_another_part_of_it(tmp_path: Path) -> None:
    write_sounds(tmp_path / "all" / "anna", count=1, seconds=6.0)
    (alone,) = open_sounds(DataRecipe(str(tmp_path / "all")), tmp_path / "out").all
    plan = CropPlan([alone], [12], 24, seed=0, prompt_share=1.0)
    prompts = [prompt for n in range(20) for prompt in plan.prompts(n, plan.places(n))]
    assert {prompt.sound.id for prompt in prompts} == {alone.id}
    assert len({prompt.first for prompt in prompts}) > 1


def test_reading_ahead_changes_nothing_and_hides_nothing() -> None:
    asked: list[int] = []

    def read(number: int) -> int:
        asked.append(number)
        if number == 9:
            raise ValueError("nine")
        return number**2

    ahead = ReadAhead(read, 2)
    assert [ahead(number) for number in range(5)] == [0, 1, 4, 9, 16]
    assert ahead(8) == 64
    with pytest.raises(ValueError, match="nine"):
        ahead(9)
    assert len(asked) == len(set(asked))
