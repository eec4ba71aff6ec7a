"""Step 2: the frozen branch's features and the log-mel of every 6 s chunk, computed once.

    python -m recipes.mini.semantic_features WORK_DIR WHISPER_TINY_EN_MODEL_BIN

Reads what step 1 wrote. Writes `ssl.safetensors` (the encoder's weights under our names) and,
shard by shard, `features_NNN.npz`: semantic (chunks, 300, 384) and mel (chunks, 80, 600), both
float16, and clip, chunk: which clip of the index, and which 6 s of it. A second run goes on where
it stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soxr
import torch
from safetensors.torch import load_file

from fireredtts2.atomic_file import atomic_path
from fireredtts2.codec.codec import CHUNK_SAMPLES
from fireredtts2.codec.encoder import WhisperEncoder
from fireredtts2.codec.mel import LogMel
from fireredtts2.config import EncoderConfig
from fireredtts2.training.corpus import open_samples, read_index
from fireredtts2.weights import write_state
from recipes.mini.settings import settings
from recipes.mini.whisper_weights import encoder_state

CHUNKS_AT_ONCE = 8


def chunks_of(audio_24k: np.ndarray) -> np.ndarray:
    """(samples,) int16 at 24 kHz to zero-padded chunks (n, 96000) float32 at 16 kHz."""
    audio = soxr.resample(audio_24k.astype(np.float32) / 32768, 24_000, 16_000)
    num = -(-len(audio) // CHUNK_SAMPLES)
    padded = np.zeros((num, CHUNK_SAMPLES), np.float32)
    padded.reshape(-1)[: len(audio)] = audio
    return padded


@torch.inference_mode()
def shard_features(
    rows: list[dict], samples: np.ndarray, mel: LogMel, encoder: WhisperEncoder
) -> dict[str, np.ndarray]:
    """Features of all chunks of one shard's clips."""
    clips, numbers, semantic, mels = [], [], [], []
    pending: list[np.ndarray] = []

    def run() -> None:
        spectrum = mel(torch.from_numpy(np.stack(pending)))
        mels.append(spectrum.half().numpy())
        semantic.append(encoder(spectrum).half().numpy())
        pending.clear()

    for row in rows:
        parts = chunks_of(samples[row["offset"] : row["offset"] + row["samples"]])
        for number, chunk in enumerate(parts):
            clips.append(row["id"])
            numbers.append(number)
            pending.append(chunk)
            if len(pending) == CHUNKS_AT_ONCE:
                run()
    if pending:
        run()
    return {
        "clip": np.array(clips),
        "chunk": np.array(numbers),
        "semantic": np.concatenate(semantic),
        "mel": np.concatenate(mels),
    }


def main(work_dir: str, whisper_model: str) -> None:
    work = Path(work_dir)
    config = EncoderConfig(**settings()["codec"]["ssl"])
    weights = work / "ssl.safetensors"
    if not weights.exists():
        with atomic_path(weights) as temporary:
            write_state(temporary, encoder_state(whisper_model))
    encoder = WhisperEncoder(config).eval()
    encoder.load_state_dict(load_file(weights))
    mel = LogMel(config.num_mels)
    samples = open_samples(work)
    rows = list(read_index(work).values())
    for shard in sorted({row["shard"] for row in rows}):
        target = work / f"features_{Path(shard).stem[-3:]}.npz"
        if target.exists():
            continue
        mine = [row for row in rows if row["shard"] == shard]
        partial = target.with_suffix(".part.npz")
        np.savez(partial, **shard_features(mine, samples, mel, encoder))
        partial.rename(target)
        print(target.name, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
