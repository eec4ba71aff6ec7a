"""Chunked equals whole, batched equals single, cached equals fresh, and all equal a plain twin."""

import math

import pytest
import torch
from torch import Tensor

from fireredtts2.config import TransformerConfig
from fireredtts2.llm.kv_cache import KVCache
from fireredtts2.llm.span import rotary_table, whole_span
from fireredtts2.llm.transformer import RMSNorm, Transformer

CONFIGS = [
    TransformerConfig(2, 6, 2, 48, 64, max_seq_len=64),
    TransformerConfig(1, 4, 4, 32, 40, max_seq_len=64),
    TransformerConfig(3, 3, 1, 24, 100, max_seq_len=64, rope_base=100.0, norm_eps=1e-3),
]
TOLERANCE = 1e-5


def random_transformer(config: TransformerConfig, seed: int = 0) -> Transformer:
    model = Transformer(config).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.normal_(0.0, 0.3, generator=generator)
    return model


def random_input(config: TransformerConfig, batch: int, num_steps: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, num_steps, config.embed_dim, generator=generator)


def whole(model: Transformer, x: Tensor) -> Tensor:
    return model(x, whole_span(model.config, x.shape[1], x.device))


def plain_norm(x: Tensor, scale: Tensor, eps: float) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * scale


def plain_rotate(x: Tensor, base: float) -> Tensor:
    """One head (T, d): the pair (i, i + d/2) turns by position * base^(-2i/d)."""
    half = x.shape[-1] // 2
    out = torch.empty_like(x)
    for position in range(len(x)):
        for i in range(half):
            angle = position * base ** (-2 * i / x.shape[-1])
            a, b = x[position, i], x[position, i + half]
            out[position, i] = a * math.cos(angle) - b * math.sin(angle)
            out[position, i + half] = b * math.cos(angle) + a * math.sin(angle)
    return out


