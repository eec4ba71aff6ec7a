"""The frame loop against its plain twins: uncached model, whole decode, one request at a time."""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fireredtts2.codec.timbre import Timbre
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.model_runner import FramesUnderWay
from fireredtts2.engine.request import FinishReason, Request
from fireredtts2.engine.scheduler import BUSY_READ_ROWS, QueueFullError
from fireredtts2.llm.prompt import frame_rows
from fireredtts2.llm.sampling import Sampler, SamplingParams
from tests import tiny
from tests.tiny import CODEBOOK_SIZE, LAYOUT, NUM_CODEBOOKS, llm, scripted_engine

GREEDY = SamplingParams(temperature=0.0, depth_temperature=0.0)
HOT = SamplingParams(temperature=5.0, topk=100, depth_temperature=5.0, depth_topk=100)


@pytest.fixture(params=[False, True], ids=["at once", "ahead"], scope="module", autouse=True)
def runs_ahead(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Everything here holds whether a frame is looked at before the next is begun or after."""
    tiny.RUNS_AHEAD = request.param
    yield request.param
    tiny.RUNS_AHEAD = False


def codes(num_frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, CODEBOOK_SIZE, (NUM_CODEBOOKS, num_frames), generator=generator)


def request(text: str = "Hello", max_frames: int = 6, seed: int = 1, **more: object) -> Request:
    prompt = LAYOUT.spoken("S1", "A prompt.", codes(5))
    blocks = LAYOUT.blocks([prompt], LAYOUT.text("S1", text))
    sampling = more.pop("sampling", SamplingParams())
    return Request(blocks, sampling, seed, max_frames, **more)


def run(engine: Engine, *requests: Request) -> list[torch.Tensor]:
    """Serves them all at once; their audio."""
    for one in requests:
        engine.add(one)
    while any(one.finish is None for one in requests):
        engine.step()
    return [torch.cat([torch.zeros(0), *one.chunks]) for one in requests]


def test_greedy_frames_are_those_of_the_uncached_model():
    asked = request(sampling=GREEDY, max_frames=5)
    run(scripted_engine(), asked)
    model = llm()
    tokens = torch.cat([block.rows.tokens for block in asked.blocks])[None]
    mask = torch.cat([block.rows.mask for block in asked.blocks])[None]
    for frame in asked.frames:
        cache = model.new_cache(1, 200)
        expected = model.next_frame(tokens, mask, cache, Sampler.greedy(1, CODEBOOK_SIZE))
        assert torch.equal(expected[0], frame)
        row, live = frame_rows(expected)
        tokens, mask = torch.cat([tokens, row], 1), torch.cat([mask, live], 1)


@pytest.mark.parametrize("causal", [True, False], ids=["streamed", "at the end"])
def test_every_request_has_its_own_voices_gains(causal: bool):
    """Three in two slots, so that one comes after another; the last one has none."""
    engine = scripted_engine([6, 6, 6], num_slots=2, causal=causal, equalizer=1.0)
    codec = engine.codec_runner.codec
    generator = torch.Generator().manual_seed(4)
    bins = codec.acoustic_decoder.isift.istft.num_bins
    voices = [0.5 + torch.rand(bins, generator=generator) for _ in range(2)] + [None]
    asked = [request(seed=seed, timbre=Timbre(gains)) for seed, gains in enumerate(voices)]
    heard = run(engine, *asked)
    for one, audio, gains in zip(asked, heard, voices, strict=True):
        row = None if gains is None else gains[None]
        assert (audio - codec.decode(one.codes[None], row)[0]).abs().max() < 1e-5
    plain = codec.decode(asked[0].codes[None])[0]
    assert (heard[0] - plain).abs().max() > 1e-3


def test_every_request_hears_its_own_voices_prompt():
    """Five in two slots: voices come again, one has no prompt, and their lengths differ."""
    engine = scripted_engine([6, 4, 6, 5, 6], num_slots=2, prompt_frames=9)
    codec = engine.codec_runner.codec
    short, long = codes(3, seed=5), codes(9, seed=6)
    voices = [short, long, None, short, long]
    asked = [request(seed=seed, timbre=Timbre(None, own)) for seed, own in enumerate(voices)]
    heard = run(engine, *asked)
    for one, audio, own in zip(asked, heard, voices, strict=True):
        expected = codec.decode(one.codes[None], prompt=None if own is None else own[None])[0]
        assert audio.shape == expected.shape
        assert (audio - expected).abs().max() < 1e-5
    assert (heard[0] - codec.decode(asked[0].codes[None])[0]).abs().max() > 1e-3


def test_parallel_requests_equal_single_ones():
    def make() -> list[Request]:
        return [
            request("Hello", 9, seed=1),
            request("A longer text than that", 4, seed=2, sampling=HOT),
            request("Third", 7, seed=3),
        ]

    together, alone = make(), make()
    audio = run(scripted_engine([7, None, 3], num_slots=2), *together)
    for one, length, heard in zip(alone, (7, None, 3), audio, strict=True):
        [expected] = run(scripted_engine([length]), one)
        torch.testing.assert_close(heard, expected, atol=1e-5, rtol=0)
    for one, other in zip(together, alone, strict=True):
        assert one.finish is other.finish
        assert torch.equal(one.codes, other.codes)


def test_a_frame_is_computed_up_to_the_highest_slot_that_speaks(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([5, 3, None], num_slots=5)
    model, batches = engine.model_runner.model, []
    extend = model.extend

    def spy(tokens: torch.Tensor, *more: object) -> torch.Tensor:
        if tokens.shape[1] == 1:  # a frame, no prompt
            batches.append(len(tokens))
        return extend(tokens, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "extend", spy)
    run(engine, request("One", 9), request("Two", 9), request("Three", 9))
    assert set(batches) == {1, 3}, "three spoke, then the third alone or with the first"


def test_cached_equals_fresh_to_the_bit():
    warm = scripted_engine([4, 5])
    run(warm, request("Something else", 9))
    before = warm.model_runner.num_prefilled_rows
    second = request("Hello", 9)
    [heard] = run(warm, second)
    fresh = request("Hello", 9)
    cold = scripted_engine([5])
    [expected] = run(cold, fresh)
    assert warm.model_runner.num_prefilled_rows - before < cold.model_runner.num_prefilled_rows
    assert torch.equal(second.codes, fresh.codes)
    assert torch.equal(heard, expected)


def test_a_turn_just_spoken_is_not_read_again():
    engine = scripted_engine([6, 6])
    first = request("Hello", 9)
    run(engine, first)
    before = engine.model_runner.num_prefilled_rows
    spoken = [
        LAYOUT.spoken("S1", "A prompt.", codes(5)),
        LAYOUT.spoken("S1", "Hello", first.codes),
    ]
    text = LAYOUT.text("S2", "And you?")
    second = Request(LAYOUT.blocks(spoken, text), SamplingParams(), 2, 9)
    run(engine, second)
    # The end row and the new text but its last row, which is the first frame's.
    assert engine.model_runner.num_prefilled_rows - before == 1 + len(text) - 1
    cold = scripted_engine([6])
    third = Request(second.blocks, SamplingParams(), 2, 9)
    run(cold, third)
    assert torch.equal(second.codes, third.codes)


def test_audio_is_the_whole_decode():
    engine = scripted_engine([17])
    asked = request(max_frames=30)
    [audio] = run(engine, asked)
    expected = engine.codec_runner.codec.decode(asked.codes[None])[0]
    assert asked.finish is FinishReason.END
    torch.testing.assert_close(audio, expected, atol=1e-5, rtol=0)


def test_first_chunk_comes_with_the_first_frame_then_they_grow():
    engine = scripted_engine([14], runs_ahead=False)
    asked = request(max_frames=30)
    engine.add(asked)
    engine.step()
    assert [chunk.shape[0] for chunk in asked.chunks] == [OUTPUT_SAMPLES_PER_FRAME - 360]
    while asked.finish is None:
        engine.step()
    sizes = [chunk.shape[0] / OUTPUT_SAMPLES_PER_FRAME for chunk in asked.chunks]
    assert sizes[1:-2] == [1, 2, 4, 4]
    assert sum(sizes) == 14


def test_codec_that_cannot_stream_is_decoded_at_the_end():
    engine = scripted_engine([5], causal=False)
    asked = request(max_frames=9)
    [audio] = run(engine, asked)
    torch.testing.assert_close(audio, engine.codec_runner.codec.decode(asked.codes[None])[0])


def test_unspoken_frames_are_made_but_not_heard():
    engine = scripted_engine([8])
    asked = request(max_frames=20, unspoken_frames=2)
    [audio] = run(engine, asked)
    assert len(asked.frames) == 8
    assert asked.codes.shape == (NUM_CODEBOOKS, 6)
    torch.testing.assert_close(
        audio, engine.codec_runner.codec.decode(asked.codes[None])[0], atol=1e-5, rtol=0
    )


def test_end_at_the_first_frame_is_an_end_without_audio():
    asked = request()
    [audio] = run(scripted_engine([0]), asked)
    assert asked.finish is FinishReason.END
    assert audio.shape[0] == 0
    assert asked.num_spoken == 0


def test_limit_is_met_exactly():
    asked = request(max_frames=3)
    [audio] = run(scripted_engine(), asked)
    assert asked.finish is FinishReason.LIMIT
    assert audio.shape[0] == 3 * OUTPUT_SAMPLES_PER_FRAME


def test_codes_without_an_entry_are_never_drawn():
    asked = request(max_frames=60, sampling=HOT)
    run(scripted_engine(), asked)
    assert asked.codes.max() == CODEBOOK_SIZE - 1
    assert asked.codes.min() == 0


def test_stream_yields_while_others_advance():
    engine = scripted_engine([9, 9], num_slots=2)
    first, second = request("One", 20, seed=1), request("Two", 20, seed=2)
    streams = [engine.stream(first), engine.stream(second)]
    heard: list[list[torch.Tensor]] = [[], []]
    for chunks in itertools.zip_longest(*streams):
        for parts, chunk in zip(heard, chunks, strict=True):
            parts += [] if chunk is None else [chunk]
    for one, parts in zip(
        (request("One", 20, seed=1), request("Two", 20, seed=2)), heard, strict=True
    ):
        [expected] = run(scripted_engine([9]), one)
        torch.testing.assert_close(torch.cat(parts), expected, atol=1e-5, rtol=0)


def test_what_a_stream_yields_may_be_changed_in_place():
    for chunk in scripted_engine([3]).stream(request(max_frames=9)):
        chunk.mul_(0.5)


def test_a_stream_can_be_read_while_another_waits_in_the_only_slot():
    engine = scripted_engine([6, 6])
    held = engine.stream(request("One", 20, seed=1))
    parts = [next(held)]
    [audio] = [torch.cat(list(engine.stream(request("Two", 20, seed=2))))]
    parts += held
    assert audio.shape[0] == torch.cat(parts).shape[0] == 6 * OUTPUT_SAMPLES_PER_FRAME


def test_leaving_a_stream_frees_its_slot():
    engine = scripted_engine([None, 4])
    asked = request(max_frames=100)
    stream = engine.stream(asked)
    next(stream)
    stream.close()
    assert asked.finish is FinishReason.CANCELLED
    assert engine.scheduler.live == []
    after = request("Two", 20, seed=2)
    fresh = request("Two", 20, seed=2)
    run(engine, after)
    run(scripted_engine([4]), fresh)
    assert torch.equal(after.codes, fresh.codes)


def test_a_waiting_request_can_be_cancelled():
    engine = scripted_engine([4])
    first, second = request(max_frames=9), request("Two", 9)
    engine.add(first)
    engine.add(second)
    engine.step()
    engine.cancel(second)
    run(engine)
    assert second.finish is FinishReason.CANCELLED
    assert engine.scheduler.num_waiting == 0


def test_interruption_while_reading_leaves_no_trace(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([4, 4])
    calls = []

    def interrupted(*args: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        type(engine.model_runner).read(engine.model_runner, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.model_runner, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(engine.stream(request(max_frames=9)))
    monkeypatch.undo()
    after, fresh = request(max_frames=9), request(max_frames=9)
    run(engine, after)
    run(scripted_engine([4]), fresh)
    assert torch.equal(after.codes, fresh.codes)


def test_interruption_in_the_codec_frees_the_slot(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([3, 4])

    def interrupted(slot: int) -> torch.Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine.codec_runner, "finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(engine.stream(request(max_frames=9)))
    monkeypatch.undo()
    assert engine.scheduler.live == []
    after = request("Two", 9)
    run(engine, after)
    assert len(after.frames) == 4


# --- Who waits, who listens, who lags ---------------------------------------------------------


def long_request(num_rows: int, seed: int = 5) -> Request:
    """A request with about so many rows to read."""
    prompt = LAYOUT.spoken("S1", "A prompt.", codes(num_rows, seed))
    return Request(LAYOUT.blocks([prompt], LAYOUT.text("S1", "Hi")), SamplingParams(), seed, 6)


def test_nobody_who_listens_waits_for_a_long_prompt():
    engine = scripted_engine([20, 4], num_slots=2, max_rows=1_000, runs_ahead=False)
    listener, late = request(max_frames=30), long_request(900)
    engine.add(listener)
    engine.step()
    engine.add(late)
    read = []
    for made in range(2, 6):
        before = engine.model_runner.num_prefilled_rows
        engine.step()
        assert len(listener.frames) == made
        read.append(engine.model_runner.num_prefilled_rows - before)
    assert max(read) <= BUSY_READ_ROWS
    assert min(read) > 0
    assert sum(read) == late.num_rows - 1
    run(engine)
    alone = long_request(900)
    run(scripted_engine([4], max_rows=1_000), alone)  # read in one step: nobody listens
    while late.finish is None:
        engine.step()
    assert torch.equal(late.codes, alone.codes)


def test_a_full_queue_refuses():
    engine = scripted_engine([3, 3, 3], max_waiting=1)
    engine.add(request(seed=1))
    engine.step()
    engine.add(request(seed=2))
    with pytest.raises(QueueFullError, match=r"1 requests wait.*1 are spoken; try again later"):
        engine.add(request(seed=3))
    while engine.scheduler.num_waiting:
        engine.step()
    engine.add(request(seed=3))


def test_a_slow_reader_gets_no_more_until_it_reads():
    engine = scripted_engine([40, 9], num_slots=2)
    slow, quick = request("One", 50, seed=1, max_unread_s=0.4), request("Two", 9, seed=2)
    engine.add(slow)
    engine.add(quick)
    for _ in range(20):
        engine.step()
    assert quick.finish is not None
    assert 5 <= len(slow.frames) <= 10
    parts = []
    while slow.chunks or slow.finish is None:
        while slow.chunks:
            parts.append(slow.chunks.popleft())
        engine.step()
    fresh = request("One", 50, seed=1)
    [expected] = run(scripted_engine([40]), fresh)
    assert torch.equal(slow.codes, fresh.codes)
    torch.testing.assert_close(torch.cat(parts), expected, atol=1e-5, rtol=0)


def test_who_reads_or_is_held_beside_two_speakers_hears_the_same():
    engine = scripted_engine([None] * 4, num_slots=4, max_rows=1_000)
    speakers = [request(f"Speaker {n}", 40, seed=n) for n in range(2)]
    held = request("Held", 12, seed=8, max_unread_s=0.2)
    late = long_request(700)
    for one in (*speakers, held):
        engine.add(one)
    engine.step()
    engine.add(late)
    parts: list[torch.Tensor] = []
    for step in range(60):
        engine.step()
        if step % 6 == 5:  # the held one's reader comes seldom
            parts += held.chunks
            held.chunks.clear()
    for one, again in ((held, request("Held", 12, seed=8)), (late, long_request(700))):
        [expected] = run(scripted_engine(max_rows=1_000), again)
        assert torch.equal(one.codes, again.codes)
        heard = torch.cat([*(parts if one is held else []), *one.chunks])
        torch.testing.assert_close(heard, expected, atol=1e-5, rtol=0)


# --- Errors in a step -------------------------------------------------------------------------


def broken(error: BaseException) -> Callable[..., torch.Tensor]:
    def fail(*args: object) -> torch.Tensor:
        raise error

    return fail


def test_an_error_in_the_model_fails_its_requests_and_the_engine_goes_on(
    monkeypatch: pytest.MonkeyPatch,
):
    engine = scripted_engine([9, 4])
    stream = engine.stream(request(max_frames=20))
    next(stream)
    monkeypatch.setattr(engine.model_runner.model, "draw_frame", broken(RuntimeError("bad luck")))
    with pytest.raises(RequestFailedError, match="speech broke off: RuntimeError: bad luck"):
        list(stream)
    monkeypatch.undo()
    after, fresh = request(max_frames=9), request(max_frames=9)
    run(engine, after)
    run(scripted_engine([4]), fresh)
    assert torch.equal(after.codes, fresh.codes)


def test_an_error_in_one_request_leaves_its_neighbour(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([9, 9], num_slots=2)
    bad, good = request("One", 20, seed=1), request("Two", 20, seed=2)
    whole = engine.codec_runner.finish
    monkeypatch.setattr(
        engine.codec_runner,
        "finish",
        lambda slot: whole(slot) if slot else broken(ValueError("codec"))(),
    )
    audio = run(engine, bad, good)
    assert bad.finish is FinishReason.FAILED
    assert isinstance(bad.error, ValueError)
    fresh = request("Two", 20, seed=2)
    [expected] = run(scripted_engine([9]), fresh)
    torch.testing.assert_close(audio[1], expected, atol=1e-5, rtol=0)


def test_an_error_in_the_codec_costs_those_who_were_decoded_together(
    monkeypatch: pytest.MonkeyPatch,
):
    engine = scripted_engine([9, 9, 4], num_slots=2)
    first, second = request("One", 20, seed=1), request("Two", 20, seed=2)
    monkeypatch.setattr(engine.codec_runner, "decode", broken(ValueError("codec")))
    run(engine, first, second)
    assert [one.finish for one in (first, second)] == [FinishReason.FAILED] * 2
    monkeypatch.undo()
    after = request("Three", 20, seed=3)
    run(engine, after)
    assert after.finish is FinishReason.END


def test_memory_that_runs_out_costs_the_newest_request_alone(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([6, 6], num_slots=2)
    first, second = request("One", 20, seed=1), request("Two", 20, seed=2)
    engine.add(first)
    engine.step()
    engine.add(second)
    draw = engine.model_runner.model.draw_frame

    def greedy_of_memory(hidden: torch.Tensor, sampler: Sampler) -> torch.Tensor:
        if len(hidden) > 1 and engine.scheduler.slots[1].job is not None:
            raise torch.OutOfMemoryError("out of memory")
        return draw(hidden, sampler)

    monkeypatch.setattr(engine.model_runner.model, "draw_frame", greedy_of_memory)
    run(engine)
    while first.finish is None:
        engine.step()
    assert second.finish is FinishReason.FAILED
    assert first.finish is FinishReason.END
    monkeypatch.undo()
    fresh = request("One", 20, seed=1)
    run(scripted_engine([6]), fresh)
    assert torch.equal(first.codes, fresh.codes)


def test_interruption_between_seat_and_begin_spoils_nobody(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([9, 9], num_slots=2)
    engine.add(request("One", 20, seed=1))
    engine.add(other := request("Two", 20, seed=2))
    monkeypatch.setattr(engine.model_runner, "begin", broken(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    monkeypatch.undo()
    run(engine)
    while other.finish is None:
        engine.step()
    fresh = request("Two", 20, seed=2)
    run(scripted_engine([9]), fresh)
    assert torch.equal(other.codes, fresh.codes)


# --- A frame that is begun before the one before it is looked at -------------------------------


def launches_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The slots of every frame that is begun from now on."""
    begun: list[list[int]] = []
    launch = engine.model_runner.launch
    monkeypatch.setattr(
        engine.model_runner, "launch", lambda slots: (begun.append(list(slots)), launch(slots))[1]
    )
    return begun


@pytest.mark.parametrize(
    ("length", "max_frames", "wasted"),
    [(5, 20, 1), (None, 5, 0)],
    ids=["ended by the model", "ended by its limit"],
)
def test_at_most_one_frame_is_begun_in_vain(
    length: int | None, max_frames: int, wasted: int, monkeypatch: pytest.MonkeyPatch
):
    engine = scripted_engine([length], runs_ahead=True)
    begun = launches_of(engine, monkeypatch)
    asked = request(max_frames=max_frames)
    run(engine, asked)
    ends = 1 if length is not None else 0
    assert len(begun) == len(asked.frames) + ends + wasted
    assert len(asked.frames) == 5


def test_whoever_takes_a_slot_does_not_get_the_frame_that_was_under_way():
    engine = scripted_engine([None, 4], runs_ahead=True)
    first, second = request("One", 30, seed=1), request("Two", 9, seed=2)
    engine.add(first)
    for _ in range(3):
        engine.step()
    engine.cancel(first)
    run(engine, second)
    fresh = request("Two", 9, seed=2)
    run(scripted_engine([4]), fresh)
    assert torch.equal(second.codes, fresh.codes)


def test_an_error_that_shows_a_frame_late_fails_its_request_and_the_engine_goes_on(
    monkeypatch: pytest.MonkeyPatch,
):
    engine = scripted_engine([9, 4], runs_ahead=True)
    first, second = request("One", 20, seed=1), request("Two", 9, seed=2)
    engine.add(first)
    engine.step()
    monkeypatch.setattr(FramesUnderWay, "codes", broken(RuntimeError("the device is lost")))
    engine.step()
    monkeypatch.undo()
    assert first.finish is FinishReason.FAILED
    run(engine, second)
    fresh = request("Two", 9, seed=2)
    run(scripted_engine([4]), fresh)
    assert torch.equal(second.codes, fresh.codes)


# --- Joining, leaving, cancelling at any time ---------------------------------------------------


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 7)), min_size=1, max_size=5))
def test_whatever_the_others_do_a_request_hears_the_same(others: list[tuple[int, int]]):
    """Others join at some step and are cancelled some steps later, over two slots."""
    engine = scripted_engine([None] * 9, num_slots=3)
    watched = request("Watched", 10, seed=7)
    engine.add(watched)
    guests = [request(f"Guest {n}", 30, seed=n) for n in range(len(others))]
    for step in itertools.count():
        for guest, (joins, stays) in zip(guests, others, strict=True):
            if step == joins:
                engine.add(guest)
            if step == joins + stays:
                engine.cancel(guest)
        if watched.finish is not None and step > 16:
            break
        engine.step()
    fresh = request("Watched", 10, seed=7)
    [expected] = run(scripted_engine(), fresh)
    assert torch.equal(watched.codes, fresh.codes)
    torch.testing.assert_close(torch.cat(list(watched.chunks)), expected, atol=1e-5, rtol=0)
    assert engine.scheduler.live == []
    assert all(guest.finish is FinishReason.CANCELLED for guest in guests)


