"""The noise source: numbers of each step's own, kept with the weights."""

import pytest
import torch

from fireredtts2.codec.noise_source import NOISE_DIM, PERIOD_STEPS, Noise, NoiseSource
from fireredtts2.config import DecoderConfig
from tests import tiny

DIM = 8


@pytest.fixture
def source() -> NoiseSource:
    torch.manual_seed(0)
    return NoiseSource(DIM)


def test_every_step_has_noise_of_its_own_until_it_begins_anew(source):
    x, starts = torch.zeros(2, PERIOD_STEPS, DIM), torch.tensor([0, PERIOD_STEPS])
    for put in (source.before_backbone, source.before_head):
        row, again = put(x, Noise(starts, 1.0))
        assert len(row.unique(dim=0)) == PERIOD_STEPS
        assert torch.equal(again, row)
        half = put(x, Noise(starts, 0.5))[0]
        assert torch.allclose(half, row / 2)
        assert torch.equal(put(x, Noise(starts, 0.0)), x)


def test_the_noise_is_white(source):
    assert source.table.shape == (PERIOD_STEPS, NOISE_DIM)
    assert source.table.mean().abs() < 0.02
    assert source.table.std() == pytest.approx(1, abs=0.02)
    neighbours = (source.table[1:] * source.table[:-1]).mean()
    assert neighbours.abs() < 0.02


def test_another_noise_is_another_sound_of_the_same_codes():
    decoder = tiny.codec(noise_source=True).acoustic_decoder
    x = torch.randn(1, 16, decoder.config.embed_dim, generator=torch.Generator().manual_seed(3))
    noises = (None, *(Noise(torch.tensor([start]), 1.0) for start in (0, 77)))
    takes = [decoder.audio(decoder.hidden(x, None, noise), None, noise) for noise in noises]
    assert torch.equal(takes[0], takes[1])
    assert (takes[0] - takes[2]).abs().max() > 1e-3


def test_a_temperature_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"noise_temperature 1\.5: must be from 0 to 1"):
        DecoderConfig(embed_dim=8, num_layers=1, num_heads=2, noise_temperature=1.5)


def test_the_published_decoder_has_none():
    assert tiny.codec().acoustic_decoder.noise is None
    assert not [name for name in tiny.codec().state_dict() if ".noise." in name]


def test_the_noise_is_kept_with_the_weights():
    assert "acoustic_decoder.noise.table" in tiny.codec(noise_source=True).state_dict()
