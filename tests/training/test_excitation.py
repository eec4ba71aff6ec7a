"""Pitch and periodicity are measured, and learnt."""

import torch

from fireredtts2.codec.harmonic_source import NUM_BANDS, HarmonicSource
from fireredtts2.codec.istft import Istft
from fireredtts2.training.excitation import excitation_loss, measure_excitation
from tests.training.test_pitch import voice

STEPS = slice(5, -10)


def noise(samples: int) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))


def test_bands_of_a_voice_are_periodic_as_far_as_it_reaches() -> None:
    """Six harmonics of 140 Hz, and noise above 4 kHz."""
    spectrum = torch.fft.rfft(noise(48_000))
    spectrum[: 2 * 4_000] = 0
    audio = voice(torch.full((48_000,), 140.0)) + 0.2 * torch.fft.irfft(spectrum)
    found = measure_excitation(audio[None])
    assert found.pitch_hz.shape == (1, 200)
    assert found.periodicity.shape == (1, 200, NUM_BANDS)
    means = found.periodicity[0, STEPS].mean(0)
    assert means[:2].min() > 0.95
    assert means[5:].max() < 0.3


def test_noise_is_not_periodic() -> None:
    assert measure_excitation(noise(48_000)[None]).periodicity.mean() < 0.05


def test_it_can_be_learnt() -> None:
    """From hidden states that say which of three voices speaks."""
    torch.manual_seed(0)
    tones = [voice(torch.full((24_000,), hz)) for hz in (110.0, 230.0)]
    audio = torch.stack([*tones, noise(24_000)])
    measured = measure_excitation(audio)
    source = HarmonicSource(4, 240, Istft(240).window)
    hidden = torch.eye(4)[:3, None].expand(3, 100, 4).clone()
    optimizer = torch.optim.Adam(source.parameters(), 0.02)
    losses = []
    for _ in range(250):
        loss = excitation_loss(source, hidden, measured)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]
    octaves, voicing, _ = source.named(hidden)
    assert (60 * octaves[0, 50].exp2() - 110).abs() < 10
    assert (60 * octaves[1, 50].exp2() - 230).abs() < 16
    assert (voicing[:, 50] > 0).tolist() == [True, True, False]
