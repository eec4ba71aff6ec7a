"""The equaliser: decoded speech gets the average spectrum of its speaker's clip, and no louder."""

import pytest
import torch

from fireredtts2.audio import resample
from fireredtts2.codec import RedCodec
from fireredtts2.codec.equalizer import (
    MAX_GAIN,
    average_spectrum,
    gains_between,
    interpolated,
)
from fireredtts2.codec.mel import LogMel
from fireredtts2.config import DecoderConfig
from tests import tiny

RATE_HZ = 16_000
NUM_MELS = 80
NUM_BINS = 481


def noise(seconds: float = 2.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(int(seconds * RATE_HZ), generator=generator)


def tilted(audio: torch.Tensor) -> torch.Tensor:
    """Louder by 6 dB above 2 kHz, and softer by 6 dB below."""
    spectrum = torch.fft.rfft(audio)
    hz = torch.linspace(0, RATE_HZ / 2, len(spectrum))
    return torch.fft.irfft(spectrum * torch.where(hz > 2_000, 2.0, 0.5), len(audio))


def average(audio: torch.Tensor) -> torch.Tensor:
    return average_spectrum(LogMel(NUM_MELS)(audio[None])[0])


def test_an_average_knows_neither_level_nor_pauses():
    own = average(noise())
    assert own.shape == (NUM_MELS,)
    assert own.exp().mean() == pytest.approx(1, abs=1e-4)
    assert (average(0.2 * noise()) - own).abs().max() < 1e-3
    with_pause = torch.cat([noise(), 1e-4 * noise(1.0, seed=1)])
    assert (average(with_pause) - own).abs().max() < 0.1


def filtered(audio: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    """Sound at 16 kHz through gains of 0 to 12 kHz."""
    spectrum = torch.fft.rfft(audio)
    heard = gains[: round(len(gains) * 2 / 3)]
    curve = torch.nn.functional.interpolate(heard[None, None], len(spectrum), mode="linear")
    return torch.fft.irfft(spectrum * curve[0, 0], len(audio))


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_gains_take_one_spectrum_to_the_other_and_keep_the_loudness(strength: float):
    own, other = average(noise()), average(tilted(noise()))
    gains = gains_between(own, other, strength, NUM_BINS)
    made = filtered(noise(), gains)
    missing = (other - average(made)).abs().mean() / (other - own).abs().mean()
    assert missing.item() == pytest.approx(1 - strength, abs=0.1)
    assert 0.5 < (made.square().mean() / noise().square().mean()).item() < 2
    hz = torch.linspace(0, 12_000, NUM_BINS)
    assert len(gains[hz > 8_000].unique()) == 1  # of what nobody heard, no details


def test_equal_spectra_need_no_gains():
    own = average(noise())
    assert torch.allclose(gains_between(own, own, 1.0, NUM_BINS), torch.ones(NUM_BINS))


def test_gains_are_bounded():
    made, wanted = torch.zeros(NUM_MELS), torch.zeros(NUM_MELS)
    wanted[40:] = 50
    gains = gains_between(made, wanted, 1.0, NUM_BINS).log()
    assert gains.max() - gains.min() <= 2 * MAX_GAIN + 1e-5


def test_bands_lie_at_their_own_frequencies():
    """Each band's filter is heard where `interpolated` puts its value."""
    filters = LogMel(NUM_MELS).filters
    hz = torch.linspace(0, RATE_HZ / 2, len(filters))
    middles = (filters * hz[:, None]).sum(0) / filters.sum(0)
    bins_hz = torch.linspace(0, 12_000, 4_801)
    found = interpolated(middles, 4_801)
    inside = (bins_hz > 500) & (bins_hz < middles[-1])
    assert ((found - bins_hz)[inside].abs() / bins_hz[inside]).max() < 0.02


@pytest.fixture(scope="module")
def codec() -> RedCodec:
    return tiny.codec(equalizer=1.0, noise_source=True)


def test_a_voice_is_decoded_with_what_its_clip_decoded_lacks(codec: RedCodec):
    clip = tilted(noise())
    codes = codec.encode(clip[None])[0][0]
    spectrum = codec.spectrum(clip)
    assert spectrum is not None
    gains = codec.equalization(spectrum, codes)
    assert gains is not None
    assert gains.shape == (NUM_BINS,)

    def distance(audio: torch.Tensor) -> float:
        heard = codec.spectrum(resample(audio, 24_000, RATE_HZ))
        assert heard is not None
        return float((heard - spectrum).abs().mean())

    plain, equalized = codec.decode(codes[None])[0], codec.decode(codes[None], gains[None])[0]
    assert distance(equalized) < 0.6 * distance(plain)


def test_a_spectrum_of_another_codec_is_refused(codec: RedCodec):
    with pytest.raises(ValueError, match=r"has \(80,\) bands, this codec \(16,\): make the voice"):
        codec.equalization(torch.zeros(80), torch.ones(2, 5, dtype=torch.long))


def test_rows_keep_their_own_gains_streamed_and_whole(codec: RedCodec):
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(tiny.CODEBOOK_SIZE, (2, tiny.NUM_CODEBOOKS, 9), generator=generator)
    gains = 0.5 + torch.rand(2, NUM_BINS, generator=generator)
    whole = codec.decode(codes, gains)
    for row in range(2):
        alone = codec.decode(codes[row : row + 1], gains[row : row + 1])
        assert (alone[0] - whole[row]).abs().max() < 1e-5
    state = codec.initial_state(2, 9)
    assert state.gains is not None
    state.gains[:] = gains
    chunks = [codec.decode_chunk(codes[..., at : at + 3], state, at == 6) for at in (0, 3, 6)]
    assert (torch.cat(chunks, 1) - whole).abs().max() < 1e-5


def test_a_fresh_row_is_decoded_as_it_is(codec: RedCodec):
    state = codec.initial_state(2, 9)
    assert state.gains is not None
    assert (state.gains == 1).all()
    state.gains[:] = 2
    state.reset(1)
    assert (state.gains[0] == 2).all()
    assert (state.gains[1] == 1).all()
    lent = state.select([1, 0], [0, 0]).gains
    assert lent is not None
    assert lent[:, 0].tolist() == [1, 2]


def test_the_published_codec_has_none():
    codec = tiny.codec()
    assert codec.spectrum(noise()) is None
    assert codec.equalization(torch.zeros(16), torch.ones(2, 5, dtype=torch.long)) is None
    assert codec.initial_state(1, 4).gains is None


def test_a_strength_out_of_range_is_named():
    with pytest.raises(ValueError, match=r"equalizer 2\.5: must be from 0 to 2"):
        DecoderConfig(embed_dim=8, num_layers=1, num_heads=2, equalizer=2.5)
