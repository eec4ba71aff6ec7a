"""Naturalness without a listener: DNSMOS P.835 (Reddy et al. 2022) through `speechmos`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fireredtts2.evaluation.extras import load_extra

DNSMOS_RATE_HZ = 16_000


class QualityJudge(Protocol):
    """Scores a clip (samples,) float32 at 16 kHz: opinion score from 1 to 5."""

    def score(self, audio: np.ndarray) -> float: ...


class Dnsmos:
    """DNSMOS, its overall score ("ovrl_mos")."""

    def __init__(self, threads: int = 1) -> None:
        module = load_extra("speechmos.dnsmos")
        models = Path(module.__file__ or "").parent / "dnsmos_models"
        primary, p808 = str(models / "sig_bak_ovr.onnx"), str(models / "model_v8.onnx")
        self._dnsmos = module.DNSMOS(primary, p808)
        # Its own sessions take every core of the machine.
        self._dnsmos.onnx_sess = _session(module.ort, primary, threads)
        self._dnsmos.p808_onnx_sess = _session(module.ort, p808, threads)

    def score(self, audio: np.ndarray) -> float:
        """Raises ValueError for an empty clip."""
        if not len(audio):
            raise ValueError("cannot score an empty clip (0 samples)")
        peak = max(1.0, float(np.abs(audio).max()))
        return float(self._dnsmos(audio / peak, DNSMOS_RATE_HZ, False)["ovrl_mos"])


def _session(onnxruntime: Any, path: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
