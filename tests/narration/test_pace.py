"""A text takes so long to say: not much more, not much less."""

import logging

import pytest
import torch

from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
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


def test_silence_stands_between_two_sentences_of_a_turn():
    pieces = ["One.", 'He said "two?"', "three,", "four!"]
    pace = Pace(piece_pause_frames=4)
    assert [pace.pause_frames(pieces, index) for index in range(4)] == [4, 4, 0, 0]
    assert Pace().pause_frames(pieces, 0) == 0


@pytest.mark.parametrize("hold", [True, False])
def test_silence_between_pieces_is_part_of_the_turn(hold: bool):
    engine = scripted_engine([3, 2, 4])
    conversation = Conversation(LAYOUT, [], engine.model_runner.max_rows)
    options = Options.from_keywords({"seed": 1})
    pace = Pace(piece_pause_frames=4)
    narrator = Narrator(engine, conversation, options, encode=lambda audio: audio, pace=pace)
    lines = [Line("S1", "One. Two.", ["One.", "Two."]), Line("S2", "Three.", ["Three."])]
    speech = collect(narrator.narrate(lines, hold))
    first, second = speech.turns
    assert first.codes.shape[1] == 5
    assert first.audio.shape[0] == 9 * OUTPUT_SAMPLES_PER_FRAME
    silence = first.audio[3 * OUTPUT_SAMPLES_PER_FRAME : 7 * OUTPUT_SAMPLES_PER_FRAME]
    assert not silence.any()
    assert torch.equal(speech.audio, torch.cat([first.audio, second.audio]))
    assert (first.end_s, second.start_s) == (pytest.approx(0.72), pytest.approx(0.72))


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
