"""Two engines asked as one: the same samples, work that stays where it is kept, nobody's fault."""

import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import pytest
import torch

from fireredtts2.engine.engine import Engine
from fireredtts2.engine.engine_thread import ClosedError
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.front import ROWS_PER_REQUEST, Front
from fireredtts2.engine.model_runner import FramesUnderWay
from fireredtts2.engine.request import FinishReason, Request
from fireredtts2.engine.scheduler import QueueFullError
from fireredtts2.llm.sampling import SamplingParams
from tests.engine.test_engine import codes, request
from tests.tiny import LAYOUT, scripted_engine

PATIENCE_S = 60.0


@pytest.fixture
def make() -> Iterator[Callable[..., Front]]:
    """A front of two engines whose turns have so many frames; closed at the end."""
    fronts: list[Front] = []

    def made(length: int | None = 5, **more: int) -> Front:
        engines = [scripted_engine([length] * 50, **{"num_slots": 2, **more}) for _ in range(2)]
        fronts.append(Front(engines))
        return fronts[-1]

    yield made
    for front in fronts:
        front.close()


def engines(front: Front) -> list[Engine]:
    return [thread.engine for thread in front._threads]


def loads(front: Front) -> list[int]:
    return [thread.load for thread in front._threads]


def heard(front: Front | Engine, asked: Request) -> torch.Tensor:
    return torch.cat(list(front.stream(asked)))


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def texts(number: int) -> list[Request]:
    return [request(f"Text {n}", 5 + n % 3, seed=n) for n in range(number)]


def blocked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Makes an engine's next frames wait for this event."""
    goes_on = threading.Event()
    whole = engine.model_runner.launch

    def wait(slots: Sequence[int]) -> FramesUnderWay:
        assert goes_on.wait(PATIENCE_S)
        return whole(slots)

    monkeypatch.setattr(engine.model_runner, "launch", wait)
    return goes_on


# --- The same as one engine -----------------------------------------------------------------------


def test_samples_are_those_of_one_engine(make: Callable[..., Front]):
    front, parts = make(), {}
    asked = texts(9)

    def read(one: Request) -> None:
        parts[one] = heard(front, one)

    readers = [threading.Thread(target=read, args=[one]) for one in asked]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(PATIENCE_S)
    assert all(engine.model_runner.num_started > 1 for engine in engines(front))  # type: ignore[attr-defined]
    for one, again in zip(asked, texts(9), strict=True):
        expected = heard(scripted_engine([5]), again)
        assert torch.equal(one.codes, again.codes)
        torch.testing.assert_close(parts[one], expected, atol=1e-5, rtol=0)
    assert loads(front) == [0, 0]


def test_one_thread_may_read_two_streams_in_turns(make: Callable[..., Front]):
    front, asked = make(9), texts(2)
    parts: list[list[torch.Tensor]] = [[], []]
    for chunks in zip_longest(*(front.stream(one) for one in asked)):
        for heard_so_far, chunk in zip(parts, chunks, strict=True):
            heard_so_far += [] if chunk is None else [chunk]
    for heard_so_far, again in zip(parts, texts(2), strict=True):
        expected = heard(scripted_engine([9]), again)
        torch.testing.assert_close(torch.cat(heard_so_far), expected, atol=1e-5, rtol=0)


def test_what_a_stream_yields_may_be_changed_in_place(make: Callable[..., Front]):
    for chunk in make().stream(request()):
        chunk.mul_(0.5)


def test_who_adds_without_a_stream_is_served_too(make: Callable[..., Front]):
    front, asked = make(), request(max_frames=9)
    front.add(asked)
    until(lambda: asked.finish is FinishReason.END and loads(front) == [0, 0])
    assert torch.equal(torch.cat(list(asked.chunks)), heard(scripted_engine([5]), request()))


# --- Who goes where -------------------------------------------------------------------------------


def turn_after(first: Request, text: str) -> Request:
    spoken = [
        LAYOUT.spoken("S1", "A prompt.", codes(5)),
        LAYOUT.spoken("S1", "Hello", first.codes),
    ]
    blocks = LAYOUT.blocks(spoken, LAYOUT.text("S2", text))
    return Request(blocks, SamplingParams(), 2, 9)


