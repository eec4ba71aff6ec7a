"""A tiny data set in the agreed format, and recipes for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fireredtts2.checkpoint import CheckpointFolder
from tests import tiny

Values = dict[str, dict[str, Any]]


def write_dataset(folder: Path, codec_id: str, seed: int = 0, num_train: int = 12) -> Path:
    """A data set of single clips of two voices and some conversations."""
    folder.mkdir()
    splits = {}
    for split, count in (("train", num_train), ("validation", 4)):
        name = f"{split}-00000.safetensors"
        write_shard(folder / name, count, seed)
        splits[split] = [name]
    values = {
        "format": "fireredtts2-dataset",
        "version": 1,
        "codec_id": codec_id,
        "num_codebooks": tiny.NUM_CODEBOOKS,
        "codebook_size": tiny.CODEBOOK_SIZE,
        "frame_rate_hz": 12.5,
        "splits": splits,
        "num_samples": num_train + 4,
        "seconds": 10.0,
    }
    (folder / "dataset.json").write_text(json.dumps(values))
    return folder


def write_shard(path: Path, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    samples, codes, offsets = [], [], [0]
    for number in range(count):
        segments = []
        for turn in range(3 if number % 4 == 3 else 1):
            frames = 5 + (3 * number + turn) % 7
            codes.append(
                torch.randint(1, tiny.CODEBOOK_SIZE, (tiny.NUM_CODEBOOKS, frames),
                              generator=generator)
            )  # fmt: skip
            segments.append(
                {
                    "speaker": f"S{turn % 2 + 1}",
                    "text": f"Line {number} turn {turn}.",
                    "index": len(offsets) - 1,
                    "voice": f"voice{(number + turn) % 2}",
                }
            )
            offsets.append(offsets[-1] + frames)
        samples.append({"id": f"{path.stem}-{number}", "segments": segments, "language": "en",
                        "source": "made"})  # fmt: skip
    tensors = {"codes": torch.cat(codes, 1).to(torch.int16).contiguous(),
               "offsets": torch.tensor(offsets)}  # fmt: skip
    save_file(tensors, path, metadata={"samples": json.dumps(samples)})


@pytest.fixture(scope="session")
def dataset(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    codec_id = CheckpointFolder(tiny_checkpoint).codec_id
    return write_dataset(tmp_path_factory.mktemp("data") / "set", codec_id)


@pytest.fixture
def values(tiny_checkpoint: Path, dataset: Path, tmp_path: Path) -> Callable[..., Values]:
    """Plain values of a recipe of a few steps; keywords replace "section__key"."""

    def made(**changes: Any) -> Values:
        made: Values = {
            "model": {"checkpoint": str(tiny_checkpoint), "method": "lora"},
            "lora": {"rank": 4, "alpha": 8.0, "dropout": 0.1},
            "data": {"folder": str(dataset), "rows_per_batch": 96, "code_noise": 0.05},
            "optim": {"total_steps": 6, "batches_per_step": 2, "warmup_steps": 2,
                      "learning_rate": 1e-2, "ema_decay": 0.9, "precision": "float32"},
            "run": {"out": str(tmp_path / "run"), "device": "cpu", "save_every": 2,
                    "validate_every": 3, "log_every": 1},
        }  # fmt: skip
        for place, value in changes.items():
            section, key = place.split("__")
            made[section][key] = value
        return made

    return made
