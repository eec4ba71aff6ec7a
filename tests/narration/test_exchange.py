"""A conversation in pieces: the same as a dialogue, and what was not heard is not remembered."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.narration.errors import SpeechError
from fireredtts2.narration.exchange import BusyError, Exchange, first_part
from fireredtts2.narration.lines import Typesetter
from fireredtts2.narration.pace import Pace
from fireredtts2.text_frontend import TextFrontend
from tests.tiny import script_turns

pytest_plugins = ("tests.speaking",)
VOICES = {"S1": "af_heart", "S2": "am_michael"}
TURNS = ["[S1]Have you heard?", "[S2]No, what is it?", "[S1]I am not sure yet."]
FRAMES = 12


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    model = FireRedTTS2(voiced_checkpoint, device="cpu", num_slots=2)
    script_turns(model.studio.engine, *[FRAMES] * 500)
    return model


def heard(exchange: Exchange, text: str, speaker: str = "S1") -> torch.Tensor:
    return torch.cat([chunk.audio for chunk in exchange.stream(text, speaker)])


def codes_of(exchange: Exchange) -> list[torch.Tensor]:
    return [spoken.codes for spoken, _ in exchange._recent]


def test_turns_one_by_one_are_the_dialogue(tts: FireRedTTS2):
    whole = torch.cat([chunk.audio for chunk in tts.stream_dialogue(TURNS, VOICES, seed=3)])
    exchange = tts.exchange(VOICES, seed=3)
    parts = [heard(exchange, turn[4:], turn[1:3]) for turn in TURNS]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_what_was_said_is_not_read_again(tts: FireRedTTS2):
    exchange = tts.exchange(VOICES, seed=3)
    heard(exchange, "A first turn of some length.")
    runner = tts.studio.engine.model_runner
    before = runner.num_prefilled_rows
    heard(exchange, "Hi.", "S2")
    assert runner.num_prefilled_rows - before < 20


def test_a_stream_that_is_closed_keeps_what_was_heard(tts: FireRedTTS2):
    exchange = tts.exchange(VOICES, seed=3)
    stream = exchange.stream("One two three four five six seven eight nine ten.")
    samples = sum(next(stream).audio.shape[0] for _ in range(3))
    stream.close()
    [(kept, _)] = exchange._recent
    assert kept.codes.shape[1] == round(samples / OUTPUT_SAMPLES_PER_FRAME) < FRAMES
    assert "One two three four five six seven eight nine ten.".startswith(kept.text)
    assert len(kept.text) < 48
    assert tts.studio.engine.scheduler.live == []
    assert heard(exchange, "And on we go.").shape[0] > 0


def test_nothing_heard_leaves_nothing(tts: FireRedTTS2):
    exchange = tts.exchange(VOICES, seed=3)
    exchange.stream("Never asked for.").close()
    rows = exchange.num_rows
    assert codes_of(exchange) == []
    assert rows == tts.exchange(VOICES).num_rows


def test_forgetting_goes_back_over_pieces(tts: FireRedTTS2):
    exchange = tts.exchange(VOICES, seed=3)
    first, second = heard(exchange, "One two three four."), heard(exchange, "Five six seven.")
    before = codes_of(exchange)
    unheard_s = second.shape[0] / OUTPUT_RATE_HZ + 4 * 0.08
    exchange.forget(unheard_s)
    [kept] = codes_of(exchange)
    assert torch.equal(kept, before[0][:, : FRAMES - 4])
    exchange.forget(first.shape[0])  # more than there is
    assert codes_of(exchange) == []


def test_silence_between_pieces_is_forgotten_as_silence(tts: FireRedTTS2):
    tts.studio._pace = Pace(piece_pause_frames=4)
    tts.studio._typesetter = Typesetter(TextFrontend.plain(), piece_bytes=12)
    exchange = tts.exchange(VOICES, seed=3)
    audio = heard(exchange, "One two. Three four.")
    assert audio.shape[0] == (2 * FRAMES + 4) * OUTPUT_SAMPLES_PER_FRAME
    first, _ = codes_of(exchange)
    exchange.forget((FRAMES + 1) * 0.08)
    assert [kept.shape[1] for kept in codes_of(exchange)] == [FRAMES]
    exchange.forget((3 + 2) * 0.08)
    [kept] = codes_of(exchange)
    assert torch.equal(kept, first[:, : FRAMES - 2])


def test_forgotten_is_as_never_said(tts: FireRedTTS2):
    exchange, fresh = tts.exchange(VOICES, seed=3), tts.exchange(VOICES, seed=3)
    heard(exchange, "Take this back.")
    exchange.forget(60)
    fresh._num_streams = 1  # its random numbers are those of a second stream
    torch.testing.assert_close(heard(exchange, "Again."), heard(fresh, "Again."))


def test_one_stream_at_a_time(tts: FireRedTTS2):
    exchange = tts.exchange(VOICES, seed=3)
    stream = exchange.stream("The first.")
    next(stream)
    assert exchange.is_busy
    with pytest.raises(BusyError, match="one stream at a time"):
        next(exchange.stream("The second."))
    stream.close()
    assert not exchange.is_busy
    assert heard(exchange, "The third.").shape[0] > 0


def test_a_voice_may_come_later(tts: FireRedTTS2):
    exchange = tts.exchange({"S1": "af_heart"}, seed=3)
    heard(exchange, "Who is there?")
    rows = exchange.num_rows
    exchange.add_voice(tts.studio.prompter.from_voice("S2", "am_michael"))
    assert exchange.num_rows > rows
    assert heard(exchange, "It is me.", "S2").shape[0] > 0


@pytest.mark.parametrize(
    ("text", "speaker", "shown"),
    [("...", "S1", "nothing to say"), ("Hi.", "S9", "unknown speaker"), ("Hi.", 7, "not 7")],
)
def test_bad_texts_are_refused_at_once(tts: FireRedTTS2, text: str, speaker: str, shown: str):
    with pytest.raises(ValueError, match=shown):
        tts.exchange(VOICES).stream(text, speaker)


def test_a_failing_turn_loses_none_before_it(tts: FireRedTTS2):
    exchange = tts.exchange(VOICES, seed=3, max_attempts=1)
    heard(exchange, "A good one.")
    lengths = tts.studio.engine.model_runner.lengths
    lengths.clear()
    lengths.extend([0, FRAMES])
    with pytest.raises(SpeechError):
        heard(exchange, "A bad one.")
    assert len(codes_of(exchange)) == 1
    assert heard(exchange, "A good one again.").shape[0] > 0


@given(st.text(min_size=1, max_size=60), st.floats(0, 1.2))
def test_a_part_of_a_text_begins_it(text: str, share: float):
    part = first_part(text, share)
    assert text.startswith(part)
    assert part


def test_a_part_ends_with_a_word():
    text = "One two three four"
    assert first_part(text, 0.01) == "One"
    assert first_part(text, 0.3) == "One two"
    assert first_part(text, 1.0) == text
    assert first_part("今天天气很好", 0.5) == "今天天"
