"""How well a watermark is found after codecs and other changes, and how often where there is none.

    python -m benchmarks.watermark FOLDER [--clips 60] [--unmarked 1000]

FOLDER has recordings of speech; clips of 6 s are put together from them. Needs ffmpeg.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from fireredtts2.audio import read_audio
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.watermark import Marker, WatermarkKey, detect

log = logging.getLogger("benchmarks.watermark")
CLIP_S = 6.0
KEY = WatermarkKey("the key of the benchmark", 12_345)
SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3")
NOISE_DB = -30.0
Change = Callable[[np.ndarray], np.ndarray]


def packed(suffix: str, *options: str) -> Change:
    """Through one of ffmpeg's codecs and back."""

    def through(audio: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as name:
            before, between, after = (Path(name) / one for one in ("a.wav", f"b{suffix}", "c.wav"))
            soundfile.write(before, audio, OUTPUT_RATE_HZ, "PCM_16")
            for source, target, how in ((before, between, options), (between, after, ())):
                command = ["ffmpeg", "-v", "error", "-i", str(source), *how, str(target)]
                subprocess.run(command, check=True)
            return read_audio(after, OUTPUT_RATE_HZ).numpy()

    return through


def with_noise(audio: np.ndarray) -> np.ndarray:
    """A third of the volume, and white noise 30 dB below."""
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    level = np.sqrt(np.mean(audio**2)) * 10 ** (NOISE_DB / 20)
    return 0.3 * (audio + level * noise)


def at_16_khz(audio: np.ndarray) -> np.ndarray:
    narrow = soxr.resample(audio, OUTPUT_RATE_HZ, 16_000)
    return soxr.resample(narrow, 16_000, OUTPUT_RATE_HZ)


CHANGES: dict[str, Change] = {
    "none": lambda audio: audio,
    "0.3 s cut off": lambda audio: audio[7_200:],
    "only 3 s of it": lambda audio: audio[20_000 : 20_000 + 3 * OUTPUT_RATE_HZ],
    "MP3, 64 kbit/s": packed(".mp3", "-b:a", "64k"),
    "Opus, 32 kbit/s": packed(".ogg", "-c:a", "libopus", "-b:a", "32k"),
    "Opus, 16 kbit/s": packed(".ogg", "-c:a", "libopus", "-b:a", "16k"),
    "AAC, 64 kbit/s": packed(".m4a", "-b:a", "64k"),
    "16 kHz and back": at_16_khz,
    "quieter, noise": with_noise,
}


def clips(folder: Path) -> Iterator[np.ndarray]:
    """Speech of 6 s, of as many recordings as it takes."""
    held = np.zeros(0, np.float32)
    for path in sorted(one for one in folder.rglob("*") if one.suffix in SUFFIXES):
        held = np.concatenate([held, read_audio(path, OUTPUT_RATE_HZ).numpy()])
        size = round(CLIP_S * OUTPUT_RATE_HZ)
        while len(held) >= size:
            yield held[:size]
            held = held[size:]


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--unmarked", type=int, default=1_000)
    asked = parser.parse_args()
    source = clips(asked.folder)
    marked, noise_db = [], []
    for _, audio in zip(range(asked.clips), source, strict=False):
        marker = Marker(KEY)
        out = np.concatenate([marker.push(audio), marker.flush()])
        noise_db.append(10 * np.log10(np.sum((out - audio) ** 2) / np.sum(audio**2)))
        marked.append(out)
    log.info("%d clips of %g s; the mark is %.1f dB below the speech",
             len(marked), CLIP_S, -np.mean(noise_db))  # fmt: skip
    for name, change in CHANGES.items():
        found = [detect(change(audio), KEY) for audio in marked]
        log.info("| %s | %.0f %% | %.0f %% | %.1f | %.1f |", name,
                 100 * np.mean([one.is_marked for one in found]),
                 100 * np.mean([one.payload == KEY.payload for one in found]),
                 *np.quantile([one.score for one in found], [0, 0.5]))  # fmt: skip
    alarms = [detect(audio, KEY) for _, audio in zip(range(asked.unmarked), source, strict=False)]
    log.info("%d clips without a mark: %d taken for marked, highest score %.2f of %.2f",
             len(alarms), sum(one.is_marked for one in alarms),
             max(one.score for one in alarms), alarms[0].threshold)  # fmt: skip


if __name__ == "__main__":
    main()
