"""What the tokenizer gets to see of a text."""

import pytest

from fireredtts2.phonemes import from_arpabet
from fireredtts2.pronunciation import Pronouncer
from fireredtts2.text_frontend import TextFrontend

FIVE = from_arpabet("F AY1 V")
SPEAKING = TextFrontend(normalizes=True, pronouncer=Pronouncer({"five": FIVE}))


def test_plain_text_is_unchanged() -> None:
    assert TextFrontend.plain()("It's 5:30 — 你好!") == "It's 5:30 — 你好!"


def test_words_then_units() -> None:
    assert SPEAKING("5, 5.") == f"{FIVE}, {FIVE}."
    assert SPEAKING.words("5%") == "five percent"
    assert SPEAKING.prepare(SPEAKING.words("5, 5.")) == SPEAKING("5, 5.")
    assert TextFrontend(normalizes=True)("5 km") == "five kilometers"


@pytest.mark.parametrize("frontend", [TextFrontend.plain(), SPEAKING])
@pytest.mark.parametrize("text", ["", "  ", "...", "?!", "a\x00", "\ud800"])
def test_nothing_to_say(frontend: TextFrontend, text: str) -> None:
    with pytest.raises(ValueError, match=r"nothing to say|control character|surrogate"):
        frontend(text)


def test_no_english() -> None:
    with pytest.raises(ValueError, match="no word of English letters"):
        SPEAKING("你好")
