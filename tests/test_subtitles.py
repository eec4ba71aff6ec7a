"""Subtitles: what players show, and when."""

import itertools
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fireredtts2.subtitles import split_cues, to_srt, to_vtt, turn_cues, width, wrap


@dataclass
class Turn:
    speaker: str
    text: str
    start_s: float
    end_s: float


SHORT = [Turn("S1", "[S1]Hello there.", 0.0, 1.25), Turn("S2", "Hi! <b> & all", 3661.5, 3662.0)]
LONG = (
    "The first sentence of this turn is of a fair length. The second one goes on for much longer, "
    "because it has a subordinate clause, and then another one, and it will not fit on the screen "
    "in any single cue, whatever one does. Short. End."
)


def test_srt():
    assert to_srt(SHORT) == (
        "1\n00:00:00,000 --> 00:00:01,250\nHello there.\n\n"
        "2\n01:01:01,500 --> 01:01:02,000\nHi! <b> & all\n"
    )


def test_vtt():
    assert to_vtt(SHORT) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\n<v S1>Hello there.\n\n"
        "01:01:01.500 --> 01:01:02.000\n<v S2>Hi! &lt;b&gt; &amp; all\n"
    )


def test_nothing_said():
    assert to_srt([]) == to_srt([Turn("S1", " ", 0, 1)]) == ""
    assert to_vtt([]) == "WEBVTT\n"


def test_speaker_cannot_break_out_of_the_tag():
    text = to_vtt([Turn("Anna\n\n>--> & co", "Hello.", 0, 1)])
    assert "<v Anna &gt;--&gt; &amp; co>Hello." in text


def test_long_turn_is_cut_at_sentences_and_covers_its_time():
    cues = turn_cues(Turn("S1", LONG, 2.0, 14.0))
    assert len(cues) == 4
    assert cues[0].lines == ("The first sentence of this turn is of a", "fair length.")
    assert cues[-1].lines == ("in any single cue, whatever one does.", "Short. End.")
    assert cues[0].start_ms == 2_000
    assert cues[-1].end_ms == 14_000
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(cues))
    speeds = [sum(map(width, cue.lines)) / (cue.end_ms - cue.start_ms) for cue in cues]
    assert max(speeds) / min(speeds) < 1.1
    assert " ".join(line for cue in cues for line in cue.lines) == LONG


def test_short_sentences_share_a_cue():
    assert split_cues("Yes. No. Perhaps!") == ["Yes. No. Perhaps!"]


def test_wide_letters_take_two_columns():
    text = "今天天气很好，我们一起去公园散步吧。" * 4
    cues = split_cues(text)
    lines = [line for cue in cues for line in wrap(cue)]
    assert max(map(width, lines)) <= 42
    assert "".join(lines) == text
    assert not any(line[0] in "，。" for line in lines)


def test_mixed_writing_keeps_its_words():
    assert wrap("我喜欢 hello world 这首歌") == ["我喜欢 hello world 这首歌"]
    assert wrap("오늘 날씨가 좋네요") == ["오늘 날씨가 좋네요"]


def test_impossible_times():
    with pytest.raises(ValueError, match="cannot be shown"):
        turn_cues(Turn("S1", "Hello.", 2.0, 1.0))


@given(st.text(st.sampled_from("abc .,!?你好。，\n-—é") | st.characters(), max_size=400))
def test_any_text_fits_and_nothing_is_lost(text):
    cues = turn_cues(Turn("S1", "x" + text, 0.0, 10.0))
    lines = [line for cue in cues for line in cue.lines]
    assert all(0 < width(line) <= 43 for line in lines)
    assert all(1 <= len(cue.lines) <= 2 for cue in cues)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", "x" + text)
    assert cues[0].start_ms == 0
    assert cues[-1].end_ms == 10_000
