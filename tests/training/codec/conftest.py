"""Sounds to learn from, and recipes of a few steps for tiny codecs."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.torch import save_file

from fireredtts2.codec import RedCodec
from tests import tiny

Values = dict[str, Any]
RATE_HZ = 24_000


def made_sound(seconds: float, seed: int, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A tone that moves, with noise: (samples,) float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch = 150 + 50 * seed + 40 * np.sin(2 * np.pi * time * 1.3)
    tone = sum(np.sin(2 * np.pi * k * pitch.cumsum() / rate_hz) / k for k in (1, 2, 3, 5))
    return (0.1 * tone + 0.02 * rng.standard_normal(time.size)).astype(np.float32)


def write_sounds(folder: Path, count: int = 6, seconds: float = 2.0) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        audio = made_sound(seconds + 0.3 * number, number)
        soundfile.write(folder / f"clip{number}.wav", audio, RATE_HZ)
    return folder


def codec_values() -> Values:
    """The tiny codec's sizes, as a recipe names them."""
    return dataclasses.asdict(tiny.codec_config())


def start_with(codec: RedCodec, checkpoint: Path, folder: Path) -> Path:
    """A copy of a checkpoint with another codec, as `folder`."""
    shutil.copytree(checkpoint, folder)
    config = {"codec": dataclasses.asdict(codec.config)}
    (folder / "config_codec.json").write_text(json.dumps(config))
    save_file(codec.state_dict(), folder / "codec.safetensors")
    return folder


@pytest.fixture(autouse=True)
def few_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codebooks of 16 entries start from a few batches."""
    monkeypatch.setattr("fireredtts2.training.codec.stage_one.LATENT_BATCHES", 4)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six sounds of 2 to 3.5 s; do not write into it."""
    return write_sounds(tmp_path_factory.mktemp("sounds") / "recordings")


@pytest.fixture
def values(tiny_checkpoint: Path, sounds: Path, tmp_path: Path) -> Callable[..., Values]:
    """Plain values of a recipe of a few steps; keywords replace "section__key"."""

    def made(stage: str, **changes: Any) -> Values:
        made: Values = {
            "model": {"stage": stage},
            "data": {"source": str(sounds), "validation": 0.3},
            "loss": {},
            "optim": {"total_steps": 6, "warmup_steps": 2, "learning_rate": 1e-3,
                      "ema_decay": 0.9, "precision": "float32"},
            "run": {"out": str(tmp_path / "run"), "device": "cpu", "save_every": 2,
                    "validate_every": 3, "validation_batches": 2, "log_every": 1,
                    "num_samples": 1, "samples_every": 1},
        }  # fmt: skip
        if stage == "one":
            made["model"]["semantic"] = str(tiny_checkpoint)
            made["codec"] = codec_values()
            made["data"] |= {"chunks_per_batch": 2, "crop_frames": [8]}
            made["loss"] |= {"quantize_after_steps": 2, "mel_weight": 1.0}
        else:
            made["model"]["start"] = str(tiny_checkpoint)
            made["data"] |= {"frames_per_batch": 16, "crop_frames": [6, 12]}
        for place, value in changes.items():
            section, key = place.split("__")
            made[section][key] = value
        return made

    return made


#: What runs differ in: keywords of `values`.
KINDS: dict[str, Values] = {
    "one-spectrogram": {"stage": "one"},
    "one-sound": {
        "stage": "one", "model__decoder": "sound", "loss__adversarial_from_step": 4,
        "loss__adversarial_frames": 2, "loss__adversarial_windows": 1,
        "optim__batches_per_step": 2,
    },
    "two": {
        "stage": "two", "loss__adversarial_from_step": 2, "loss__discriminators_alone": 1,
        "loss__adversarial_frames": 2, "loss__adversarial_windows": 1,
        "data__codebooks": [2, 4], "data__prompt_share": 0.5,
    },
}  # fmt: skip


def journal(out: Path, part: str) -> list[dict[str, Any]]:
    """A run's lines about one part."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if row["part"] == part]
