"""Whisper's log-mel spectrogram (Radford et al. 2022, section 2.2; SPEC section 7)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fireredtts2.config import INPUT_RATE_HZ, MEL_FFT_SIZE, MEL_HOP_SAMPLES

LINEAR_HZ_PER_MEL = 200 / 3  # Slaney's scale is linear up to 1 kHz, then logarithmic
BREAK_HZ = 1_000.0
LOG_STEP = math.log(6.4) / 27
LOG_MEL_SCALE = 4.0  # decades of power in one unit
DYNAMIC_RANGE = 8.0  # decades below the loudest bin that are kept


def hz_to_mel(hz: Tensor) -> Tensor:
    linear = hz / LINEAR_HZ_PER_MEL
    log = BREAK_HZ / LINEAR_HZ_PER_MEL + torch.log(hz.clamp(min=1e-9) / BREAK_HZ) / LOG_STEP
    return torch.where(hz < BREAK_HZ, linear, log)


def mel_to_hz(mel: Tensor) -> Tensor:
    break_mel = BREAK_HZ / LINEAR_HZ_PER_MEL
    log = BREAK_HZ * torch.exp(LOG_STEP * (mel - break_mel))
    return torch.where(mel < break_mel, mel * LINEAR_HZ_PER_MEL, log)


def mel_filters(num_mels: int, fft_size: int, rate_hz: int, max_hz: float | None = None) -> Tensor:
    """Triangular Slaney-normalised filters, (fft_size // 2 + 1, num_mels) float32."""
    max_hz = rate_hz / 2 if max_hz is None else max_hz
    bins_hz = torch.linspace(0, rate_hz / 2, fft_size // 2 + 1, dtype=torch.float64)
    top_mel = float(hz_to_mel(torch.tensor(max_hz, dtype=torch.float64)))
    edges_hz = mel_to_hz(torch.linspace(0, top_mel, num_mels + 2, dtype=torch.float64))
    widths = edges_hz.diff()
    offsets = edges_hz[None, :] - bins_hz[:, None]
    falling = offsets[:, 2:] / widths[1:]
    rising = -offsets[:, :-2] / widths[:-1]
    triangles = torch.minimum(falling, rising).clamp(min=0)
    return (triangles * (2 / (edges_hz[2:] - edges_hz[:-2]))).float()


class LogMel(nn.Module):
    """Audio (B, samples) at 16 kHz to log-mel (B, num_mels, samples // 160).

    The clip's own maximum sets the floor, so a row's result depends on that row alone.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, num_mels: int = 128) -> None:
        super().__init__()
        filters = mel_filters(num_mels, MEL_FFT_SIZE, INPUT_RATE_HZ)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(MEL_FFT_SIZE), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(
            audio.float(),
            MEL_FFT_SIZE,
            MEL_HOP_SAMPLES,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum[..., :-1].abs().square()
        log_mel = (self.filters.T @ power).clamp(min=1e-10).log10()
        floor = log_mel.amax(dim=(1, 2), keepdim=True) - DYNAMIC_RANGE
        return (torch.maximum(log_mel, floor) + 4) / LOG_MEL_SCALE
