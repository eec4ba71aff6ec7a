"""The noise source: numbers of each step's own, kept with the weights."""

import pytest
import torch

from fireredtts2.codec.noise_source import NOISE_DIM, PERIOD_STEPS, NoiseSource
from fireredtts2.config import DecoderConfig
from tests import tiny

DIM = 8


@pytest.fixture
def source() -> NoiseSource:
    torch.manual_seed(0)
    return NoiseSource(DIM)


def test_every_step_has_noise_of_its_own_until_it_begins_anew(source):
    starts = torch.tensor([0, PERIOD_STEPS])
    noise = source.drawn(starts, PERIOD_STEPS, 1.0)
    for layer in (source.into_backbone, source.into_head):
        row, again = layer(noise)
        assert len(row.unique(dim=0)) == PERIOD_STEPS
        assert torch.equal(again, row)
        half = layer(source.drawn(starts, PERIOD_STEPS, 0.5))[0]
        assert torch.allclose(half, row / 2)
        assert not layer(source.drawn(starts, PERIOD_STEPS, 0.0)).any()


def test_the_noise_is_white(source):
    assert source.table.shape == (PERIOD_STEPS, NOISE_DIM)
    assert source.table.mean().abs() < 0.02
    assert source.table.std() == pytest.approx(1, abs=0.02)
    neighbours = (source.table[1:] * source.table[:-1]).mean()
    assert neighbours.abs() < 0.02


def test_another_noise_is_another_sound_of_the_same_codes():
    decoder = tiny.codec(noise_source=True).acoustic_decoder
    x = torch.randn(1, 16, decoder.config.embed_dim, generator=torch.Generator().manual_seed(3))
    noises = [decoder.noise_from(torch.tensor([start]), 32) for start in (0, 77)]
    takes = [decoder.audio(decoder.hidden(x, None, noise), noise=noise) for noise in noises]
    assert torch.equal(takes[0], decoder(x))
    assert (takes[0] - takes[1]).abs().max() > 1e-3


def test_a_temperature_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"noise_temperature 1\.5: must be from 0 to 1"):
        DecoderConfig(embed_dim=8, num_layers=1, num_heads=2, noise_temperature=1.5)


def test_the_published_decoder_has_none():
    assert tiny.codec().acoustic_decoder.noise is None
    assert not [name for name in tiny.codec().state_dict() if ".noise." in name]


def test_the_noise_is_kept_with_the_weights():
    assert "acoustic_decoder.noise.table" in tiny.codec(noise_source=True).state_dict()
