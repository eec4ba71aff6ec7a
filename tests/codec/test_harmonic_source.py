"""The pulse train of small decoders: its pitch, its phases, and where it is silent."""

import math

import pytest
import torch

from fireredtts2.codec.harmonic_source import (
    NUM_BANDS,
    TURN,
    Excitation,
    HarmonicSource,
    band_weights,
    pulse_train,
)
from fireredtts2.codec.istft import Istft
from fireredtts2.training.pitch import track_pitch
from tests import tiny

HOP = 240


@pytest.fixture(scope="module")
def istft() -> Istft:
    return Istft(HOP)


@pytest.fixture(scope="module")
def source(istft: Istft) -> HarmonicSource:
    return HarmonicSource(8, HOP, istft.window)


def periodic(pitch_hz: torch.Tensor) -> Excitation:
    """Nothing but harmonics."""
    return Excitation(pitch_hz, torch.ones(*pitch_hz.shape, NUM_BANDS))


def flat(num_steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states and the spectrum of a head."""
    return torch.zeros(1, num_steps, 8), torch.ones(1, num_steps, 481, dtype=torch.complex64)


def test_the_closed_form_is_the_sum() -> None:
    turns = torch.cat([torch.linspace(-2.2, 2.2, 1_001), torch.tensor([0.0, 1.0, 1e-8])])
    wanted = sum(torch.cos(2 * math.pi * k * turns.double()) for k in range(1, 41))
    made = pulse_train(turns, torch.tensor(40.0))
    assert (made - wanted).abs().max() < 0.01


@pytest.mark.parametrize("hz", [80.0, 233.0, 420.0])
def test_the_pitch_is_what_was_asked_for(source: HarmonicSource, istft: Istft, hz: float) -> None:
    spectrum = source(*flat(100), excitation=periodic(torch.full((1, 100), hz)))
    audio = istft(spectrum, istft.initial_state(1), torch.zeros(1, dtype=torch.long))
    found = track_pitch(audio)[0, 10:-10]
    torch.testing.assert_close(found, torch.full_like(found, hz), rtol=0.003, atol=0)


def test_a_glide_has_no_seams(source: HarmonicSource, istft: Istft) -> None:
    """Every harmonic goes on where it was: little lies between the harmonics."""
    glide = torch.linspace(200.0, 206.0, 100)[None]
    spectrum = source(*flat(100), excitation=periodic(glide))
    audio = istft(spectrum, istft.initial_state(1), torch.zeros(1, dtype=torch.long))
    middle = audio[0, 8_000:10_400] * torch.hann_window(2_400)
    power = torch.fft.rfft(middle).abs().square()[:300]  # 10 Hz a bin, to 3 kHz
    bins = torch.arange(300) % 20.3
    between = (bins > 6) & (bins < 14)
    assert power[between].sum() < 0.01 * power.sum()


def test_unvoiced_windows_stay_as_they_are_and_phases_go_on(source: HarmonicSource) -> None:
    state, pitch = source.initial_state(1), torch.tensor([[150.0, 0.0, 150.0]])
    spectrum = source(*flat(3), state, periodic(pitch))
    assert torch.equal(spectrum[:, 1], flat(3)[1][:, 1])
    assert spectrum[0, 2].abs().max() > 1.8
    assert spectrum[0, 2].abs().min() < 0.1
    steps = round(150.0 * HOP / 24_000 * TURN) * 2 + round(60.0 * HOP / 24_000 * TURN)
    assert abs(state.phases.item() - steps) <= 2


def test_the_published_decoder_has_none() -> None:
    assert tiny.codec().acoustic_decoder.source is None
    assert not [name for name in tiny.codec().state_dict() if ".source." in name]


def test_what_is_named_is_used() -> None:
    decoder = tiny.codec(harmonic_source=True).acoustic_decoder
    source = decoder.source
    assert source is not None
    with torch.no_grad():
        source.name.weight.zero_()
        source.name.bias.fill_(30.0)  # periodic, and voiced
        source.name.bias[0] = 1.0  # an octave above 60 Hz
    hidden = torch.randn(1, 40, 32)
    named = decoder.audio(hidden)
    pitch = torch.full((1, 40), 120.0)
    torch.testing.assert_close(named, decoder.audio(hidden, periodic(pitch)))
    assert (named - decoder.audio(hidden, periodic(0 * pitch))).abs().max() > 1e-3


def test_bands_share_every_bin() -> None:
    weights = band_weights(960, torch.device("cpu"))
    assert weights.shape == (NUM_BANDS, 481)
    torch.testing.assert_close(weights.sum(0), torch.ones(481))
    assert weights[0, :11].min() == 1  # up to 250 Hz
    assert weights[-1, 400:].min() == 1


def test_half_periodic_keeps_half_of_the_noise(source: HarmonicSource) -> None:
    pitch = torch.full((1, 3), 150.0)
    half = Excitation(pitch, torch.full((1, 3, NUM_BANDS), 0.5))
    mixed, pure = source(*flat(3), excitation=half), source(*flat(3), excitation=periodic(pitch))
    expected = math.sqrt(0.5) * (pure + flat(3)[1])
    torch.testing.assert_close(mixed, expected)
