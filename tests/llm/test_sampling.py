"""Distributions equal the published ones, and draws follow them."""

import math

import pytest
import torch
from safetensors.torch import load_file

from fireredtts2.llm.sampling import Sampler, SamplingParams, topk_probs
from tests.llm.golden import DATA, load_json

NUMBERS = load_file(DATA / "sample_topk.safetensors")
CASES = {
    name: facts
    for name, facts in load_json(DATA / "sample_topk.json").items()
    if f"{name}.logits" in NUMBERS
}


def test_all_cases_are_there() -> None:
    assert len(CASES) == 9


@pytest.mark.parametrize("name", CASES)
def test_distribution_equals_published(name: str) -> None:
    facts, logits, expected = CASES[name], NUMBERS[f"{name}.logits"], NUMBERS[f"{name}.probs"]
    logits = logits.to(getattr(torch, facts["input_dtype"].removeprefix("torch.")))
    probs = topk_probs(logits, facts["temperature"], facts["topk"])
    assert (probs.float() - expected).abs().max() < 1e-6
    assert (probs > 0).sum(-1).tolist() == facts["kept"]


def test_nsigma_distribution_equals_published() -> None:
    probs = topk_probs(NUMBERS["default_t0.9_k20.logits"], 0.9, 2_051, nsigma=1.0)
    assert (probs - NUMBERS["nsigma_n1_t0.9.probs"]).abs().max() < 1e-6


def test_rows_parameters_equal_single_ones() -> None:
    logits = NUMBERS["default_t0.9_k20.logits"]
    settings = [(0.9, 20, 1.0), (2.0, 5, math.inf), (1.0, 9_999, 3.0)]
    temperature, topk, nsigma = (torch.tensor(c)[:, None] for c in zip(*settings, strict=True))
    together = topk_probs(logits, temperature, topk, nsigma)
    for row, (t, k, n) in enumerate(settings):
        alone = topk_probs(logits[row : row + 1], t, k, n)
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-7, rtol=0)


@pytest.mark.parametrize("params", [SamplingParams(0.9, 5), SamplingParams(1.3, 20, nsigma=1.0)])
def test_draws_follow_the_distribution(params: SamplingParams) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 20, generator=generator)
    sampler = Sampler([params], [generator])
    noise = sampler.noise(3_000, 20).transpose(0, 1)
    draws = [sampler.draw(logits, one[:, None], 0) for one in noise]
    counted = torch.bincount(torch.cat(draws), minlength=20) / len(draws)
    expected = topk_probs(logits, params.temperature, params.topk, params.nsigma)[0]
    assert (counted - expected).abs().sum() / 2 < 0.05
    assert not counted[expected == 0].any()


def test_first_code_and_later_codes_have_their_own_parameters() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    sampler = Sampler([SamplingParams(100.0, 4, 100.0, 1)], [torch.Generator().manual_seed(0)])
    noises = [sampler.noise(2, 4) for _ in range(200)]
    assert {int(sampler.draw(logits, noise, 0)) for noise in noises} == {0, 1, 2, 3}
    assert {int(sampler.draw(logits, noise, 1)) for noise in noises} == {0}


def test_zero_temperature_takes_the_first_of_the_best_beside_a_warm_row() -> None:
    logits = torch.tensor([[0.0, 2.0, 2.0, 1.0]]).expand(2, -1)
    params = [SamplingParams(temperature=0.0), SamplingParams(temperature=9.0, topk=4)]
    sampler = Sampler(params, [torch.Generator().manual_seed(s) for s in (0, 1)])
    draws = torch.stack([sampler.draw(logits, sampler.noise(1, 4), 0) for _ in range(50)])
    assert set(draws[:, 0].tolist()) == {1}
    assert set(draws[:, 1].tolist()) == {0, 1, 2, 3}


def test_a_rows_noise_is_its_own() -> None:
    def noise(seeds: list[int]) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return Sampler([SamplingParams()] * len(seeds), generators).noise(4, 30)

    assert torch.equal(noise([1, 2])[1], noise([3, 2, 1])[1])
    assert not torch.equal(noise([1, 2])[1], noise([1, 3])[1])


def test_bfloat16_logits_are_sampled_in_float32() -> None:
    """Steps of 1 at a height of 300 vanish when bfloat16 is divided by the temperature."""
    logits = torch.tensor([[304.0, 302.0, 300.0]], dtype=torch.bfloat16)
    sampler = Sampler([SamplingParams(0.99, 1)], [torch.Generator()])
    assert int(sampler.draw(logits, sampler.noise(1, 3) * 100, 0)) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -0.1}, "temperature -0.1"),
        ({"temperature": math.nan}, "temperature nan"),
        ({"depth_temperature": math.inf}, "depth_temperature inf"),
        ({"topk": 0}, "topk 0"),
        ({"topk": 2.5}, "topk 2.5"),
        ({"depth_topk": -1}, "depth_topk -1"),
        ({"nsigma": 0.0}, "nsigma 0.0"),
    ],
)
def test_bad_parameters_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplingParams(**values)


def test_each_row_needs_a_generator() -> None:
    with pytest.raises(ValueError, match="2 sampling parameters and 1 generators"):
        Sampler([SamplingParams()] * 2, [torch.Generator()])
