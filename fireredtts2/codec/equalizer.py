"""Equaliser of a small codec: what it decodes gets the average spectrum of the speaker's clip.

Through the codes of a codec that has heard few voices another one comes back less like itself. A
part of what is missing shows in the long-term average spectrum (LTAS; of speech: Byrne et al.
1994), which a voice's own clip tells: the gains of each band are the difference between the clip's
and that of the same clip decoded, and whatever is decoded in this voice is filtered so. The
published codec has none.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.codec.mel import LOG_MEL_SCALE, hz_to_mel
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ

#: Frames so far below the loudest (nepers of power) are pauses, which tell nothing of a voice.
ACTIVE_RANGE = 6.0
MAX_GAIN = 1.5  # nepers: 13 dB, up or down, before the loudness is made what it was
SMOOTHED_BANDS = 3
#: Above 8 kHz a clip is not heard: the mean of so many highest bands goes on.
TOP_BANDS = 8


def average_spectrum(mel: Tensor) -> Tensor:
    """Long-term average of a clip's log-mel (num_mels, T), in nepers of power: (num_mels,).

    Its level is left out: the mean power of the bands is 1.
    """
    logs = mel.float() * LOG_MEL_SCALE * math.log(10)
    loudness = logs.logsumexp(0)
    average = logs[:, loudness > loudness.max() - ACTIVE_RANGE].mean(1)
    return average - average.logsumexp(0) + math.log(len(average))


def gains_between(made: Tensor, wanted: Tensor, strength: float, num_bins: int) -> Tensor:
    """Factors (num_bins,) from 0 to 12 kHz that take one average spectrum to another.

    Args:
        made: of what was decoded, (num_mels,).
        wanted: of the clip, (num_mels,).
        strength: how much of the difference is made up for; 1 is all of it.
        num_bins: of the decoder's spectra.
    """
    half = SMOOTHED_BANDS // 2
    padded = F.pad((wanted - made)[None], (half, half), mode="replicate")
    smooth = F.avg_pool1d(padded, SMOOTHED_BANDS, 1)[0]
    bands = (strength / 2 * smooth).clamp(-MAX_GAIN, MAX_GAIN)  # of amplitudes, not of powers
    # The loudness stays: by the power that the bands had.
    bands = bands - ((made + 2 * bands).logsumexp(0) - made.logsumexp(0)) / 2
    return interpolated(bands, num_bins).exp()


def interpolated(bands: Tensor, num_bins: int) -> Tensor:
    """Values of mel bands of 0 to 8 kHz at `num_bins` frequencies of 0 to 12 kHz, by lines."""
    top_hz, num_mels = INPUT_RATE_HZ / 2, len(bands)
    hz = torch.linspace(0, OUTPUT_RATE_HZ / 2, num_bins, device=bands.device)
    spacing = hz_to_mel(torch.tensor(top_hz)) / (num_mels + 1)
    places = (hz_to_mel(hz) / spacing - 1).clamp(0, num_mels - 1)
    low = places.long().clamp(max=num_mels - 2)
    share = places - low
    values = bands[low] * (1 - share) + bands[low + 1] * share
    return torch.where(hz > top_hz, bands[-TOP_BANDS:].mean(), values)
