"""Measures that compare a clip with its original, sample by sample: PESQ and STOI."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, Protocol

import numpy as np

from fireredtts2.config import INPUT_RATE_HZ
from fireredtts2.evaluation.extras import MissingPackageError, load_extra

logger = logging.getLogger(__name__)

MIN_SAMPLES = 8_000  # 0.5 s at 16 kHz; with less, neither measure is defined

PESQ_MISSING = (
    "PESQ is not measured: its package has no ready-made build; with a C compiler, "
    '"pip install pesq" adds it'
)


@dataclass(frozen=True)
class Fidelity:
    """How near a clip is to its original; None where a measure is not there or cannot tell.

    Attributes:
        pesq_wb: Wideband PESQ (ITU-T P.862.2), 1.0 to 4.64.
        pesq_nb: Narrowband PESQ (P.862 mapped by P.862.1), 1.0 to 4.55.
        stoi: Short-time objective intelligibility (Taal et al. 2011), 0 to 1.
    """

    pesq_wb: float | None
    pesq_nb: float | None
    stoi: float | None


class FidelityJudge(Protocol):
    """Compares two clips (samples,) float32 at 16 kHz, equally long and side by side."""

    def compare(self, original: np.ndarray, other: np.ndarray) -> Fidelity: ...


class PesqAndStoi:
    """PESQ by the package `pesq`, where it is installed, STOI by `pystoi`."""

    def __init__(self) -> None:
        self._stoi = load_extra("pystoi").stoi
        self._pesq = _optional_pesq()

    def compare(self, original: np.ndarray, other: np.ndarray) -> Fidelity:
        length = min(len(original), len(other))
        pair = original[:length], other[:length]
        if length < MIN_SAMPLES or not (np.any(pair[0]) and np.any(pair[1])):
            return Fidelity(None, None, None)
        return Fidelity(
            self._pesq_of(*pair, "wb"), self._pesq_of(*pair, "nb"), self._stoi_of(*pair)
        )

    def _pesq_of(
        self, original: np.ndarray, other: np.ndarray, band: Literal["wb", "nb"]
    ) -> float | None:
        """None without the package, and where it finds no speech in the clip."""
        if self._pesq is None:
            return None
        try:
            return float(self._pesq.pesq(INPUT_RATE_HZ, original, other, band))
        except (self._pesq.NoUtterancesError, self._pesq.BufferTooShortError):
            return None

    def _stoi_of(self, original: np.ndarray, other: np.ndarray) -> float | None:
        """None for a clip with too little speech to tell (under 30 frames of 12.8 ms)."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(self._stoi(original, other, INPUT_RATE_HZ))
            except RuntimeWarning:
                return None


def _optional_pesq() -> ModuleType | None:
    try:
        return load_extra("pesq")
    except MissingPackageError:
        logger.warning("%s", PESQ_MISSING)
        return None
