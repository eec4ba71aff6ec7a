"""Against the published system's numbers, and against itself in every other way of running it."""

import pytest
import torch
from torch import Tensor

from fireredtts2.config import FLAVORS, LLMConfig
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.kv_cache import KVCache
from fireredtts2.llm.prompt import frame_rows, packed_attention
from fireredtts2.llm.sampling import Sampler, SamplingParams
from tests.llm import golden
from tests.reference import needs_reference

GOLDENS = [golden.sharp, pytest.param(golden.init, marks=needs_reference)]
LOGITS_TOLERANCE = 1e-3
CLEAR_GAP = 1e-4  # below it, the best two logits are equal as far as float32 sums can tell


class Recorder(Sampler):
    """Greedy, and keeps the logits that it was given."""

    def __init__(self, batch: int = 1) -> None:
        generators = [torch.Generator() for _ in range(batch)]
        super().__init__([SamplingParams(0.0, 1, 0.0, 1)] * batch, generators)
        self.logits: list[Tensor] = []

    def draw(self, logits: Tensor, noise: Tensor, codebook: int) -> Tensor:
        self.logits.append(logits.float())
        return super().draw(logits, noise, codebook)


@pytest.mark.parametrize("load", GOLDENS)
def test_training_forward_equals_published(load) -> None:
    model, numbers, _ = load()
    tokens, mask = numbers["train_tokens"], numbers["train_mask"]
    embedded = model.embed(tokens, mask)
    assert (embedded - numbers["train_backbone_in"]).abs().max() < 1e-5
    attention = packed_attention(torch.where(mask.any(-1), 0, -1))
    assert torch.equal(attention, numbers["train_backbone_mask"])
    expected = numbers["train_backbone_out"]
    assert (model(tokens, mask, attention) - expected).abs().max() < 1e-4
    live = mask.any(-1)
    assert (model(tokens, mask)[live] - expected[live]).abs().max() < 1e-4


@pytest.mark.parametrize("load", GOLDENS)
def test_heads_equal_published(load) -> None:
    model, numbers, _ = load()
    tokens, mask = numbers["train_tokens"], numbers["train_mask"]
    hidden = model(tokens, mask)[:, :-1]
    is_frame = mask[:, 1:, 0]
    c0 = model.codebook0_head(hidden[is_frame])
    assert (c0 - numbers["train_c0_logits"]).abs().max() < LOGITS_TOLERANCE
    first_two = numbers["train_subset_indices"][:2]
    depth = model.depth_logits(hidden[is_frame][first_two], tokens[:, 1:, :-1][is_frame][first_two])
    assert (depth - numbers["train_depth_logits_first2"]).abs().max() < LOGITS_TOLERANCE
    text = model.text_head(hidden[mask[:, :-1, -1]])
    assert (text - numbers["train_text_logits"]).abs().max() < LOGITS_TOLERANCE


@pytest.mark.parametrize("load", GOLDENS)
def test_generation_equals_published(load) -> None:
    """Logits of every frame and greedy codes, fed with the published codes."""
    model, numbers, _ = load()
    expected, gaps = numbers["gen_tokens"], numbers["gen_top2_gap"]
    cache, recorder = model.new_cache(1, 64), Recorder()
    tokens, mask = numbers["prompt_tokens"][None], numbers["prompt_mask"][None]
    for frame in range(len(expected)):
        recorder.logits.clear()
        codes = model.next_frame(tokens, mask, cache, recorder)[0]
        # A near-tie leaves the codes of its frame after it open: they follow the code drawn.
        unclear = (gaps[frame] < CLEAR_GAP).nonzero()
        clear = int(unclear[0]) if len(unclear) else len(codes)
        assert torch.equal(codes[:clear], expected[frame, :clear])
        first = recorder.logits[0][0] - numbers["gen_c0_logits"][frame]
        assert first.abs().max() < LOGITS_TOLERANCE
        if frame < len(numbers["gen_ci_logits_first3"]) and clear == len(codes):
            later = torch.cat(recorder.logits[1:]) - numbers["gen_ci_logits_first3"][frame]
            assert later.abs().max() < LOGITS_TOLERANCE
        tokens, mask = frame_rows(expected[frame][None])


