"""What can be heard of a run: held-out clips as they are, and as the codec makes them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from torch import Tensor

from fireredtts2.atomic_file import atomic_path

FOLDER = "samples"
STEP_DIGITS = 9


def write_samples(
    out: Path, step: int, rate_hz: int, made: list[Tensor], real: list[Tensor]
) -> None:
    """Writes `samples/NUMBER-real.wav` and `samples/NUMBER-step-STEP.wav`.

    Args:
        out: the run's folder.
        step: updates done.
        rate_hz: of both.
        made: (samples,) each.
        real: (samples,) each.
    """
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for number, (sound, original) in enumerate(zip(made, real, strict=True)):
        before = folder / f"{number}-real.wav"
        if not before.exists():
            _write(before, original, rate_hz)
        _write(folder / f"{number}-step-{step:0{STEP_DIGITS}d}.wav", sound, rate_hz)


def _write(path: Path, audio: Tensor, rate_hz: int) -> None:
    samples = np.nan_to_num(audio.detach().float().cpu().numpy()).clip(-1, 1)
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format="WAV", subtype="PCM_16")
    # Not by soundfile, which says of a full disk only that something failed.
    with atomic_path(path) as temporary:
        temporary.write_bytes(file.getvalue())
