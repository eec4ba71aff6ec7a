"""Rows with different adapters in one batch are what models with these adapters merged give."""

import copy

import pytest
import torch

from fireredtts2.adapters import Adapter, AdapterConfig
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.llm.adapted_linear import AdaptedLinear, AdapterChoice
from fireredtts2.llm.fused import FusedDualTransformer
from fireredtts2.llm.packed_linear import PackedLinear
from fireredtts2.llm.prompt import Rows
from fireredtts2.llm.sampling import SamplingParams
from tests.engine.test_frame_programs import UncapturedFrames
from tests.llm import golden

MAX_ROWS, CODEBOOK_SIZE = 64, 16
ALL = ("q_proj", "k_proj", "v_proj", "output_proj", "w1", "w2", "w3")
#: Name, rank, and what it changes.
KINDS = {"all": (4, ALL), "attention": (2, ("q_proj", "v_proj")), "mlp": (3, ("w2", "w3"))}
NAMES = ["", *KINDS]


def adapter(rank: int, targets: tuple[str, ...], seed: int) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    pairs = {}
    for name, module in golden.tiny_model().named_modules():
        if ".layers." in name and name.endswith(targets):
            outputs, inputs = module.weight.shape
            down = torch.randn(rank, inputs, generator=generator) / inputs**0.5
            pairs[name] = (down, torch.randn(outputs, rank, generator=generator) / 2)
    return Adapter(AdapterConfig(rank, 2.0 * rank, "dialogue", "tiny"), pairs)


ADAPTERS = {n: adapter(*kind, seed) for seed, (n, kind) in enumerate(KINDS.items())}


def merged(name: str, weights: str = "float32") -> FusedDualTransformer:
    model = copy.deepcopy(golden.tiny_model())
    if name:
        model.load_state_dict(ADAPTERS[name].merged(model.state_dict()))
    return FusedDualTransformer(model, weights)


def together(weights: str = "float32") -> FusedDualTransformer:
    return FusedDualTransformer(golden.tiny_model(), weights, adapters=ADAPTERS)


def runner(model: FusedDualTransformer, slots: dict[int, str], num_slots: int = 4) -> ModelRunner:
    """Slots that have read something, each with the adapter that it is given."""
    made = ModelRunner(model, num_slots, MAX_ROWS, CODEBOOK_SIZE)
    for slot, name in slots.items():
        tokens, mask = golden.random_rows(golden.tiny_model(), 1, 5 + slot, seed=slot)
        last = Rows(tokens[0, -1:], mask[0, -1:])
        made.begin(slot, 0, last, SamplingParams(0.9, 6), slot, name)
        made.read(slot, Rows(tokens[0, :-1], mask[0, :-1]))
    return made


def static(made: ModelRunner) -> ModelRunner:
    made._programs = UncapturedFrames(made.model, made._cache, made._next, CODEBOOK_SIZE, False)
    made._programs._captures = True
    return made


@pytest.mark.parametrize("is_static", [False, True])
def test_every_slot_speaks_as_with_its_adapter_merged(is_static: bool) -> None:
    batch = runner(together(), dict(enumerate(NAMES)))
    if is_static:
        static(batch)
    alone = [runner(merged(name), {slot: ""}) for slot, name in enumerate(NAMES)]
    for slots in ([0, 1, 2, 3], [2], [1, 3], [0, 1, 2, 3], [0], [3]):
        codes = batch.next_frames(slots)
        for row, slot in enumerate(slots):
            assert torch.equal(codes[row], alone[slot].next_frames([slot])[0]), (slots, slot)


def test_they_do_change_what_is_said() -> None:
    frames = []
    for name in NAMES:
        made = runner(together(), {0: name})
        frames.append(torch.cat([made.next_frames([0]) for _ in range(6)]))
    for one in range(len(frames)):
        for other in range(one):
            assert not torch.equal(frames[one], frames[other])


def test_a_slot_changes_its_adapter_when_it_begins_anew() -> None:
    made = runner(together(), {0: "all", 1: "mlp"})
    made.next_frames([0, 1])
    tokens, mask = golden.random_rows(golden.tiny_model(), 1, 5, seed=0)
    for name in ("", "attention", "all"):
        made.begin(0, 0, Rows(tokens[0, -1:], mask[0, -1:]), SamplingParams(0.9, 6), 0, name)
        made.read(0, Rows(tokens[0, :-1], mask[0, :-1]))
        assert torch.equal(made.next_frames([0]), runner(merged(name), {0: ""}).next_frames([0]))


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_over_smaller_weights_they_come_close(weights: str) -> None:
    tokens, mask = golden.random_rows(golden.tiny_model(), 1, 12, seed=3)
    for number, name in enumerate(NAMES):
        model = together(weights)
        model.choice.set(0, number)
        model.choice.use(0, 1)
        with torch.inference_mode():
            found = model.extend(tokens, mask, model.new_cache(1, 16)).float()
            exact = merged(name).extend(tokens, mask, merged(name).new_cache(1, 16))
        assert (found - exact).norm() < 0.05 * exact.norm(), name


def test_rows_without_one_cost_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    made = runner(together(), {0: "", 1: ""})
    wanted = runner(merged(""), {0: "", 1: ""}).next_frames([0, 1])

    def refuse(*_: object) -> None:
        raise AssertionError("the products were made")

    monkeypatch.setattr(torch, "baddbmm", refuse)
    assert torch.equal(made.next_frames([0, 1]), wanted)


def test_a_model_without_adapters_has_plain_layers() -> None:
    fused = FusedDualTransformer(golden.tiny_model(), "float32")
    assert fused.choice is None
    assert isinstance(fused.backbone.layers[0].qkv, PackedLinear)
    assert isinstance(together().backbone.layers[0].qkv, AdaptedLinear)
    only = FusedDualTransformer(
        golden.tiny_model(), "float32", adapters={"attention": ADAPTERS["attention"]}
    )
    assert isinstance(only.backbone.layers[0].down, PackedLinear)


def test_the_choice_stays_where_it_is() -> None:
    choice = AdapterChoice(4, torch.device("cpu"))
    place = choice.index.data_ptr()
    choice.set(2, 1)
    choice.use(2, 1)
    assert (choice.rows.tolist(), choice.is_idle) == ([1], False)
    choice.use(0, 2)
    assert choice.is_idle
    choice.use(0, 2, may_idle=False)
    assert not choice.is_idle
    assert choice.index.data_ptr() == place


@pytest.mark.slow
def test_compiled_frames_follow_the_choice() -> None:
    made = ModelRunner(together(), 2, MAX_ROWS, CODEBOOK_SIZE, compiles=True)
    tokens, mask = golden.random_rows(golden.tiny_model(), 1, 5, seed=0)
    for number, name in enumerate(["all", "", "mlp"]):
        made.begin(0, 0, Rows(tokens[0, -1:], mask[0, -1:]), SamplingParams(0.9, 6), number, name)
        made.read(0, Rows(tokens[0, :-1], mask[0, :-1]))
        alone = ModelRunner(merged(name), 2, MAX_ROWS, CODEBOOK_SIZE)
        alone.begin(0, 0, Rows(tokens[0, -1:], mask[0, -1:]), SamplingParams(0.9, 6), number)
        alone.read(0, Rows(tokens[0, :-1], mask[0, :-1]))
        for _ in range(4):
            assert torch.equal(made.next_frames([0]), alone.next_frames([0])), name
