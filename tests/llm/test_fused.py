"""The fused model answers as its plain twin does; smaller weights come close."""

import copy
import sys

import pytest
import torch

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.fused import FusedDualTransformer
from fireredtts2.llm.packed_linear import (
    WIDEN_FROM_ROWS,
    Int8Linear,
    PackedLinear,
    TorchaoLinear,
)
from fireredtts2.llm.prompt import frame_rows
from fireredtts2.llm.sampling import Sampler, SamplingParams
from tests.llm import golden

FRAMES = 6
SIZES = {
    "grouped": {},
    "all heads": {"backbone": (2, 6, 6, 48, 80)},
    "one key head": {"backbone": (3, 4, 1, 64, 96), "num_codebooks": 8},
    "two codebooks": {"num_codebooks": 2},
    "one codebook": {"num_codebooks": 1},
}


def frames(
    model: DualTransformer | FusedDualTransformer, lengths: list[int], params: SamplingParams
) -> torch.Tensor:
    """Codes (B, FRAMES, Q) after prompts of these lengths; the first is half read before."""
    prompts = [golden.random_rows(model, 1, length, seed=length) for length in lengths]
    width = model.config.audio_num_codebooks + 1
    tokens = torch.zeros(len(lengths), max(lengths), width, dtype=torch.int64)
    mask = torch.zeros(len(lengths), max(lengths), width, dtype=torch.bool)
    for row, (own_tokens, own_mask) in enumerate(prompts):
        tokens[row, : lengths[row]], mask[row, : lengths[row]] = own_tokens[0], own_mask[0]
    generators = [torch.Generator().manual_seed(row) for row in range(len(lengths))]
    sampler = Sampler([params] * len(lengths), generators)
    cache = model.new_cache(len(lengths), max(lengths) + FRAMES)
    half = lengths[0] // 2
    counts = [half, *[0] * (len(lengths) - 1)]
    with torch.inference_mode():
        model.extend(tokens[:, :half], mask[:, :half], cache, counts)
        tokens[0], mask[0] = tokens[0].roll(-half, 0), mask[0].roll(-half, 0)
        counts = [lengths[0] - half, *lengths[1:]]
        codes = [model.next_frame(tokens, mask, cache, sampler, counts)]
        for _ in range(FRAMES - 1):
            codes.append(model.next_frame(*frame_rows(codes[-1]), cache, sampler))
    return torch.stack(codes, 1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("params", [SamplingParams(0.0), SamplingParams(0.9, 6, 1.2, 4)])
def test_fused_draws_what_plain_draws(size: str, params: SamplingParams):
    plain = golden.tiny_model(**SIZES[size])
    fused = FusedDualTransformer(plain, "float32")
    for lengths in ([9], [9, 4, 13]):
        assert torch.equal(frames(fused, lengths, params), frames(plain, lengths, params))


def test_states_and_logits_are_those_of_the_plain_model():
    plain, numbers, _ = golden.sharp()
    fused = FusedDualTransformer(plain, "float32")
    rows = numbers["prompt_tokens"][None], numbers["prompt_mask"][None]
    with torch.inference_mode():
        expected = plain.codebook0_head(plain.extend(*rows, plain.new_cache(1, 64)))
        made = fused.codebook0_head(fused.extend(*rows, fused.new_cache(1, 64)))
    assert (made - expected).abs().max() < 1e-3
    assert (made - numbers["gen_c0_logits"][0]).abs().max() < 1e-3


@pytest.mark.parametrize(("kind", "share"), [("bfloat16", 0.51), ("int8", 0.30)])
def test_smaller_weights_come_close(kind, share: float):
    plain, numbers, _ = golden.sharp()
    fused = FusedDualTransformer(plain, kind)
    rows = numbers["prompt_tokens"][None], numbers["prompt_mask"][None]
    with torch.inference_mode():
        made = fused.codebook0_head(fused.extend(*rows, fused.new_cache(1, 64))).float()
    expected = numbers["gen_c0_logits"][0]
    assert (made - expected).square().mean().sqrt() < 0.05 * expected.std()
    block, twin = fused.backbone.layers[0], plain.backbone.layers[0]
    size = sum(part.num_bytes for part in (block.qkv, block.out, block.gate_up, block.down))
    whole = sum(p.nbytes for name, p in twin.named_parameters() if "weight" in name)
    assert size < share * whole


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_smaller_weights_batch_as_they_do_alone(kind):
    plain, numbers, _ = golden.sharp()  # its best codes stand clear of rounding
    fused = FusedDualTransformer(plain, kind)
    tokens, mask = numbers["prompt_tokens"][None], numbers["prompt_mask"][None]
    short = len(tokens[0]) - 3
    batch = tokens.repeat(2, 1, 1), mask.repeat(2, 1, 1)
    cache, alone = fused.new_cache(2, 64), fused.new_cache(1, 64)
    codes = fused.next_frame(*batch, cache, Sampler.greedy(2), [len(tokens[0]), short])
    expected = fused.next_frame(tokens, mask, alone, Sampler.greedy(1))
    for _ in range(FRAMES):
        assert torch.equal(codes[:1], expected)
        codes = fused.next_frame(*frame_rows(codes), cache, Sampler.greedy(2))
        expected = fused.next_frame(*frame_rows(expected), alone, Sampler.greedy(1))


def test_a_model_that_is_freed_on_the_way_holds_nothing():
    plain = golden.tiny_model()
    expected = frames(copy.deepcopy(plain), [9, 4], SamplingParams(0.9, 6))
    fused = FusedDualTransformer(plain, "float32", frees=True)
    assert sum(p.numel() for p in plain.parameters()) == 0
    assert torch.equal(frames(fused, [9, 4], SamplingParams(0.9, 6)), expected)


@pytest.mark.parametrize("rows", [1, WIDEN_FROM_ROWS - 1, WIDEN_FROM_ROWS])
@pytest.mark.parametrize("shape", [(64, 32), (32, 64), (32, 24), (24, 8)])
def test_packed_layers_multiply(rows: int, shape: tuple[int, int]):
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(shape, generator=generator)
    bias = torch.randn(shape[0], generator=generator)
    x = torch.randn(2, rows, shape[1], generator=generator)
    expected = x @ weight.T + bias
    torch.testing.assert_close(PackedLinear(weight, bias)(x), expected, atol=1e-5, rtol=1e-5)
    made = Int8Linear(weight, bias)(x.to(torch.bfloat16)).float()
    assert (made - expected).square().mean().sqrt() < 0.02 * expected.std()


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.filterwarnings("ignore")
def test_layers_of_torchao_multiply(kind: str):
    """As on a GPU, where they are used."""
    pytest.importorskip("torchao")
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 32, generator=generator)
    bias = torch.randn(64, generator=generator)
    x = torch.randn(2, 3, 32, generator=generator)
    expected = x @ weight.T + bias
    layer = TorchaoLinear(weight, bias, kind)
    made = layer(x.to(torch.bfloat16)).float()
    assert (made - expected).square().mean().sqrt() < 0.05 * expected.std()
    assert layer.num_bytes < 0.6 * 2 * weight.numel()


def test_torchao_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ValueError, match=r"fireredtts2\[quantization\]"):
        TorchaoLinear(torch.randn(8, 8), None, "fp8")


def test_int8_rounds_to_the_nearest_level():
    weight = torch.tensor([[127.0, -3.2, 0.4], [0.0, 0.0, 0.0]]) * 0.5
    layer = Int8Linear(weight)
    assert layer.weight.tolist() == [[127, -3, 0], [0, 0, 0]]
    assert (layer.widened()[0] - weight[0]).abs().max() <= 0.26
