"""Every check refuses what it is for, with its reason and numbers, and lets the rest pass."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.training.prepare.checks import Limits, Reason
from fireredtts2.training.prepare.judge import Heard, Judge
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.recordings import AudioPlace, Recording, Turn
from fireredtts2.training.prepare.text_judge import TextJudge
from fireredtts2.training.prepare.writing import count_spoken, is_dense, script_share
from tests.training.prepare.speech import RATE_HZ, burst, write_clip

TEXT = "A text of some length."


class Parrot:
    """Hears what it was told to."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def error_rate(self, audio: np.ndarray, text: str, language: str) -> tuple[float, str]:
        assert audio.dtype == np.float32
        return self.rate, "something"


def judged(checkpoint: Path, *turns: Turn, language: str = "en", **more: Any) -> list[Heard]:
    listener = more.pop("listener", None)
    options = PrepareOptions(Path("."), Path("."), limits=Limits(**more.pop("limits", {})), **more)
    judge = Judge(options, CheckpointFolder(checkpoint), listener)
    return judge.recording(Recording("one", turns, language))


def turn(path: Path, text: str = TEXT, speaker: str = "A", **place: Any) -> Turn:
    return Turn(AudioPlace(path, **place), text, speaker)


def reason(heard: list[Heard]) -> str:
    (one,) = heard
    assert (one.audio is None) == bool(one.verdict.reason)
    assert bool(one.verdict.reason) == bool(one.verdict.detail)
    return one.verdict.reason


