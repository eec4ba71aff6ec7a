"""What a stream does with the time that it is ahead of its listener."""

from collections.abc import Iterator, Sequence

import pytest
import torch

from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.request import Request
from fireredtts2.llm.sampling import SamplingParams
from fireredtts2.narration.conversation import Conversation
from fireredtts2.narration.exchange import Exchange
from fireredtts2.narration.lead import KEPT_LEAD_S, Lead
from fireredtts2.narration.lines import Typesetter
from fireredtts2.narration.narrator import Line, Narrator
from fireredtts2.narration.options import Options
from fireredtts2.narration.pace import Pace
from fireredtts2.speech import AudioChunk, collect
from fireredtts2.text_frontend import TextFrontend
from tests.narration.test_narrator import Ear, frames_of
from tests.tiny import LAYOUT, scripted_engine

#: The second turn comes after a pause, which is heard meanwhile.
LINES = [Line("S1", "One.", ["One."]), Line("S2", "Two.", ["Two."], pause_s=5.0)]


class Clock:
    """Stands still unless it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class GoingClock(Clock):
    """Goes on whenever it is looked at."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self.step_s = step_s

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


def teller(engine: Engine, ear: Ear, clock: Clock, **options) -> Narrator:
    given = {"seed": 5, "turn_limit_ms": 800, "takes": 3, **options}
    conversation = Conversation(LAYOUT, [], engine.model_runner.max_rows)
    return Narrator(
        engine,
        conversation,
        Options.from_keywords(given),
        lambda audio: audio,
        listener=ear,  # type: ignore[arg-type]
        lead=Lead(clock=clock),
    )


def told(
    lengths: Sequence[int | None], ear: Ear, clock: Clock | None = None, **options
) -> list[AudioChunk]:
    narrator = teller(scripted_engine(lengths), ear, clock or Clock(), **options)
    return list(narrator.narrate(LINES, hold=False))


def lengths_of(chunks: Sequence[AudioChunk]) -> list[int]:
    return [frames_of(turn) for turn in collect(iter(chunks)).turns]


# --- How much there is ------------------------------------------------------------------------


def test_what_was_given_lies_ahead_until_it_has_been_heard():
    clock = Clock()
    lead = Lead(clock=clock)
    assert lead.spare_s() == 0
    lead.gave(4 * OUTPUT_RATE_HZ)
    assert lead.spare_s() == pytest.approx(4 - KEPT_LEAD_S)
    clock.now += 2
    assert lead.spare_s() == pytest.approx(2 - KEPT_LEAD_S)
    clock.now += 3  # all was heard a second ago, and what comes now is heard at once
    assert lead.spare_s() == 0
    lead.gave(3 * OUTPUT_RATE_HZ)
    assert lead.spare_s() == pytest.approx(3 - KEPT_LEAD_S)


def test_nothing_begins_nothing():
    lead = Lead(clock=Clock())
    lead.gave(0)
    assert lead.spare_s() == 0


def test_what_is_heard_faster_is_heard_sooner():
    lead = Lead(speed=2.0, clock=Clock())
    lead.gave(4 * OUTPUT_RATE_HZ)
    assert lead.spare_s() == pytest.approx(2 - KEPT_LEAD_S)


def test_more_is_kept_of_what_is_heard_slowly():
    """What slows it down holds some of it back."""
    lead = Lead(speed=0.25, clock=Clock())
    lead.gave(2 * OUTPUT_RATE_HZ)
    assert lead.spare_s() == pytest.approx(8 - 4 * KEPT_LEAD_S)


def test_in_a_hurry_there_is_nothing_to_spare():
    hurried = []
    lead = Lead(clock=Clock(), is_hurried=lambda: bool(hurried))
    lead.gave(4 * OUTPUT_RATE_HZ)
    assert lead.spare_s()
    hurried.append(True)
    assert lead.spare_s() == 0


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_a_speed_is_above_zero(speed: float):
    with pytest.raises(ValueError, match="must be above 0"):
        Lead(speed)


# --- What is done with it ---------------------------------------------------------------------


