import numpy as np
import pytest

from fireredtts2.evaluation.turn_faults import turn_fault
from tests.evaluation.fakes import tone

RATE_HZ = 24_000
SENTENCE = "The bakery on the corner sells out of fresh bread by noon."


@pytest.mark.parametrize("seconds", [1.5, 4.0, 10.0])
def test_a_usual_turn_has_no_fault(seconds: float) -> None:
    assert turn_fault(SENTENCE, tone(300, seconds), RATE_HZ) is None


def test_no_audio_short_audio_and_silence_are_empty() -> None:
    assert turn_fault(SENTENCE, np.zeros(0, np.float32), RATE_HZ) == "empty"
    assert turn_fault(SENTENCE, tone(300, 0.2), RATE_HZ) == "empty"
    assert turn_fault(SENTENCE, 0.001 * tone(300, 3.0), RATE_HZ) == "empty"


def test_far_too_long_is_a_runaway() -> None:
    assert turn_fault("Hi.", tone(300, 3.5), RATE_HZ) is None
    assert turn_fault("Hi.", tone(300, 4.0), RATE_HZ) == "runaway"
    assert turn_fault(SENTENCE, tone(300, 30.0), RATE_HZ) == "runaway"