def test_readers_in_threads_hear_everything():
    """Whoever finds nothing to hear takes the step for all."""
    lengths = [5, 9, 3, 7, 6, 8, 4, 9]
    engine = scripted_engine([None] * 8, num_slots=3)
    asked = [request(f"Turn {n}", length, seed=n) for n, length in enumerate(lengths)]
    heard: dict[int, torch.Tensor] = {}

    def listen(n: int) -> None:
        heard[n] = torch.cat(list(engine.stream(asked[n])))

    threads = [threading.Thread(target=listen, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n, length in enumerate(lengths):
        [expected] = run(scripted_engine(), request(f"Turn {n}", length, seed=n))
        torch.testing.assert_close(heard[n], expected, atol=1e-5, rtol=0)


def test_many_short_requests_leave_nothing_behind():
    """Some are cancelled, in the queue or in the middle; the engine ends as it began."""
    engine = scripted_engine(num_slots=4)
    random = np.random.default_rng(0)
    asked = [request(f"Turn {n}", int(random.integers(1, 4)), seed=n) for n in range(300)]
    waiting, live = list(reversed(asked)), []
    tensors = []
    for step in itertools.count():
        while waiting and len(live) < 6:
            live.append(waiting.pop())
            engine.add(live[-1])
        if random.random() < 0.3:
            engine.cancel(live[int(random.integers(len(live)))])
        engine.step()
        live = [one for one in live if one.finish is None]
        if step % 20 == 19:
            tensors.append(num_live_tensors(engine))
        if not waiting and not live:
            break
    assert {one.finish for one in asked} == {FinishReason.LIMIT, FinishReason.CANCELLED}
    assert engine.scheduler.live == []
    assert engine.scheduler.num_waiting == 0
    # Six requests at most hold a few each.
    assert max(tensors) - min(tensors) <= 40, "what it holds does not grow with what it served"
    fresh, after = request("After", 4, seed=1), request("After", 4, seed=1)
    [made], [expected] = run(engine, after), run(scripted_engine(), fresh)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def num_live_tensors(engine: Engine) -> int:
    """Tensors that the engine's parts hold, in lists and fields of any depth."""
    seen: set[int] = set()

    def count(thing: object) -> int:
        if id(thing) in seen:
            return 0
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            return 1
        if isinstance(thing, dict):
            return sum(map(count, [*thing.keys(), *thing.values()]))
        if isinstance(thing, list | tuple | set | deque):
            return sum(map(count, thing))
        return count(vars(thing)) if hasattr(thing, "__dict__") else 0

    return count(engine)


@pytest.mark.parametrize(("max_frames", "shown"), [(0, "0 frames"), (600, "600 frames")])
def test_a_request_must_fit(max_frames: int, shown: str):
    with pytest.raises(ValueError, match=shown):
        scripted_engine().add(request(max_frames=max_frames))


# --- Kept work that is shared -------------------------------------------------------------------


def test_what_another_slot_has_read_is_copied_and_sounds_the_same():
    engine = scripted_engine([20, 6, 6], num_slots=3)
    speaks, late, last = (request(f"Text {n}", 30, seed=n) for n in range(3))
    engine.add(speaks)
    engine.step()
    for one in (late, last):
        before = engine.model_runner.num_prefilled_rows
        run(engine, one)
        read = engine.model_runner.num_prefilled_rows - before
        assert read == len(one.blocks[-1]) - 1
    run(engine)
    while speaks.finish is None:
        engine.step()
    for one, length in ((speaks, 20), (late, 6), (last, 6)):
        again = request(f"Text {one.seed}", 30, seed=one.seed)
        [expected] = run(scripted_engine([length]), again)
        assert torch.equal(one.codes, again.codes)
        heard = torch.cat(list(one.chunks))
        torch.testing.assert_close(heard, expected, atol=1e-5, rtol=0)


def test_who_comes_together_reads_the_voice_once():
    engine = scripted_engine([5] * 3, num_slots=3)
    asked = [request(f"Text {n}", 9, seed=n) for n in range(3)]
    run(engine, *asked)
    texts = sum(len(one.blocks[-1]) - 1 for one in asked)
    assert engine.model_runner.num_prefilled_rows == len(asked[0].blocks[0]) + texts
    for one in asked:
        again = request(f"Text {one.seed}", 9, seed=one.seed)
        run(scripted_engine([5]), again)
        assert torch.equal(one.codes, again.codes)


def test_an_error_while_copying_costs_one_request(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([9] * 3, num_slots=2)
    speaks, late = request("One", 20, seed=1), request("Two", 20, seed=2)
    engine.add(speaks)
    engine.step()
    monkeypatch.setattr(engine.model_runner, "copy_rows", broken(RuntimeError("bad luck")))
    run(engine, late)
    monkeypatch.undo()
    assert late.finish is FinishReason.FAILED
    while speaks.finish is None:
        engine.step()
    again, fresh = request("Two", 20, seed=2), request("Two", 20, seed=2)
    run(engine, again)
    run(scripted_engine([9]), fresh)
    assert torch.equal(again.codes, fresh.codes)


def test_one_listener_sits_in_the_first_slot_whatever_is_kept():
    engine = scripted_engine([6] * 9, num_slots=3)
    used = []
    for n in range(5):
        one, again = request(f"Text {n}", 30, seed=n), request(f"Text {n}", 30, seed=n)
        engine.add(one)
        engine.step()
        used += [slot.index for slot in engine.scheduler.live]
        run(engine)
        while one.finish is None:
            engine.step()
        run(scripted_engine([6]), again)
        assert torch.equal(one.codes, again.codes)
    assert used == [0] * 5
    voice = len(one.blocks[0])
    texts = sum(len(request(f"Text {n}").blocks[-1]) - 1 for n in range(5))
    assert engine.model_runner.num_prefilled_rows == voice + texts