def test_a_piece_is_spoken_again_while_what_came_before_is_heard():
    ear = Ear(-2.0, -0.5)
    chunks = told([4, 6, 5], ear)
    assert lengths_of(chunks) == [4, 5]
    assert [units for _, units in ear.heard] == ["Two.", "Two."]  # for the first there is no time
    assert torch.equal(ear.heard[1][0], collect(iter(chunks)).turns[1].audio)


def test_what_is_kept_is_what_is_heard():
    """The chunks joined are the turns and the pauses, whichever take was chosen."""
    speech = collect(iter(told([4, 6, 5, 7], Ear(-2.0, -3.0, -4.0))))
    pause = torch.zeros(5 * OUTPUT_RATE_HZ)
    expected = [speech.turns[0].audio, pause, speech.turns[1].audio]
    assert torch.equal(speech.audio, torch.cat(expected))
    assert frames_of(speech.turns[1]) == 6


def test_while_a_take_is_held_the_reader_may_go():
    engine = scripted_engine([4, 6, 5])
    stream = teller(engine, Ear(-2.0, -0.5), Clock()).narrate(LINES, hold=False)
    held = [c for c in stream_of_turn(stream, 1) if not len(c.audio)]
    assert held
    assert not held[0].is_turn_end
    assert engine.scheduler.live == []


def stream_of_turn(stream: Iterator[AudioChunk], index: int) -> list[AudioChunk]:
    """A turn's chunks up to the first empty one, where its reader goes."""
    found = []
    for chunk in stream:
        if chunk.turn_index == index:
            found.append(chunk)
            if not len(chunk.audio):
                break
    stream.close()  # type: ignore[attr-defined]
    return found


def test_a_take_is_let_out_when_the_time_is_up():
    """Five seconds of pause, of which four are spare: a second for each look at the clock."""
    ear = Ear()
    chunks = told([4, 10], ear, GoingClock(1.0), turn_limit_ms=2_000)
    assert lengths_of(chunks) == [4, 10]
    second = [len(c.audio) for c in chunks if c.turn_index == 1 and not c.is_turn_end]
    assert 0 in second  # it was held
    assert sum(n > 0 for n in second) > 2  # the pause, what was held, and what came after it
    assert not ear.heard


def test_what_there_is_is_let_out_when_a_second_take_comes_too_late():
    clock, ear = Clock(), Ear(-2.0)
    engine = scripted_engine([4, 6, 8])
    step, at_once = engine.step, ear.clearness

    def slow_step() -> None:
        clock.now += 0.5 if ear.heard else 0.0
        step()

    def slowly(audio: torch.Tensor, units: str) -> float:
        clock.now += 1.5  # of four; of the second take five frames come in time
        return at_once(audio, units)

    engine.step, ear.clearness = slow_step, slowly  # type: ignore[method-assign]
    chunks = list(teller(engine, ear, clock).narrate(LINES, hold=False))
    assert lengths_of(chunks) == [4, 6]
    assert len(ear.heard) == 1
    assert engine.model_runner.num_started == 3  # the second take was begun
    assert engine.scheduler.live == []


def test_no_take_is_begun_that_would_come_too_late():
    clock, ear = Clock(), Ear(-2.0)
    at_once = ear.clearness

    def slowly(audio: torch.Tensor, units: str) -> float:
        clock.now += 2.5  # of four
        return at_once(audio, units)

    ear.clearness = slowly  # type: ignore[method-assign]
    assert lengths_of(told([4, 6], ear, clock)) == [4, 6]
    assert len(ear.heard) == 1


def new_request(number: int) -> Request:
    block = LAYOUT.blocks([], LAYOUT.text("S2", f"Another, {number}."))
    return Request(block, SamplingParams(), seed=number, max_frames=30)