def test_what_is_right_passes_and_is_made_even(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", 1.5, level_dbfs=-30.0, rate_hz=44_100)
    (heard,) = judged(tiny_checkpoint, turn(path))
    verdict = heard.verdict
    assert verdict.reason == ""
    assert verdict.seconds == pytest.approx(1.5, abs=0.03)
    assert verdict.level_dbfs == pytest.approx(-30, abs=0.5)
    assert verdict.gain_db == pytest.approx(7.3, abs=0.5)  # at 16 kHz noise is softer
    assert verdict.chars_per_second == pytest.approx(17 / verdict.seconds, abs=0.01)
    assert heard.audio is not None
    assert heard.audio.dtype == np.float32
    assert heard.audio.size == pytest.approx(1.5 * RATE_HZ, abs=500)
    # tag, two marks, one id a letter, 19 frames, the end
    assert verdict.num_rows == 3 + len(TEXT) + 19 + 1
    (kept,) = judged(tiny_checkpoint, turn(path), level_dbfs=None, kept_silence_s=None)
    assert kept.verdict.gain_db is None


@pytest.mark.parametrize(
    ("expected", "text", "limits"),
    [
        (Reason.EMPTY_TEXT, "", {}),
        (Reason.EMPTY_TEXT, " ... !", {}),
        (Reason.SPEAKER_TAG, "A text of two. [S2] Of two?", {}),
        (Reason.SPEAKER_TAG, "[S_DIALOG_1]A text of some length.", {}),
        (Reason.UNKNOWN_TEXT, "Déjà vu, all of it.", {}),
        (Reason.UNKNOWN_TEXT, "A <|text_end|> inside.", {}),
        (Reason.WRONG_SCRIPT, "Это русский текст.", {}),
        (Reason.TOO_FAST, TEXT * 4, {}),
        (Reason.TOO_SLOW, "Hm.", {}),
        (Reason.TOO_SHORT, TEXT, {"min_seconds": 4.0}),
        (Reason.TOO_LONG, TEXT, {"max_seconds": 2.0}),
        (Reason.TOO_LONG, TEXT, {"max_rows": 40}),
        (Reason.LOW_RATE, TEXT, {"min_rate_hz": 22_050}),
        (Reason.SILENCE, TEXT, {"min_level_dbfs": -10.0}),
    ],
)
def test_each_check_has_its_reason(
    tiny_checkpoint: Path, tmp_path: Path, expected: Reason, text: str, limits: dict[str, Any]
) -> None:
    path = write_clip(tmp_path / "a.wav", 2.2)
    assert reason(judged(tiny_checkpoint, turn(path, text), limits=limits)) == expected.value


def test_audio_that_is_not_right(tiny_checkpoint: Path, tmp_path: Path) -> None:
    def found(path: Path, **place: Any) -> str:
        return reason(judged(tiny_checkpoint, turn(path, **place)))

    good = write_clip(tmp_path / "good.wav", 2.0)
    assert found(tmp_path / "none.wav") == "unreadable"
    (tmp_path / "text.wav").write_text("not audio")
    assert found(tmp_path / "text.wav") == "unreadable"
    assert found(tmp_path) == "unreadable"
    assert found(good, start_s=1.0, end_s=2.5) == "unreadable"
    assert found(good, start_s=9.0) == "unreadable"
    assert found(good, channel=1) == "unreadable"
    assert found(good, start_s=0.5, end_s=2.05) == ""
    empty = tmp_path / "empty.wav"
    soundfile.write(empty, np.zeros(0), RATE_HZ)
    assert found(empty) in ("unreadable", "too_short")
    soundfile.write(tmp_path / "nan.wav", np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    assert found(tmp_path / "nan.wav") == "unreadable"
    soundfile.write(tmp_path / "zero.wav", np.zeros(RATE_HZ), RATE_HZ)
    assert found(tmp_path / "zero.wav") == "silence"
    loud = np.clip(burst(1.5, level_dbfs=0.0) * 2, -1, 1)
    soundfile.write(tmp_path / "loud.wav", loud, RATE_HZ)
    assert found(tmp_path / "loud.wav") == "clipping"
    short = np.concatenate([np.zeros(RATE_HZ), burst(0.2), np.zeros(RATE_HZ)])
    soundfile.write(tmp_path / "short.wav", short, RATE_HZ)
    assert found(tmp_path / "short.wav") == "too_short"


def test_channels_and_parts_of_a_file_are_read(tiny_checkpoint: Path, tmp_path: Path) -> None:
    left, right = burst(3.0, 1, -20.0), burst(3.0, 2, -35.0)
    path = tmp_path / "two.flac"
    soundfile.write(path, np.stack([left, right], 1), RATE_HZ)
    turns = [
        turn(path, start_s=0.0, end_s=1.0, speaker="A"),
        turn(path, start_s=0.0, end_s=1.0, speaker="B", channel=1),
        turn(path, start_s=1.0, end_s=2.0, speaker="C"),
        turn(path, start_s=1.5, end_s=2.5, speaker="D"),
    ]
    heard = judged(tiny_checkpoint, *turns)
    assert [one.verdict.reason for one in heard] == ["", "", "overlap", "overlap"]
    assert [round(one.verdict.level_dbfs or 0) for one in heard[:2]] == [-20, -35]


def test_a_speaker_has_one_gain_in_a_conversation(tiny_checkpoint: Path, tmp_path: Path) -> None:
    said = [write_clip(tmp_path / f"{n}.wav", 1.5, n, level_dbfs=-20.0 - 5 * n) for n in range(3)]
    turns = [turn(path, speaker="AAB"[n]) for n, path in enumerate(said)]
    gains = [one.verdict.gain_db for one in judged(tiny_checkpoint, *turns)]
    assert gains[0] == gains[1] != gains[2]


def test_a_recogniser_is_believed(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav")
    for rate, expected in ((0.1, ""), (0.5, "misheard")):
        heard = judged(tiny_checkpoint, turn(path), listener=lambda rate=rate: Parrot(rate))
        assert reason(heard) == expected
        assert heard[0].verdict.error_rate == rate


def test_the_embedded_model_reads_english_only() -> None:
    judge = TextJudge(CheckpointFolder("mini"), Limits())
    assert judge.num_rows("It's 5:30, déjà vu.", "en") > 10
    with pytest.raises(ValueError, match="no word of English letters"):
        judge.num_rows("你好。", "")
    with pytest.raises(ValueError, match=r"cannot read '你' \(U\+4F60\) '好' \(U\+597D\)"):
        judge.num_rows("Hello 你好 there.", "")
    with pytest.raises(ValueError, match=r"cannot read '.' \(U\+FFFD\)"):
        judge.num_rows("A caf\ufffd.", "")


@pytest.mark.parametrize(
    ("text", "language", "share"),
    [
        ("Hello", "en", 1.0),
        ("Hello мир", "en", 5 / 8),
        ("你好 OK", "zh-CN", 0.5),
        ("こんにちは世界", "ja", 1.0),
        ("안녕", "ko", 1.0),
        ("12 34", "en", None),
        ("Hello мир", "English", 5 / 8),
        ("whatever", "xx", None),
        ("whatever", "", None),
    ],
)
def test_scripts(text: str, language: str, share: float | None) -> None:
    assert script_share(text, language) == share


def test_characters_of_chinese_count_for_more() -> None:
    assert is_dense("你好吗？OK")
    assert not is_dense("Hello 你")
    assert count_spoken("It's 5!") == 4


def test_limits_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="seconds from 3 to 2"):
        Limits(min_seconds=3, max_seconds=2)
    with pytest.raises(ValueError, match="max_clipped 2; allowed: 0 to 1"):
        Limits(max_clipped=2)
    for name in ("min_rate_hz", "max_overlap_s", "max_wer"):
        with pytest.raises(ValueError, match=f"{name} -1; allowed: 0 or more"):
            Limits(**{name: -1})
    with pytest.raises(ValueError, match="max_rows 0; allowed: 1 or more"):
        Limits(max_rows=0)
    with pytest.raises(ValueError, match="max_wer nan; allowed: 0 or more"):
        Limits(max_wer=float("nan"))
    with pytest.raises(ValueError, match=r"validation 0\.6 and test 0.5"):
        PrepareOptions(Path("."), Path("."), validation=0.6, test=0.5)
