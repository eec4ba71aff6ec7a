"""Step 4, for the decoder: codes of every clip at its own pace in another voice.

    python -m recipes.mini.disguise WORK_DIR [SHARDS]

A decoder that reads voices must learn to follow the voice where the codes disagree with it, as a
language model's codes do for a voice that it knows little of. So every clip is heard once more with
its pitch and its formants moved, frame for frame the same words (as NANSY perturbs them, Choi et
al. 2021; here by Praat, `pip install praat-parselmouth`). Of that only the codes are kept: the
sound that the decoder shall make of them is the clip's own. Writes `disguised_NNN.npz` beside
`codes_NNN.npz`, in the same form. A second run goes on where it stopped.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import parselmouth
import torch
from parselmouth.praat import call

from fireredtts2.codec import RedCodec
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.corpus import PCM_SCALE, Row, open_samples, read_index, sound
from recipes.mini.semantic_features import chunks_of
from recipes.mini.tokenise import CHUNKS_AT_ONCE, clip_codes, frozen_codec

# Natural logarithms of the factors: normal, and cut, so that many clips are nearly themselves and
# how a disguise sounds does not tell how far it goes.
FORMANT_DEVIATION, FORMANT_BOUND = 0.09, 0.20
PITCH_DEVIATION, PITCH_BOUND = 0.20, 0.45
LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ = 60.0, 500.0


def factors_of(clip: int) -> tuple[float, float]:
    """How many times higher a clip's formants and its pitch are; always the same for a clip."""
    rng = np.random.default_rng(clip)
    formants = np.clip(rng.normal(0, FORMANT_DEVIATION), -FORMANT_BOUND, FORMANT_BOUND)
    pitch = np.clip(rng.normal(0, PITCH_DEVIATION), -PITCH_BOUND, PITCH_BOUND)
    return math.exp(formants), math.exp(pitch)


def disguised(audio: np.ndarray, formants: float, pitch: float) -> np.ndarray:
    """(n,) float32 at 24 kHz as long as before, formants and pitch so many times higher.

    Whispered or silent sound, which has no pitch, comes back as it was.
    """
    heard = parselmouth.Sound(audio.astype(np.float64), OUTPUT_RATE_HZ)
    contour = heard.to_pitch(None, LOWEST_PITCH_HZ, HIGHEST_PITCH_HZ)
    median = call(contour, "Get quantile", 0, 0, 0.5, "Hertz")
    if not math.isfinite(median):
        return audio
    changed = call([heard, contour], "Change gender", formants, median * pitch, 1.0, 1.0)
    made = np.zeros_like(audio)
    kept = changed.values[0, : len(audio)]
    made[: len(kept)] = kept
    return made * np.sqrt((audio**2).mean() / max((made**2).mean(), 1e-12))  # as loud as before


@torch.inference_mode()
def disguised_codes(codec: RedCodec, rows: list[Row], samples: np.ndarray) -> dict:
    """Clip ids, the frames of each, and codes (Q, all frames) of some clips in disguise."""
    clips, chunks, parts = [], [], []
    for row in rows:
        own = sound(samples, row["offset"], row["offset"] + row["samples"], row["samples"])
        mine = chunks_of(disguised(own, *factors_of(row["id"])) * PCM_SCALE)
        clips += [row["id"]] * len(mine)
        chunks += list(mine)
    for first in range(0, len(chunks), CHUNKS_AT_ONCE):
        heard = torch.from_numpy(np.stack(chunks[first : first + CHUNKS_AT_ONCE]))
        parts.append(codec.encode(heard)[0].to(torch.int16).numpy())
    lengths = {row["id"]: row["samples"] for row in rows}
    return clip_codes(np.concatenate(parts), np.array(clips), lengths)


def main(work_dir: str, shards: str = "") -> None:
    work = Path(work_dir)
    codec, samples = frozen_codec(work), open_samples(work)
    rows = list(read_index(work).values())
    for shard in sorted({row["shard"] for row in rows}):
        name = Path(shard).stem[-3:]
        target = work / f"disguised_{name}.npz"
        if target.exists() or (shards and name not in shards.split(",")):
            continue
        partial = target.with_suffix(".part.npz")
        mine = [row for row in rows if row["shard"] == shard]
        np.savez(partial, **disguised_codes(codec, mine, samples))
        partial.rename(target)
        print(target.name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