def test_a_conversation_stays_where_its_cache_is(
    make: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
):
    front = make()
    goes_on = blocked(engines(front)[0], monkeypatch)
    beside, first = request("Other", 9), request("Hello", 9)
    front.add(beside)
    heard(front, first)
    goes_on.set()
    until(lambda: loads(front) == [0, 0])
    assert front._homes[first] is front._threads[1]
    before = [engine.model_runner.num_prefilled_rows for engine in engines(front)]
    second = turn_after(first, "And you?")
    heard(front, second)
    assert front._homes[second] is front._threads[1]
    read = [engine.model_runner.num_prefilled_rows for engine in engines(front)]
    # The end row and the new text but its last row, which is the first frame's.
    assert sum(read) - sum(before) == 1 + len(LAYOUT.text("S2", "And you?")) - 1


def test_a_mere_voice_is_spread(make: Callable[..., Front]):
    front = make(None, num_slots=8)
    streams = [front.stream(request(f"Text {n}", 500)) for n in range(6)]
    for stream in streams:
        next(stream)
    assert loads(front) == [3, 3]
    for stream in streams:
        stream.close()
    assert loads(front) == [0, 0]


def test_kept_rows_weigh_as_much_as_requests(make: Callable[..., Front]):
    front = make(None, num_slots=8, max_rows=900)
    prompt = LAYOUT.spoken("S1", "A prompt.", codes(3 * ROWS_PER_REQUEST - 20))
    blocks = LAYOUT.blocks([prompt], LAYOUT.text("S1", "Hello"))

    def listen(seed: int) -> Iterator[torch.Tensor]:
        stream = front.stream(Request(blocks, SamplingParams(), seed, 500))
        next(stream)
        return stream

    streams = [listen(seed) for seed in range(3)]
    assert sorted(loads(front)) == [0, 3], "reading would cost more than three requests beside it"
    streams += [listen(seed) for seed in range(3, 5)]
    assert sorted(loads(front)) == [2, 3], "now both hold it"


def test_nobody_waits_for_a_slot_where_another_is_free(make: Callable[..., Front]):
    front = make(None, num_slots=1)
    first, second = front.stream(request("Hello", 500)), front.stream(request("Hello", 500))
    next(first)
    next(second)
    assert loads(front) == [1, 1]


def test_a_full_queue_refuses_only_when_all_are_full(make: Callable[..., Front]):
    front = make(None, num_slots=1, max_waiting=1)
    streams = [front.stream(request(max_frames=500, seed=n)) for n in range(2)]
    for stream in streams:
        next(stream)
    waiting = [request(max_frames=9, seed=n) for n in range(2)]
    for one in waiting:
        front.add(one)
    assert front.scheduler.num_waiting == 2
    refused = request()
    with pytest.raises(QueueFullError, match="all 2 engines are full; one of them: 1 requests"):
        next(front.stream(refused))
    assert refused.finish is None
    assert loads(front) == [2, 2]
    streams[0].close()
    until(lambda: front.scheduler.num_waiting == 1)
    front.add(refused)


def test_what_does_not_fit_is_refused(make: Callable[..., Front]):
    front = make()
    with pytest.raises(ValueError, match="600 frames"):
        front.add(request(max_frames=600))
    assert loads(front) == [0, 0]


# --- Nobody's fault -------------------------------------------------------------------------------


def test_no_engine_waits_for_anothers_step(
    make: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
):
    front = make()
    goes_on = blocked(engines(front)[0], monkeypatch)
    slow, quick = request("One", 9, seed=1), request("Two", 9, seed=2)
    front.add(slow)
    assert heard(front, quick).numel() > 0
    assert (slow.finish, front._homes[quick]) == (None, front._threads[1])
    goes_on.set()
    until(lambda: slow.finish is not None)


def broken(*args: object) -> torch.Tensor:
    raise RuntimeError("bad luck")


def test_an_error_in_a_model_leaves_the_other_engine(
    make: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
):
    front = make(20)
    streams = [front.stream(request(f"Text {n}", 30)) for n in range(2)]
    for stream in streams:
        next(stream)
    monkeypatch.setattr(engines(front)[0].model_runner, "launch", broken)
    with pytest.raises(RequestFailedError, match="speech broke off: RuntimeError: bad luck"):
        list(streams[0])
    assert sum(1 for _ in streams[1]) > 0
    assert loads(front) == [0, 0]


