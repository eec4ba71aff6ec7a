"""Step 5: the codes of every clip, by the frozen encoder over the kept features.

    python -m recipes.mini.tokenise WORK_DIR

Writes `codec_frozen.safetensors` (the codec of stage one, as it was tokenised with) and for every
features file a `codes_NNN.npz`: clip ids, the frames of each, and all codes (Q, frames) int16, one
clip after the other. A second run goes on where it stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.codec import RedCodec
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.codebook import rarest_entries_first
from fireredtts2.training.corpus import read_index
from fireredtts2.weights import write_state
from recipes.mini.train_codec import build_codec

CHUNKS_AT_ONCE = 16
FRAMES_PER_CHUNK = 75


def frozen_codec(work: Path) -> RedCodec:
    """The codec whose encoder no later step changes."""
    path = work / "codec_frozen.safetensors"
    if not path.exists():
        with atomic_path(path) as temporary:
            write_state(temporary, stage_one_state(work))
    codec = build_codec(work).eval()
    codec.load_state_dict(load_file(path))
    return codec


def stage_one_state(work: Path) -> dict[str, Tensor]:
    """What stage one learnt, with the rarest entry of each codebook first."""
    saved = torch.load(work / "codec_stage1.pt", weights_only=True)
    # States of an earlier version have no average.
    state = saved["average"] if "average" in saved else saved["generator"]
    return {name: value.contiguous() for name, value in rarest_entries_first(state).items()}


@torch.inference_mode()
def shard_codes(codec: RedCodec, shard: dict[str, np.ndarray]) -> np.ndarray:
    """Codes (chunks, Q, 75) of one features file."""
    parts = []
    for first in range(0, len(shard["clip"]), CHUNKS_AT_ONCE):
        rows = slice(first, first + CHUNKS_AT_ONCE)
        mel = torch.from_numpy(shard["mel"][rows]).float()
        semantic = torch.from_numpy(shard["semantic"][rows]).float()
        parts.append(codec.rvq.encode(codec.encoded(mel, semantic).mT).to(torch.int16).numpy())
    return np.concatenate(parts)


def clip_codes(codes: np.ndarray, clips: np.ndarray, samples: dict[int, int]) -> dict:
    """Joins each clip's chunks and cuts them to its length."""
    ids, lengths, parts = [], [], []
    for clip in dict.fromkeys(clips.tolist()):
        joined = np.concatenate(list(codes[clips == clip]), axis=1)
        frames = -(-samples[clip] // OUTPUT_SAMPLES_PER_FRAME)
        ids.append(clip)
        lengths.append(frames)
        parts.append(joined[:, :frames])
    return {
        "clip": np.array(ids),
        "frames": np.array(lengths),
        "codes": np.concatenate(parts, axis=1),
    }


def main(work_dir: str) -> None:
    work = Path(work_dir)
    codec = frozen_codec(work)
    samples = {clip: row["samples"] for clip, row in read_index(work).items()}
    for path in sorted(work.glob("features_[0-9][0-9][0-9].npz")):
        target = work / path.name.replace("features", "codes")
        if target.exists():
            continue
        shard = dict(np.load(path))
        result = clip_codes(shard_codes(codec, shard), shard["clip"], samples)
        partial = target.with_suffix(".part.npz")
        np.savez(partial, **result)
        partial.rename(target)
        print(target.name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