def plain_transformer(model: Transformer, x: Tensor) -> Tensor:
    """SPEC section 5 head by head, in double precision, one sequence (T, width)."""
    config, w = model.config, {k: v.double() for k, v in model.state_dict().items()}
    d, group = config.head_dim, config.num_heads // config.num_kv_heads
    x = x.double()
    future = torch.ones(len(x), len(x)).triu(1).bool()
    for layer in range(config.num_layers):
        p = f"layers.{layer}."
        h = plain_norm(x, w[p + "sa_norm.scale"], config.norm_eps)
        q, k, v = (h @ w[f"{p}attn.{n}_proj.weight"].T + w[f"{p}attn.{n}_proj.bias"] for n in "qkv")
        heads = []
        for head in range(config.num_heads):
            own = slice(head * d, head * d + d)
            shared = slice(head // group * d, head // group * d + d)
            turned_q = plain_rotate(q[:, own], config.rope_base)
            turned_k = plain_rotate(k[:, shared], config.rope_base)
            scores = (turned_q @ turned_k.T / d**0.5).masked_fill(future, -math.inf)
            heads.append(scores.softmax(-1) @ v[:, shared])
        x = x + torch.cat(heads, -1) @ w[p + "attn.output_proj.weight"].T
        h = plain_norm(x, w[p + "mlp_norm.scale"], config.norm_eps)
        gate = torch.nn.functional.silu(h @ w[p + "mlp.w1.weight"].T)
        x = x + (gate * (h @ w[p + "mlp.w3.weight"].T)) @ w[p + "mlp.w2.weight"].T
    return plain_norm(x, w["norm.scale"], config.norm_eps)


@pytest.mark.parametrize("config", CONFIGS)
def test_equals_plain_twin(config: TransformerConfig) -> None:
    model = random_transformer(config)
    x = random_input(config, 2, 6)
    expected = torch.stack([plain_transformer(model, row) for row in x])
    torch.testing.assert_close(whole(model, x).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunks_equal_whole(config: TransformerConfig, chunk: int) -> None:
    model = random_transformer(config)
    x = random_input(config, 2, 20)
    cache = KVCache.empty(config, 2, 20)
    chunks = [model.extend(part, cache) for part in x.split(chunk, 1)]
    torch.testing.assert_close(torch.cat(chunks, 1), whole(model, x), atol=TOLERANCE, rtol=1e-5)
    assert cache.lengths.tolist() == [20, 20]


@pytest.mark.parametrize("config", CONFIGS)
def test_ragged_batch_equals_singles(config: TransformerConfig) -> None:
    """Rows of several lengths, each going on by its own count, one of them idle at times."""
    model = random_transformer(config)
    x = random_input(config, 3, 20)
    cache = KVCache.empty(config, 3, 20)
    outputs: list[list[Tensor]] = [[], [], []]
    for counts in ([5, 2, 0], [1, 1, 1], [0, 4, 7], [3, 3, 3], [1, 0, 1], [2, 2, 2]):
        starts = cache.lengths.tolist()
        padded = torch.full((3, max(counts), config.embed_dim), 1e3)
        for row, (start, count) in enumerate(zip(starts, counts, strict=True)):
            padded[row, :count] = x[row, start : start + count]
        hidden = model.extend(padded, cache, counts)
        for row, count in enumerate(counts):
            outputs[row].append(hidden[row, :count])
    assert cache.lengths.tolist() == [12, 12, 14]
    for row, parts in enumerate(outputs):
        together = torch.cat(parts)
        alone = whole(model, x[row : row + 1, : len(together)])[0]
        torch.testing.assert_close(together, alone, atol=TOLERANCE, rtol=1e-5)


def test_row_can_reach_its_capacity_while_another_is_padded() -> None:
    config = CONFIGS[0]
    model = random_transformer(config)
    x = random_input(config, 2, 6)
    cache = KVCache.empty(config, 2, 6)
    model.extend(x[:, :3], cache)
    hidden = model.extend(x[:, 3:], cache, [3, 1])
    torch.testing.assert_close(hidden[0], whole(model, x)[0, 3:], atol=TOLERANCE, rtol=1e-5)
    last = model.extend(x[:, 4:6], cache, [0, 2])
    torch.testing.assert_close(last[1], whole(model, x)[1, 4:], atol=TOLERANCE, rtol=1e-5)


def test_reset_and_truncated_rows_equal_fresh_ones() -> None:
    config = CONFIGS[0]
    model = random_transformer(config)
    x = random_input(config, 2, 10)
    cache = KVCache.empty(config, 2, 12)
    model.extend(100 * random_input(config, 2, 10, seed=2), cache)
    cache.reset(0)
    cache.truncate(1, 0)
    model.extend(x[:, :6], cache)
    model.extend(100 * x[:, :3], cache)
    cache.truncate(0, 6)
    cache.truncate(1, 4)
    padded = torch.stack((x[0, 6:9], x[1, 4:7]))
    hidden = model.extend(padded, cache)
    fresh = whole(model, x)
    torch.testing.assert_close(hidden[0], fresh[0, 6:9], atol=TOLERANCE, rtol=1e-5)
    torch.testing.assert_close(hidden[1], fresh[1, 4:7], atol=TOLERANCE, rtol=1e-5)


def test_one_row_is_filled_alone() -> None:
    config = CONFIGS[0]
    model = random_transformer(config)
    x = random_input(config, 2, 8)
    cache = KVCache.empty(config, 2, 10)
    model.extend(x[1:, :7], cache.row(1))
    assert cache.lengths.tolist() == [0, 7]
    hidden = model.extend(torch.stack((x[0, :1], x[1, 7:])), cache)
    fresh = whole(model, x)
    torch.testing.assert_close(hidden[0, 0], fresh[0, 0], atol=TOLERANCE, rtol=1e-5)
    torch.testing.assert_close(hidden[1, 0], fresh[1, 7], atol=TOLERANCE, rtol=1e-5)


def test_a_row_that_was_copied_goes_on_like_its_source() -> None:
    config = TransformerConfig(2, 4, 2, 32, 48, max_seq_len=32)
    cache = KVCache.empty(config, 2, 8)
    for keys in cache.keys:
        keys.normal_()
    for values in cache.values:
        values.normal_()
    cache.lengths[0] = 5
    cache.copy_rows(0, 1, 4)
    assert cache.lengths.tolist() == [5, 4]
    assert all(torch.equal(keys[1, :, :4], keys[0, :, :4]) for keys in cache.keys)
    assert all(torch.equal(held[1, :, :4], held[0, :, :4]) for held in cache.values)
    with pytest.raises(ValueError, match="cannot copy 6 positions of row 0: it holds 5"):
        cache.copy_rows(0, 1, 6)


def test_full_cache_is_refused_and_left_as_it_was() -> None:
    config = CONFIGS[0]
    model = random_transformer(config)
    cache = KVCache.empty(config, 1, 4)
    model.extend(random_input(config, 1, 3), cache)
    with pytest.raises(ValueError, match=r"5 positions.*room for 4"):
        model.extend(random_input(config, 1, 2), cache)
    assert cache.lengths.tolist() == [3]


def test_bad_sizes_are_refused() -> None:
    config = CONFIGS[0]
    with pytest.raises(ValueError, match="capacity 65"):
        KVCache.empty(config, 1, 65)
    with pytest.raises(ValueError, match="65 positions"):
        whole_span(config, 65, torch.device("cpu"))
    with pytest.raises(ValueError, match="holds 0"):
        KVCache.empty(config, 1, 4).truncate(0, 1)


def test_rotary_and_norm_are_float32_in_a_bfloat16_model() -> None:
    config = TransformerConfig(1, 2, 1, 16, 16, max_seq_len=4096)
    model = random_transformer(config).to(torch.bfloat16)
    span = whole_span(config, 4096, torch.device("cpu"))
    assert span.cos.dtype == span.sin.dtype == torch.float32
    exact = torch.cos(torch.arange(4096, dtype=torch.float64))
    assert (span.cos[:, 0, 0, 0].double() - exact).abs().max() < 1e-6
    x = random_input(config, 1, 50).bfloat16() * 100
    norm: RMSNorm = model.norm
    expected = plain_norm(x.double(), norm.scale.double(), config.norm_eps)
    # Half a unit in the last place of bfloat16: rounded once, at the end.
    torch.testing.assert_close(norm(x).double(), expected, atol=1e-6, rtol=2**-8)
    assert whole(model, x).dtype == torch.bfloat16


def test_rotary_table_made_in_inference_mode_can_train() -> None:
    config = TransformerConfig(1, 2, 1, 16, 16, max_seq_len=77)
    rotary_table.cache_clear()
    with torch.inference_mode():
        whole_span(config, 3, torch.device("cpu"))
    model = Transformer(config)
    whole(model, random_input(config, 1, 3)).sum().backward()
    assert model.layers[0].attn.q_proj.weight.grad.abs().sum() > 0


def test_zero_rows_have_zero_gradient_not_nan() -> None:
    """Padding embeds to zeros; its norm must not spoil the others' gradients."""
    x = torch.zeros(1, 2, 8, requires_grad=True)
    RMSNorm(8, 1e-6)(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
