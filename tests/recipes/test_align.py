"""The aligner of the training recipe, on clips whose alignment is known."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fireredtts2.proofing.ctc_aligner import (
    NO_SOUND,
    SOUND_CLASSES,
    SOUNDS,
    CtcAligner,
    best_path,
    sound_classes,
)
from fireredtts2.training.corpus import is_held_out
from recipes.mini import align
from recipes.mini.unit_times import (
    MIN_PAUSE_STEPS,
    sound_errors,
    step_classes,
    unit_at,
    unit_starts,
)

FEATURE_DIM = 384


def log_probs_for(steps: list[int], probability: float = 0.9) -> np.ndarray:
    """(T, classes) that prefer the given class at each step."""
    probs = np.full((len(steps), 1 + len(SOUNDS)), (1 - probability) / len(SOUNDS))
    probs[np.arange(len(steps)), steps] = probability
    return np.log(probs).astype(np.float32)


def test_best_path_finds_the_spans_of_the_sounds():
    b, k = SOUND_CLASSES["B"], SOUND_CLASSES["K"]
    steps = [NO_SOUND, b, b, NO_SOUND, k, k, k, NO_SOUND]
    spans, best = best_path(log_probs_for(steps), np.array([b, k]))
    np.testing.assert_array_equal(spans, [[1, 2], [4, 6]])
    assert np.exp(best) == pytest.approx(0.9)


def test_best_path_keeps_the_order_against_the_evidence():
    b, k, s = (SOUND_CLASSES[unit] for unit in "BKS")
    spans, best = best_path(log_probs_for([b, b, b, b, s, s]), np.array([b, k, s]))
    assert (spans[:-1, 1] < spans[1:, 0]).all()
    assert spans[0, 0] == 0
    assert spans[2, 1] == 5
    assert np.exp(best) == pytest.approx([0.9, 0.0, 0.9], abs=0.01)  # nothing speaks for the second


def test_best_path_takes_equal_neighbours_apart():
    s = SOUND_CLASSES["S"]
    spans, _ = best_path(log_probs_for([s, s, NO_SOUND, s]), np.array([s, s]))
    np.testing.assert_array_equal(spans, [[0, 1], [3, 3]])


def test_more_sounds_than_steps_cannot_be_aligned():
    spans, best = best_path(log_probs_for([1, 2]), np.array([1, 2, 3]))
    assert len(spans) == len(best) == 0


def test_sounds_meet_midway():
    starts = unit_starts("BK", np.array([[2, 3], [8, 9]]), np.zeros(12, bool))
    np.testing.assert_array_equal(starts, [0, 6])


def test_silent_units_share_a_pause():
    is_quiet = np.zeros(30, bool)
    is_quiet[10:20] = True
    starts = unit_starts("B, K.", np.array([[2, 6], [22, 25]]), is_quiet)
    np.testing.assert_array_equal(starts, [0, 10, 15, 20, 30])


def test_silent_units_without_a_pause_have_no_time():
    is_quiet = np.zeros(20, bool)
    is_quiet[8 : 8 + MIN_PAUSE_STEPS - 1] = True
    starts = unit_starts("B K", np.array([[2, 5], [14, 15]]), is_quiet)
    np.testing.assert_array_equal(starts, [0, 10, 10])
    np.testing.assert_array_equal(unit_at(starts, np.array([9.5, 10.5])), [0, 2])


def test_the_last_mark_begins_where_the_sound_ends():
    is_quiet = np.zeros(20, bool)
    is_quiet[:3] = is_quiet[15:] = True
    starts = unit_starts("BK.", np.array([[5, 6], [10, 11]]), is_quiet)
    np.testing.assert_array_equal(starts, [0, 8.5, 15])


def test_step_classes_leave_out_the_silent_ends():
    b, k = SOUND_CLASSES["B"], SOUND_CLASSES["K"]
    is_quiet = np.array([1, 0, 0, 0, 1, 1], bool)
    classes = step_classes("BK.", np.array([0, 2, 4]), is_quiet)
    np.testing.assert_array_equal(classes, [NO_SOUND, b, k, k, NO_SOUND, NO_SOUND])


@pytest.mark.parametrize(
    ("read", "errors"), [("BKS", 0), ("BS", 1), ("BKSS", 0), ("BTS", 1), ("BKST", 1), ("", 3)]
)
def test_sound_errors_is_the_edit_distance(read: str, errors: int):
    steps = [NO_SOUND] + [SOUND_CLASSES[unit] for unit in read]
    assert sound_errors(log_probs_for(steps), sound_classes("BKS")) == errors


def test_padding_does_not_change_a_row():
    torch.manual_seed(0)
    model = CtcAligner(num_blocks=1).eval()
    features = torch.randn(1, 20, FEATURE_DIM)
    padded = torch.cat([features, torch.randn(1, 9, FEATURE_DIM)], dim=1)
    with torch.inference_mode():
        alone = model(features, torch.tensor([20]))
        beside = model(padded, torch.tensor([20]))[:, :20]
    torch.testing.assert_close(alone, beside)


def test_quiet_steps_are_those_far_below_the_loud_ones():
    audio = np.zeros(480 * 20, np.int16)
    audio[480 * 5 : 480 * 10] = 8_000
    is_quiet = align.quiet_steps(audio)
    assert len(is_quiet) == 20
    assert is_quiet[:5].all()
    assert not is_quiet[6:10].any()
    assert is_quiet[11:].all()


SAYINGS = {0: "bat", 1: "tab", 2: "bat tab", 3: "tab, bat.", 4: "..."}
SOUND_STEPS = 4
PAUSE_STEPS = 8  # a multiple of a frame, so that a frame's centre is a sound's


def spoken_steps(units: str) -> list[int]:
    """A clip in which every sound and every run of silent units lasts a known time."""
    steps = [NO_SOUND] * PAUSE_STEPS
    for unit in units.rstrip("."):
        if unit != ",":
            sounds = unit != " "
            steps += [SOUND_CLASSES.get(unit, NO_SOUND)] * (SOUND_STEPS if sounds else PAUSE_STEPS)
    return steps + [NO_SOUND] * PAUSE_STEPS


@pytest.fixture
def corpus(tmp_path: Path) -> dict[int, list[int]]:
    """Writes what steps 1 and 2 do, with features that plainly tell the sounds apart."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(1 + len(SOUNDS), FEATURE_DIM))
    units_of = {"bat": "BÆT", "tab": "TÆB"}
    rows, audio, clips, semantic, truth = [], [], [], [], {}
    for number in range(60):
        text = SAYINGS[number % len(SAYINGS)]
        units = text
        for word, sounds in units_of.items():
            units = units.replace(word, sounds)
        steps = spoken_steps(units.replace("...", "BÆT"))
        truth[number] = steps
        features = rng.normal(size=(300, FEATURE_DIM))
        features[: len(steps)] += 2 * directions[steps]
        semantic.append(features.astype(np.float16))
        clips.append(number)
        is_loud = np.repeat(np.array(steps) != NO_SOUND, 480)
        samples = np.where(is_loud, 8_000, 0).astype(np.int16)
        offset = sum(map(len, audio))
        rows.append({"id": number, "text": text, "style": "af_a", "offset": offset})
        rows[-1]["samples"] = len(samples)
        audio.append(samples)
    np.concatenate(audio).tofile(tmp_path / "audio_24k.i16")
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.savez(tmp_path / "features_000.npz", clip=np.array(clips), semantic=np.stack(semantic))
    return truth