def test_a_broken_step_fails_its_engines_requests_and_it_goes_on(
    make: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
):
    front = make(20, num_slots=1)
    streams = [front.stream(request(f"Text {n}", 30)) for n in range(2)]
    for stream in streams:
        next(stream)
    waits = request("Waits", 30)
    front.add(waits)
    home, other = front._threads
    assert front._homes[waits] is home

    def fail() -> None:
        monkeypatch.undo()
        raise RuntimeError("all is lost")

    monkeypatch.setattr(home.engine.scheduler, "begin_step", fail)
    with pytest.raises(RequestFailedError, match="all is lost"):
        list(streams[0])
    assert waits.finish is FinishReason.FAILED
    assert (home.load, home.num_failures) == (0, 2)
    assert home.engine.scheduler.slots[0].keys == []
    assert sum(1 for _ in streams[1]) > 0
    home.num_failures = 0
    after, again = request("After", 30), request("After", 30)
    other.expect(waits)  # so that the other one seems to be full
    heard(front, after)
    assert front._homes[after] is home
    heard(scripted_engine([20]), again)
    assert torch.equal(after.codes, again.codes)


def test_an_engine_that_fails_is_asked_less(
    make: Callable[..., Front], monkeypatch: pytest.MonkeyPatch
):
    front = make()
    monkeypatch.setattr(engines(front)[0].model_runner, "launch", broken)
    outcomes = []
    for one in texts(8):
        try:
            outcomes.append(heard(front, one).numel() > 0)
        except RequestFailedError:
            outcomes.append(False)
    assert outcomes == [False] + [True] * 7


# --- Leaving ------------------------------------------------------------------------------------


def test_leaving_a_stream_frees_its_slot(make: Callable[..., Front]):
    front, asked = make(None), request(max_frames=500)
    stream = front.stream(asked)
    next(stream)
    stream.close()
    assert asked.finish is FinishReason.CANCELLED
    assert (front.scheduler.live, loads(front)) == ([], [0, 0])


def test_a_request_can_be_cancelled_from_elsewhere(make: Callable[..., Front]):
    front, asked = make(None), request(max_frames=500)
    stream = front.stream(asked)
    next(stream)
    front.cancel(asked)
    list(stream)
    assert asked.finish is FinishReason.CANCELLED
    never_added = request()
    front.cancel(never_added)
    assert never_added.finish is FinishReason.CANCELLED


def test_a_slow_reader_gets_no_more_until_it_reads(make: Callable[..., Front]):
    front, asked = make(30), request("One", 50, seed=1, max_unread_s=0.4)
    front.add(asked)
    [home] = [thread for thread in front._threads if thread.load]
    until(lambda: bool(home.engine.scheduler.live) and not home.engine.scheduler.has_work)
    assert 5 <= len(asked.frames) <= 10
    parts: list[torch.Tensor] = []
    while home.load or asked.chunks:
        if not home.load or not home.engine.scheduler.has_work:
            while asked.chunks:
                parts.append(asked.chunks.popleft())
        time.sleep(0.002)
    again = request("One", 50, seed=1)
    expected = heard(scripted_engine([30]), again)
    assert torch.equal(asked.codes, again.codes)
    torch.testing.assert_close(torch.cat(parts), expected, atol=1e-5, rtol=0)


def test_closing_ends_what_is_spoken_and_the_threads(make: Callable[..., Front]):
    front, asked = make(None), request(max_frames=500)
    with front:
        stream = front.stream(asked)
        next(stream)
    list(stream)
    assert asked.finish is FinishReason.CANCELLED
    assert not any(thread._thread.is_alive() for thread in front._threads)
    with pytest.raises(ClosedError, match="closed"):
        front.add(request())
    front.close()


def test_a_front_that_nobody_holds_ends_its_threads():
    front = Front([scripted_engine(), scripted_engine()])
    threads = [thread._thread for thread in front._threads]
    del front
    gc.collect()
    assert not any(thread.is_alive() for thread in threads)


# --- Looks like an engine -------------------------------------------------------------------------


def test_tells_what_its_engines_tell_together(make: Callable[..., Front]):
    front = make(num_slots=3, max_rows=500, max_waiting=7)
    assert front.model_runner.max_rows == 500
    assert len(front.scheduler.slots) == 6
    assert (front.scheduler.num_waiting, front.scheduler.max_waiting) == (0, 14)
    front.scheduler.max_waiting = 9
    assert [engine.scheduler.max_waiting for engine in engines(front)] == [5, 5]


def test_needs_two_engines_that_are_alike():
    with pytest.raises(ValueError, match="two engines or more, not 1"):
        Front([scripted_engine()])
    with pytest.raises(ValueError, match=r"windows differ: \[300, 600\] rows"):
        Front([scripted_engine(), scripted_engine(max_rows=300)])