def test_a_take_that_nobody_needs_does_not_wait_for_a_slot():
    engine, ear = scripted_engine([4, 6, 30]), Ear(-2.0)
    at_once = ear.clearness

    def meanwhile(audio: torch.Tensor, units: str) -> float:
        engine.add(new_request(1))
        engine.step()  # it has the only slot now
        return at_once(audio, units)

    ear.clearness = meanwhile  # type: ignore[method-assign]
    stream = teller(engine, ear, Clock()).narrate(LINES, hold=False)
    assert lengths_of(list(stream)) == [4, 6]
    assert engine.model_runner.num_started == 3
    assert len(engine.scheduler.live) == 1  # nobody took a step for it


def test_a_take_that_nobody_needs_lets_nobody_wait():
    engine, ear = scripted_engine([4, 6, 30, 30]), Ear(-2.0)
    others, step = [], engine.step

    def comes_later() -> None:
        if ear.heard and engine.model_runner.num_started == 3 and not others:
            others.append(new_request(1))
            engine.add(others[0])
        step()

    engine.step = comes_later  # type: ignore[method-assign]
    stream = teller(engine, ear, Clock(), turn_limit_ms=4_000).narrate(LINES, hold=False)
    assert lengths_of(list(stream)) == [4, 6]
    assert others
    assert len(ear.heard) == 1
    assert engine.scheduler.live == []
    engine.step()
    assert len(engine.scheduler.live) == 1


def test_a_runaway_is_tried_again_unheard():
    ear = Ear(0.0)
    assert lengths_of(told([4, None, 6], ear)) == [4, 6]


@pytest.mark.parametrize("options", [{"takes": 1}, {"on_runaway": "accept"}])
def test_nobody_listens_where_nothing_is_to_be_chosen(options: dict):
    chunks = told([4, 6], Ear(), **options)
    assert lengths_of(chunks) == [4, 6]
    assert all(len(chunk.audio) for chunk in chunks if not chunk.is_turn_end)  # nothing is held


# --- In an exchange ---------------------------------------------------------------------------


def exchange_of(engine: Engine, ear: Ear) -> Exchange:
    conversation = Conversation(LAYOUT, [], engine.model_runner.max_rows)
    options = Options.from_keywords({"seed": 5, "turn_limit_ms": 2_000, "takes": 3})
    setter = Typesetter(TextFrontend.plain(), piece_bytes=200)
    return Exchange(engine, conversation, setter, options, Pace(), ear)  # type: ignore[arg-type]


def lead_of(seconds: float) -> Lead:
    lead = Lead(clock=Clock())
    lead.gave(round(seconds * OUTPUT_RATE_HZ))
    return lead


def test_an_exchange_remembers_the_take_that_was_heard():
    ear = Ear(-2.0, -3.0, -4.0)
    exchange = exchange_of(scripted_engine([12, 6, 5]), ear)
    audio = torch.cat([c.audio for c in exchange.stream("Well then.", lead=lead_of(9))])
    [(kept, _)] = exchange._recent
    assert kept.codes.shape[1] == 12
    assert torch.equal(audio, ear.heard[0][0])


def test_of_a_take_that_is_broken_off_the_heard_part_is_kept():
    """Not of the take that was made last, which nobody heard."""
    engine = scripted_engine([12, 6, 5, 12])
    exchange = exchange_of(engine, Ear(-2.0, -3.0, -4.0))
    stream = exchange.stream("Well then, here we are.", lead=lead_of(9))
    heard = next(chunk.audio for chunk in stream if len(chunk.audio))
    stream.close()
    [(kept, _)] = exchange._recent
    assert kept.codes.shape[1] == max(1, round(len(heard) / OUTPUT_SAMPLES_PER_FRAME))
    whole = exchange_of(scripted_engine([12]), Ear())
    list(whole.stream("Well then, here we are."))
    [(same, _)] = whole._recent
    assert torch.equal(kept.codes, same.codes[:, : kept.codes.shape[1]])


def test_what_was_only_held_is_not_remembered():
    engine = scripted_engine([12, 6, 5])
    exchange = exchange_of(engine, Ear(-2.0))
    stream = exchange.stream("Well then.", lead=lead_of(9))
    assert not len(next(stream).audio)
    stream.close()
    assert not exchange._recent
    assert engine.scheduler.live == []
