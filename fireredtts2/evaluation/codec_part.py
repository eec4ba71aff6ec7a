"""The codec part: held-out clips encoded to codes, decoded again, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from fireredtts2.atomic_file import atomic_path
from fireredtts2.audio import resample
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.bootstrap import paired_interval
from fireredtts2.evaluation.clips import for_judges
from fireredtts2.evaluation.codec_round_trip import Codec, round_trip
from fireredtts2.evaluation.corpus import HeldOutClip
from fireredtts2.evaluation.intrusive import PESQ_MISSING
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.measures import CODEC, Row
from fireredtts2.evaluation.missing import NAMES
from fireredtts2.evaluation.paper import with_paper
from fireredtts2.evaluation.parts import heard_by
from fireredtts2.evaluation.report import Figure, Part
from fireredtts2.evaluation.scorer import Scorer

PERCENT = 100


class Decoder:
    """Sends clips through a codec and keeps what comes back: `NAME_decoded.wav` in a folder.

    Args:
        codec: The codec.
        folder: Where the files lie, `NAME_original.wav` beside them for the ear.
        model: Says which weights decode; what others decoded is made anew.
        device: Where the codec is.
    """

    def __init__(
        self, codec: Codec, folder: Path, model: str, device: torch.device | str = "cpu"
    ) -> None:
        self._codec = codec
        self._folder = folder
        self._model = model
        self._device = device

    def decoded(self, name: str, audio: np.ndarray, rate_hz: int) -> np.ndarray:
        """The clip (samples,) of any rate after the codec, (samples,) at 24 kHz, 16 bits."""
        kept, mark = self.path(name, "decoded"), self._folder / f"{name}.txt"
        if not kept.is_file() or not mark.is_file() or mark.read_text("utf-8") != self._model:
            mark.unlink(missing_ok=True)
            sound = round_trip(self._codec, for_judges(audio, rate_hz), self._device)
            original = resample(torch.from_numpy(audio), rate_hz, OUTPUT_RATE_HZ).numpy()
            self._write(self.path(name, "original"), original)
            self._write(kept, sound)
            with atomic_path(mark) as temporary:  # written last: it says that all is there
                temporary.write_text(self._model, encoding="utf-8")
        audio_24k: np.ndarray = soundfile.read(kept, dtype="float32")[0]
        return audio_24k

    def path(self, name: str, side: str) -> Path:
        """Where the original or the decoded clip lies."""
        return self._folder / f"{name}_{side}.wav"

    def _write(self, path: Path, audio: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, audio, OUTPUT_RATE_HZ, subtype="PCM_16")


def codec_part(decoder: Decoder, clips: Sequence[HeldOutClip], scorer: Scorer, out: Path) -> Part:
    """What the codec alone costs on held-out clips; audio paths of rows are relative to `out`."""
    rows = []
    for clip in clips:
        name = f"clip_{clip.id:05d}"
        audio, rate_hz = clip.audio()
        decoded = decoder.decoded(name, audio, rate_hz)
        trip = scorer.round_trip(name, audio, rate_hz, decoded, clip.text)
        paths = {
            "audio": decoder.path(name, "decoded").relative_to(out).as_posix(),
            "audio_original": decoder.path(name, "original").relative_to(out).as_posix(),
        }
        rows.append({"id": name, "speaker": clip.speaker, **trip.as_row(), **paths})
    figures = [_cost(rows), *(measure.figure("codec", rows) for measure in CODEC)]
    return Part("codec", with_paper(figures, "codec"), rows, _notes(scorer.judges, rows))


def _cost(rows: Sequence[Row]) -> Figure:
    """Word errors after less word errors before, in points, paired by clip."""
    words = [float(row["words"]) for row in rows]
    before = [float(row["word_errors_original"]) * PERCENT for row in rows]
    after = [float(row["word_errors"]) * PERCENT for row in rows]
    value = (sum(after) - sum(before)) / sum(words)
    interval = paired_interval((before, words), (after, words))
    name, unit = NAMES["wer_cost"]
    return Figure("codec.wer_cost", name, value, unit, len(rows), interval=interval)


def _notes(judges: Judges, rows: Sequence[dict[str, Any]]) -> list[str]:
    notes = [heard_by(judges)]
    if judges.fidelity is not None and all(row["pesq_wb"] is None for row in rows):
        notes.append(PESQ_MISSING + ".")
    return notes
