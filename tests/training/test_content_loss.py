"""What Whisper hears of two sounds: nothing between equals, more the more a word is hidden."""

import math

import pytest
import torch

from fireredtts2.audio import resample
from fireredtts2.codec.encoder import WhisperEncoder
from fireredtts2.config import EncoderConfig
from fireredtts2.training.content_loss import PIECE_SAMPLES, ContentLoss, heard_at

MELS = 16


@pytest.fixture(scope="module")
def loss() -> ContentLoss:
    torch.manual_seed(0)
    config = EncoderConfig(embed_dim=16, num_layers=2, num_heads=2, num_mels=MELS)
    return ContentLoss(WhisperEncoder(config).requires_grad_(False), MELS)


def tones(seconds: float, hz: tuple[float, ...] = (220.0, 1_310.0)) -> torch.Tensor:
    times = torch.arange(round(seconds * 24_000)) / 24_000
    return torch.stack([0.1 * (2 * math.pi * one * times).sin() for one in hz])


def test_equal_sounds_are_heard_alike(loss: ContentLoss) -> None:
    assert loss(tones(2.0), tones(2.0)).item() == 0


def test_more_noise_is_further_away(loss: ContentLoss) -> None:
    real = tones(2.0)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    near, far = (loss(real + level * noise, real).item() for level in (0.003, 0.1))
    assert 0 < near < 0.7 * far


def test_gradients_reach_the_sound_and_nothing_else(loss: ContentLoss) -> None:
    made = (tones(1.0) + 0.01).requires_grad_(True)
    loss(made, tones(1.0)).backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in loss.encoder.parameters())


def test_long_sounds_are_heard_in_pieces(loss: ContentLoss) -> None:
    seconds = PIECE_SAMPLES / 16_000
    real = tones(2 * seconds)
    made = real.clone()
    made[:, : real.shape[1] // 2] *= 0.2  # only the first piece differs
    first = slice(0, real.shape[1] // 2)
    whole, part = loss(made, real), loss(made[:, first], real[:, first])
    assert whole.item() == pytest.approx(part.item() / 2, rel=0.05)


def test_what_is_too_short_to_be_heard_counts_nothing(loss: ContentLoss) -> None:
    assert loss(tones(0.2), torch.zeros_like(tones(0.2))).item() == 0


def test_sound_is_resampled_as_elsewhere() -> None:
    audio = tones(1.0)
    plain = torch.stack([resample(one, 24_000, 16_000) for one in audio])
    middle = slice(2_000, -2_000)  # ends ring differently
    torch.testing.assert_close(heard_at(audio)[:, middle], plain[:, middle], rtol=0, atol=2e-3)
