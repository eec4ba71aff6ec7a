"""Frames at fixed places are those of the plain way, whoever speaks."""

import shutil

import pytest
import torch

from fireredtts2.engine.frame_programs import FramePrograms, batch_ladder, step_of
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.engine.static_frame import StaticFrame
from fireredtts2.llm.fused import FusedDualTransformer
from fireredtts2.llm.prompt import Rows
from fireredtts2.llm.sampling import SamplingParams
from tests.llm import golden

NUM_SLOTS = 5
MAX_ROWS = 64
CODEBOOK_SIZE = 16
PARAMS = [
    SamplingParams(0.9, 5),
    SamplingParams(0.0),
    SamplingParams(1.5, 12, 1.2, 4),
    SamplingParams(1.0, 16, nsigma=1.5),
    SamplingParams(0.7, 3),
]
#: Who speaks in each step: alone, together, with gaps, and again.
STEPS = [[0], [0, 1], [1, 3], [0, 1, 2, 3, 4], [4], [2, 4], [0, 3], [0, 1, 2, 3, 4]]


class UncapturedFrames(FramePrograms):
    """Runs what would be captured."""

    def _captured(self, frame: StaticFrame, shape):
        class Direct:
            def replay(self) -> None:
                frame.run(shape.num_keys)

        return Direct()


def runner(device: str = "cpu", compiles: bool = False, num_slots: int = NUM_SLOTS) -> ModelRunner:
    model = FusedDualTransformer(golden.tiny_model().to(device), "float32")
    made = ModelRunner(model, num_slots, MAX_ROWS, CODEBOOK_SIZE, compiles)
    for slot in range(num_slots):
        length = 3 + 4 * slot
        tokens, mask = golden.random_rows(golden.tiny_model(), 1, length, seed=slot)
        rows = Rows(tokens[0], mask[0])
        made.begin(slot, 0, Rows(rows.tokens[-1:], rows.mask[-1:]), PARAMS[slot], seed=slot)
        made.read(slot, Rows(rows.tokens[:-1], rows.mask[:-1]))
    return made


def eager(made: ModelRunner) -> ModelRunner:
    made._programs = None
    return made


@pytest.fixture
def static() -> ModelRunner:
    made = eager(runner())
    made._programs = UncapturedFrames(made.model, made._cache, made._next, CODEBOOK_SIZE, False)
    made._programs._captures = True
    return made


def test_static_frames_are_those_of_the_plain_way(static: ModelRunner):
    plain = eager(runner())
    for slots in STEPS:
        assert torch.equal(static.next_frames(slots), plain.next_frames(slots)), slots
        assert torch.equal(static._cache.lengths, plain._cache.lengths)


def test_a_slot_that_begins_anew_is_not_remembered(static: ModelRunner):
    plain = eager(runner())
    for made in (static, plain):
        made.next_frames([0, 1, 2])
        tokens, mask = golden.random_rows(golden.tiny_model(), 1, 4, seed=9)
        last = Rows(tokens[0, -1:], mask[0, -1:])
        made.begin(1, 0, last, SamplingParams(1.1, 9), seed=77)
        made.read(1, Rows(tokens[0, :-1], mask[0, :-1]))
    for slots in ([1], [0, 1, 2], [1, 2]):
        assert torch.equal(static.next_frames(slots), plain.next_frames(slots))


def test_warming_up_leaves_nothing_behind(static: ModelRunner, monkeypatch: pytest.MonkeyPatch):
    capture = static._programs._captured

    def after_two_runs(frame: StaticFrame, shape):
        frame.run(shape.num_keys)
        frame.run(shape.num_keys)
        return capture(frame, shape)

    monkeypatch.setattr(static._programs, "_captured", after_two_runs)
    plain = eager(runner())
    for slots in ([0, 2], [1], [0, 1, 2]):
        assert torch.equal(static.next_frames(slots), plain.next_frames(slots))


def needs_compiler() -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler")


@pytest.mark.parametrize(
    "steps",
    [
        [[0]] * 4,
        # Each program takes half a minute to compile.
        pytest.param([[0], [0, 1], [1], [0, 1], [0]], marks=pytest.mark.slow),
    ],
    ids=["one", "two"],
)
def test_compiled_frames_are_those_of_the_plain_way(steps: list[list[int]]):
    needs_compiler()
    num_slots = max(map(max, steps)) + 1
    plain = eager(runner(num_slots=num_slots))
    compiled = runner(compiles=True, num_slots=num_slots)
    compiled.prepare(PARAMS[0])
    for slots in steps:
        assert torch.equal(compiled.next_frames(slots), plain.next_frames(slots)), slots
        assert torch.equal(compiled._cache.lengths, plain._cache.lengths)


def test_where_nothing_can_be_compiled_it_says_what_is_needed(monkeypatch: pytest.MonkeyPatch):
    made = runner(compiles=True)

    def fail(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found\nsearched here and there")

    monkeypatch.setattr(StaticFrame, "run", fail)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler.*neither g\+\+ nor clang\+\+"):
        made.prepare(PARAMS[0])


def test_a_plain_model_is_not_compiled():
    with pytest.raises(ValueError, match="only a fused model"):
        ModelRunner(golden.tiny_model(), 1, MAX_ROWS, CODEBOOK_SIZE, compiles=True)


def test_ladders():
    assert batch_ladder(1) == [1]
    assert batch_ladder(5) == [1, 2, 4, 5]
    assert batch_ladder(8) == [1, 2, 4, 8]
    assert step_of((256, 512), 256, 3_100) == 256
    assert step_of((256, 512), 257, 3_100) == 512
    assert step_of((256, 512), 513, 3_100) == 3_100
    assert step_of((256, 512), 10, 128) == 128


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_graphs_make_the_frames_of_the_plain_way():
    captured, plain = runner("cuda"), eager(runner("cuda"))
    assert captured._programs is not None
    for slots in STEPS * 2:
        assert torch.equal(captured.next_frames(slots), plain.next_frames(slots)), slots


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_compiled_graphs_make_the_frames_of_the_plain_way():
    captured, plain = runner("cuda", compiles=True), eager(runner("cuda"))
    for slots in ([0], [0, 1], [1], [0, 1]):
        assert torch.equal(captured.next_frames(slots), plain.next_frames(slots)), slots


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_frames_launched_ahead_are_those_that_were_waited_for():
    ahead, waited = runner("cuda"), runner("cuda")
    assert ahead.runs_ahead
    under_way = [ahead.launch([0, 1]) for _ in range(6)]
    for frames in under_way:
        assert torch.equal(frames.codes(), waited.next_frames([0, 1]))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")
def test_a_replayed_frame_waits_for_the_device_once():
    made = runner("cuda")
    made.next_frames([0, 1])
    frames = made._programs
    sampler = made._sampler(range(2), [0, 1])
    torch.cuda.set_sync_debug_mode("error")
    try:
        frames.next_frames([0, 1], 2, sampler)
    finally:
        torch.cuda.set_sync_debug_mode("default")