@pytest.fixture
def pronunciations(tmp_path: Path) -> str:
    path = tmp_path / "words.txt.gz"
    path.write_bytes(gzip.compress("bat BÆT\ntab TÆB\n".encode()))
    return str(path)


def clips_of(folder: Path, pronunciations: str) -> list[align.Clip]:
    lines = (folder / "index.jsonl").read_text().splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    units = align.clip_units(rows, pronunciations)
    audio = np.fromfile(folder / "audio_24k.i16", np.int16)
    return list(align.read_clips(folder / "features_000.npz", rows, units, audio))


def test_ctc_training_lowers_the_errors(
    tmp_path: Path, corpus: dict[int, list[int]], pronunciations: str
):
    clips = clips_of(tmp_path, pronunciations)
    torch.manual_seed(0)
    model = CtcAligner(hidden_dim=64, num_blocks=1)
    before = align.ctc_loss(model, clips).item()
    align.train(model, lambda batch: align.ctc_loss(model, batch), clips, num_steps=15)
    assert align.ctc_loss(model, clips).item() < before / 2


def test_aligns_frames_with_the_sound_at_their_centre(
    tmp_path: Path, corpus: dict[int, list[int]], pronunciations: str
):
    clips = clips_of(tmp_path, pronunciations)
    assert len(clips) == 48  # all but those without a sound
    torch.manual_seed(0)
    model = CtcAligner(hidden_dim=64, num_blocks=1)
    classes = {clip.id: np.array(corpus[clip.id]) for clip in clips}
    align.train(model, lambda batch: align.border_loss(model, batch, classes), clips, num_steps=30)
    assert align.error_rate(model, clips) < 0.05

    align.write_alignment(tmp_path / "align_000.npz", model, clips)
    found = align.load_alignments(tmp_path)
    assert set(found) == {clip.id for clip in clips}
    for number, (units, unit_index) in found.items():
        steps = np.array(corpus[number])
        assert len(unit_index) == -(-len(steps) // align.STEPS_PER_FRAME)
        assert (np.diff(unit_index) >= 0).all()
        centres = np.arange(len(unit_index)) * align.STEPS_PER_FRAME + 2
        is_sound = steps[centres] != NO_SOUND
        spoken = np.array([SOUND_CLASSES.get(units[index], NO_SOUND) for index in unit_index])
        np.testing.assert_array_equal(spoken[is_sound], steps[centres][is_sound])
    sounds = align.load_sounds(tmp_path)
    assert set(sounds) == set(found)
    right = [np.mean(sounds[number] == corpus[number]) for number in sounds]
    assert np.mean(right) > 0.95


def test_sounds_that_are_not_there_are_named(tmp_path: Path):
    assert align.load_sounds(tmp_path) == {}
    np.savez(tmp_path / "features_000.npz", clip=[1])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"align_000\.npz: no sounds of every 20 ms"):
            align.load_sounds(tmp_path)
        # As an earlier version wrote it.
        np.savez(tmp_path / "align_000.npz", clip=[1], units=["B"], offsets=[0, 1], unit_index=[0])
    assert not align.is_up_to_date(tmp_path / "align_000.npz", {1: "B"})


