"""The pitch tracker finds what was put in."""

import math

import pytest
import torch

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.pitch import HOP_SAMPLES, between, track_pitch


def voice(pitch_hz: torch.Tensor) -> torch.Tensor:
    """(samples,) with six harmonics of a pitch (samples,)."""
    turns = (pitch_hz.double() / OUTPUT_RATE_HZ).cumsum(0)
    parts = [torch.cos(2 * math.pi * k * turns) / k for k in range(1, 7)]
    return 0.1 * torch.stack(parts).sum(0).float()


@pytest.mark.parametrize("hz", [70.0, 110.0, 227.3, 431.0])
def test_a_steady_voice(hz: float) -> None:
    found = track_pitch(voice(torch.full((48_000,), hz))[None])[0]
    assert found.shape == (200,)
    torch.testing.assert_close(found[5:-8], torch.full((187,), hz), rtol=0.002, atol=0)


def test_a_glide_is_found_where_it_is() -> None:
    wanted = torch.linspace(120.0, 220.0, 48_000)
    found = track_pitch(voice(wanted)[None])[0]
    middles = wanted[HOP_SAMPLES // 2 :: HOP_SAMPLES]
    torch.testing.assert_close(found[5:-8], middles[5:-8], rtol=0.01, atol=0)


def test_noise_and_silence_are_unvoiced() -> None:
    noise = 0.1 * torch.randn(1, 24_000, generator=torch.Generator().manual_seed(0))
    assert (track_pitch(noise) > 0).float().mean() < 0.05
    assert not track_pitch(torch.zeros(1, 24_000)).any()


def test_rows_are_tracked_by_themselves() -> None:
    rows = torch.stack([voice(torch.full((24_000,), hz)) for hz in (100.0, 300.0)])
    together = track_pitch(rows)
    for row, found in zip(rows, together, strict=True):
        torch.testing.assert_close(track_pitch(row[None])[0], found)


def test_what_lies_between_is_filled_in_octaves() -> None:
    pitch = torch.tensor([[0.0, 100.0, 0.0, 400.0, 0.0], [0.0] * 5, [0.0, 0.0, 80.0, 0.0, 90.0]])
    filled = between(pitch)
    torch.testing.assert_close(filled[0], torch.tensor([100.0, 100.0, 200.0, 400.0, 400.0]))
    torch.testing.assert_close(filled[1], torch.full((5,), 60.0))
    torch.testing.assert_close(filled[2, :3], torch.full((3,), 80.0))
