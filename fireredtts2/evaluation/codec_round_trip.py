"""What the codec alone costs: clips encoded to codes and decoded again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fireredtts2.audio import resample
from fireredtts2.codec.mel import mel_filters
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.evaluation.clips import ClipScore, for_judges, score_clip
from fireredtts2.evaluation.intrusive import Fidelity
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.mel_cepstrum import aligned_mcd
from fireredtts2.evaluation.metrics import cosine

MEL_BANDS = 80
FFT_SIZE = 1_024
HOP_SAMPLES = 240
MEL_FLOOR = 1e-5


class Codec(Protocol):
    """The part of `RedCodec` that is measured."""

    def encode(self, audio: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]: ...

    def decode(self, codes: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class RoundTrip:
    """One clip before and after the codec."""

    original: ClipScore
    decoded: ClipScore
    mel_distance: float
    similarity: float | None
    mcd: float | None
    fidelity: Fidelity

    def as_row(self) -> dict[str, Any]:
        return {
            "text": self.original.text,
            "heard_original": self.original.heard,
            "heard": self.decoded.heard,
            "words": self.original.words.length,
            "word_errors_original": self.original.words.errors,
            "word_errors": self.decoded.words.errors,
            "dnsmos_original": self.original.dnsmos,
            "dnsmos": self.decoded.dnsmos,
            "mel_distance": self.mel_distance,
            "similarity": self.similarity,
            "seconds": round(self.original.seconds, 3),
            "mcd": self.mcd,
            **asdict(self.fidelity),
            **self.decoded.prosody_row(),
            **{f"{key}_original": value for key, value in self.original.prosody_row().items()},
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it; `from_json` reads it."""
        scores = {"original": self.original.as_json(), "decoded": self.decoded.as_json()}
        return {**asdict(self), **scores}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RoundTrip:
        """The scores that `as_json` wrote."""
        parsed = {
            "original": ClipScore.from_json(values["original"]),
            "decoded": ClipScore.from_json(values["decoded"]),
            "fidelity": Fidelity(**values["fidelity"]),
        }
        return cls(**{**values, **parsed})


@torch.inference_mode()
def round_trip(codec: Codec, audio: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """Encodes audio (samples,) at 16 kHz and decodes it: (samples,) at 24 kHz, equally long."""
    codes, _ = codec.encode(torch.from_numpy(audio)[None].to(device))
    decoded = codec.decode(codes)[0].float().cpu().numpy()
    return decoded[: round(len(audio) * OUTPUT_RATE_HZ / INPUT_RATE_HZ)]


def score_round_trip(
    audio: np.ndarray, rate_hz: int, decoded: np.ndarray, text: str, judges: Judges
) -> RoundTrip:
    """Scores a clip (samples,) of any rate beside what came back, (samples,) at 24 kHz."""
    target = resample(torch.from_numpy(audio), rate_hz, OUTPUT_RATE_HZ).numpy()
    pair = for_judges(audio, rate_hz), for_judges(decoded, OUTPUT_RATE_HZ)
    before = score_clip(audio, text, judges, rate_hz)
    after = score_clip(decoded, text, judges)
    similarity = None
    if before.embedding is not None and after.embedding is not None:
        similarity = cosine(before.embedding, after.embedding)
    return RoundTrip(
        before,
        after,
        mel_distance(target, decoded),
        similarity,
        aligned_mcd(*pair),
        judges.fidelity.compare(*pair) if judges.fidelity else Fidelity(None, None, None),
    )


def mel_distance(a: np.ndarray, b: np.ndarray, rate_hz: int = OUTPUT_RATE_HZ) -> float:
    """Mean absolute difference of log10 mel magnitudes of two clips, over their common length."""
    length = min(len(a), len(b))
    return float((_log_mel(a[:length], rate_hz) - _log_mel(b[:length], rate_hz)).abs().mean())


def _log_mel(audio: np.ndarray, rate_hz: int) -> Tensor:
    """Log10 mel magnitudes (MEL_BANDS, frames) of audio (samples,)."""
    spectrum = torch.stft(
        torch.from_numpy(audio).float(),
        FFT_SIZE,
        HOP_SAMPLES,
        window=torch.hann_window(FFT_SIZE),
        pad_mode="constant",
        return_complex=True,
    )
    filters = mel_filters(MEL_BANDS, FFT_SIZE, rate_hz)
    return (filters.T @ spectrum.abs()).clamp(min=MEL_FLOOR).log10()