def test_a_second_run_writes_only_what_changed(
    tmp_path: Path,
    corpus: dict[int, list[int]],
    pronunciations: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(align, "CTC_STEPS", 3)
    monkeypatch.setattr(align, "BORDER_STEPS", 3)
    monkeypatch.setattr(align, "MIN_CONFIDENCE", 0.0)
    target = tmp_path / "align_000.npz"
    align.main(str(tmp_path), pronunciations)
    written = target.stat().st_mtime_ns
    align.main(str(tmp_path), pronunciations)
    assert target.stat().st_mtime_ns == written

    Path(pronunciations).write_bytes(gzip.compress("bat BÆD\ntab TÆB\n".encode()))
    align.main(str(tmp_path), pronunciations)
    assert align.load_alignments(tmp_path)[0][0] == "BÆD"


def test_a_clip_that_was_left_out_is_looked_at_again_when_it_reads_otherwise(
    tmp_path: Path,
    corpus: dict[int, list[int]],
    pronunciations: str,
    monkeypatch: pytest.MonkeyPatch,
):
    clips = clips_of(tmp_path, pronunciations)[:3]
    sure = [(clips[0], np.zeros(len(clips[0].units)), 0.9)]
    monkeypatch.setattr(align, "align", lambda model, clips: iter(sure))
    target = tmp_path / "align_000.npz"
    align.write_alignment(target, CtcAligner(), clips)
    units = {clip.id: clip.units for clip in clips}
    assert align.is_up_to_date(target, units)
    assert not align.is_up_to_date(target, units | {clips[1].id: "TÆD"})


def test_nothing_to_learn_from_is_named_and_nothing_held_out_is_no_error(
    tmp_path: Path, corpus: dict[int, list[int]], pronunciations: str
):
    clips = [clip for clip in clips_of(tmp_path, pronunciations) if not is_held_out(clip.id)]
    assert np.isnan(align.error_rate(align.trained_by_ctc(clips[:2], 1, 8, 1), []))
    with pytest.raises(ValueError, match="no clip to learn the alignment from"):
        align.train(CtcAligner(), lambda batch: torch.zeros(()), [], 3)


def test_says_so_when_nothing_can_be_aligned(
    tmp_path: Path,
    corpus: dict[int, list[int]],
    pronunciations: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(align, "MIN_CONFIDENCE", 1.1)
    with pytest.raises(ValueError, match="confidence"):
        align.write_alignment(
            tmp_path / "align_000.npz", CtcAligner(), clips_of(tmp_path, pronunciations)[:4]
        )