def test_free_running_greedy_codes_equal_published() -> None:
    model, numbers, _ = golden.sharp()
    cache, sampler = model.new_cache(1, 64), Sampler.greedy(1)
    rows = numbers["prompt_tokens"][None], numbers["prompt_mask"][None]
    for expected in numbers["gen_tokens"]:
        codes = model.next_frame(*rows, cache, sampler)
        assert torch.equal(codes[0], expected)
        rows = frame_rows(codes)


@pytest.mark.parametrize("load", GOLDENS)
def test_seeded_draw_equals_published(load) -> None:
    model, numbers, facts = load()
    sampler = Sampler([SamplingParams(0.9, 30)], [torch.Generator().manual_seed(0)])
    rows = numbers["prompt_tokens"][None], numbers["prompt_mask"][None]
    codes = model.next_frame(*rows, model.new_cache(1, 64), sampler)
    assert codes[0].tolist() == facts["generate"]["stochastic_first_frame_seed0"]


def test_bfloat16_is_closer_to_float32_than_published() -> None:
    """Rotary angles and norms stay float32 here, so it does better."""
    model, numbers, facts = golden.sharp()
    config, weights = model.config, model.state_dict()
    half = DualTransformer(config)
    half.load_state_dict(weights)
    half.to(torch.bfloat16).requires_grad_(False)
    recorder = Recorder()
    rows = numbers["prompt_tokens"][None], numbers["prompt_mask"][None]
    half.next_frame(*rows, half.new_cache(1, 64), recorder)
    error = (recorder.logits[0][0] - numbers["gen_c0_logits"][0]).abs().max()
    assert error < facts["bf16"]["c0_logits_maxabs_vs_fp32"]


@pytest.mark.parametrize("name", ["qwen-1.5b_200m", "qwen-500m_200m", "qwen-3b_200m"])
def test_official_checkpoints_fit_key_for_key(name: str) -> None:
    manifest = golden.load_json(golden.DATA / f"manifest_{name}.json")
    with torch.device("meta"):
        model = DualTransformer(LLMConfig.from_dict(manifest["config"]["llm_models"]))
        weights = {key: torch.empty(shape) for key, shape in manifest["shapes"].items()}
    model.load_state_dict(weights, strict=True, assign=True)
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == manifest["shapes"]


@pytest.mark.parametrize("backbone", sorted(FLAVORS))
def test_every_flavor_can_be_built(backbone: str) -> None:
    with torch.device("meta"):
        config = LLMConfig(backbone, "qwen-200m", 151_936, 2_051, 16, 0.6)
        model = DualTransformer(config)
    assert len(model.backbone.layers) == FLAVORS[backbone].num_layers
    assert model.audio_head.shape == (15, 1_536, 2_051)


def test_state_dict_has_no_buffers_before_or_after_use() -> None:
    model = golden.tiny_model()
    before = list(model.state_dict())
    tokens, mask = golden.random_rows(model, 1, 5)
    model.next_frame(tokens, mask, model.new_cache(1, 8), Sampler.greedy(1))
    assert list(model.state_dict()) == before
    assert not list(model.buffers())


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_chunked_prompt_equals_whole(chunk: int) -> None:
    model = golden.tiny_model()
    tokens, mask = golden.random_rows(model, 2, 15)
    cache = model.new_cache(2, 20)
    for start in range(0, 15, chunk):
        rows = slice(start, start + chunk)
        state = model.extend(tokens[:, rows], mask[:, rows], cache)
    torch.testing.assert_close(state, model(tokens, mask)[:, -1], atol=1e-4, rtol=1e-4)


