"""A text takes so long to say: not much more, not much less."""

import logging

import pytest

from fireredtts2.narration.conversation import Conversation
from fireredtts2.narration.errors import SpeechError
from fireredtts2.narration.narrator import Line, Narrator
from fireredtts2.narration.options import Options
from fireredtts2.narration.pace import SLACK_FRAMES, Pace
from fireredtts2.speech import Speech, collect
from tests.tiny import LAYOUT, scripted_engine

TEN = Line("S1", "Ten units.", ["Ten units."])


def speak(*lengths: int | None, pace: Pace, **options: object) -> Speech:
    engine = scripted_engine(lengths)
    narrator = Narrator(
        engine,
        Conversation(LAYOUT, [], engine.model_runner.max_rows),
        Options.from_keywords({"seed": 1, **options}),
        encode=lambda audio: audio,
        pace=pace,
    )
    return collect(narrator.narrate([TEN], hold=True))


def test_no_limits_of_its_own():
    pace = Pace()
    assert pace.max_frames("any text", 375) == 375
    assert pace.min_frames("any text") == 0


def test_limits_follow_the_text():
    pace = Pace(max_frames_per_unit=2.5, min_frames_per_unit=0.5)
    assert pace.max_frames("Ten units.", 375) == SLACK_FRAMES + 25
    assert pace.max_frames("Ten units." * 50, 375) == 375
    assert pace.min_frames("Ten units.") == 5


def test_slow_speech_is_a_runaway_long_before_the_turn_limit():
    speech = speak(None, 12, pace=Pace(max_frames_per_unit=1.0))
    assert speech.turns[0].codes.shape[1] == 12
    with pytest.raises(SpeechError, match=r"limit of 2\.8 s"):
        speak(pace=Pace(max_frames_per_unit=1.0))


def test_accepted_length_is_not_shortened():
    speech = speak(pace=Pace(max_frames_per_unit=1.0), on_runaway="accept", turn_limit_ms=4_000)
    assert speech.turns[0].codes.shape[1] == 50


def test_hurried_speech_is_tried_again_and_kept_if_nothing_is_better(
    caplog: pytest.LogCaptureFixture,
):
    pace = Pace(min_frames_per_unit=0.5)
    assert speak(4, 5, pace=pace).turns[0].codes.shape[1] == 5
    with caplog.at_level(logging.WARNING):
        assert speak(4, 4, 3, pace=pace).turns[0].codes.shape[1] == 3
    assert "too short for its text" in caplog.text