def test_depth_decoder_cached_equals_whole() -> None:
    """The codes drawn one by one see what the training pass sees."""
    model, recorder = golden.tiny_model(), Recorder(4)
    hidden = torch.randn(4, 48, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        codes = model.draw_frame(hidden, recorder)
    expected = model.depth_logits(hidden, codes)
    drawn = torch.stack(recorder.logits[1:], 1)
    torch.testing.assert_close(drawn, expected, atol=1e-4, rtol=1e-4)


def generate(
    model: DualTransformer,
    prompts: list[tuple[Tensor, Tensor]],
    params: list[SamplingParams],
    seeds: list[int],
    frames: int = 6,
) -> Tensor:
    """Codes (B, frames, Q); prompts of several lengths are padded at the end."""
    batch, counts = len(prompts), [len(tokens) for tokens, _ in prompts]
    width = model.config.audio_num_codebooks + 1
    tokens = torch.zeros(batch, max(counts), width, dtype=torch.int64)
    mask = torch.zeros(batch, max(counts), width, dtype=torch.bool)
    for row, (own_tokens, own_mask) in enumerate(prompts):
        tokens[row, : counts[row]], mask[row, : counts[row]] = own_tokens, own_mask
    sampler = Sampler(params, [torch.Generator().manual_seed(s) for s in seeds])
    cache = model.new_cache(batch, max(counts) + frames)
    codes = [model.next_frame(tokens, mask, cache, sampler, counts)]
    for _ in range(frames - 1):
        codes.append(model.next_frame(*frame_rows(codes[-1]), cache, sampler))
    return torch.stack(codes, 1)


def test_batch_equals_singles_and_neighbours_do_not_matter() -> None:
    model = golden.tiny_model()
    prompts = []
    for row, length in enumerate((9, 4, 13)):
        tokens, mask = golden.random_rows(model, 1, length, seed=row)
        prompts.append((tokens[0], mask[0]))
    params = [SamplingParams(0.9, 6), SamplingParams(0.0), SamplingParams(1.5, 19, 1.2, 4)]
    together = generate(model, prompts, params, [7, 8, 9])
    for row in range(3):
        one = slice(row, row + 1)
        alone = generate(model, prompts[one], params[one], [[7], [8], [9]][row])
        assert torch.equal(together[row], alone[0])
    again = generate(model, prompts, [SamplingParams(3.0, 19), *params[1:]], [1, 8, 9])
    assert torch.equal(again[1:], together[1:])
    assert not torch.equal(again[0], together[0])


def test_codes_beyond_the_codebook_are_never_drawn() -> None:
    model = golden.tiny_model()
    with torch.inference_mode():
        model.codebook0_head.weight[:] = 0
        sampler = Sampler(
            [SamplingParams(5.0, 19, 5.0, 19)] * 200,
            [torch.Generator().manual_seed(s) for s in range(200)],
            codebook_size=16,
        )
        hidden = torch.randn(200, 48, generator=torch.Generator().manual_seed(0))
        codes = model.draw_frame(hidden, sampler)
    assert codes.max() == 15
    assert codes.min() == 0


def test_initial_weights_repeat_and_have_published_spread() -> None:
    model, again = golden.tiny_model(0), golden.tiny_model(1)
    model.init_weights(torch.Generator().manual_seed(5))
    again.init_weights(torch.Generator().manual_seed(5))
    for (name, weight), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(weight, other), name
    assert abs(float(model.audio_embeddings.weight.std()) - 0.02) < 2e-3
    attention = model.backbone.layers[0].attn
    bound = (6 / (48 + 48)) ** 0.5
    assert 0.9 * bound < float(attention.q_proj.weight.abs().max()) <= bound
    assert not attention.q_proj.bias.any()
    assert bool((model.backbone.norm.scale == 1).all())
    bound = (6 / (19 * (32 + 4))) ** 0.5
    assert 0.9 * bound < float(model.audio_head.abs().max()) <= bound


def test_one_codebook_alone_needs_no_decoder_step() -> None:
    model = golden.tiny_model(num_codebooks=1)
    tokens, mask = golden.random_rows(model, 2, 4)
    codes = model.next_frame(tokens, mask, model.new_cache(2, 8), Sampler.greedy(2))
    assert codes.shape == (2, 1)


def test_cache_follows_the_models_type() -> None:
    model = golden.tiny_model().to(torch.bfloat16)
    cache: KVCache = model.new_cache(2, 10)
    assert {held.dtype for held in (*cache.keys, *cache.values)} == {torch.bfloat16}
    assert (cache.batch, cache.capacity) == (2, 10)
