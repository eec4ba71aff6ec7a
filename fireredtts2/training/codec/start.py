"""What a run begins with: a codec of a folder, or a new one around a trained Whisper encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from fireredtts2.checkpoint import MINI, CheckpointFolder
from fireredtts2.codec import RedCodec
from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME, STEPS_PER_FRAME
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.weights import SUFFIXES, StateDict, build_empty, load_into, read_state

#: Where an encoder's weights lie in a file: a codec's, Hugging Face's, or alone.
ENCODER_PREFIXES = ("ssl.", "model.encoder.", "encoder.", "")
WHISPER_FILES = tuple(f"model{suffix}" for suffix in SUFFIXES)
TRAINING_PART = "semantic_decoder."
FINGERPRINT_DIGITS = 16


@dataclass
class Start:
    """A codec to be trained.

    Attributes:
        codec: on the CPU, float32.
        folder: it comes from, None for a new one.
        types: the tensors of the folder's file, by key; empty for a new one.
    """

    codec: RedCodec
    folder: CheckpointFolder | None = None
    types: Mapping[str, torch.dtype] = field(default_factory=dict)


def open_start(recipe: CodecRecipe) -> Start:
    """Loads or builds the codec of a recipe.

    Raises:
        ValueError: no such folder or file, weights of another size, or a codec that the stage
            cannot train.
    """
    if recipe.model.start is None:
        return Start(_new_codec(recipe))
    folder = CheckpointFolder(recipe.model.start)
    config, state = folder.codec_config, folder.read_codec()
    hop = config.acoustic_decoder.hop_length
    if recipe.model.stage == "two" and hop * STEPS_PER_FRAME != OUTPUT_SAMPLES_PER_FRAME:
        raise ValueError(
            f"{folder.path}: its decoder has hop_length {hop}; stage two trains one of "
            f"{OUTPUT_SAMPLES_PER_FRAME // STEPS_PER_FRAME}, at {OUTPUT_RATE_HZ} Hz"
        )
    codec = build_empty(lambda: RedCodec(config))
    absent = load_into(codec, state, folder.codec_path, [f"{TRAINING_PART}*"])
    if absent and recipe.model.stage == "one":
        raise ValueError(
            f"{folder.codec_path}: has no semantic_decoder, which stage one trains with; start "
            "from a codec that has one, or anew with codec and model.semantic"
        )
    return Start(codec, folder, {key: value.dtype for key, value in state.items()})


def _new_codec(recipe: CodecRecipe) -> RedCodec:
    config = recipe.codec_config
    assert config is not None
    assert recipe.model.semantic is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        codec = RedCodec(config)
    state, path = read_encoder(recipe.model.semantic)
    load_into(codec.ssl, state, path)
    return codec


def read_encoder(source: str) -> tuple[StateDict, Path]:
    """The weights of a Whisper encoder by our keys, and the file that they come from.

    Args:
        source: a weight file, a folder with one (`model.safetensors`) or with a codec, or "mini".

    Raises:
        ValueError: nothing of the kind there.
    """
    path = _encoder_path(source)
    state = read_state(path)
    for prefix in ENCODER_PREFIXES:
        found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if "conv1.weight" in found:
            return found, path
    raise ValueError(f"{path}: no Whisper encoder in it (looked for PREFIX conv1.weight, ...)")


def _encoder_path(source: str) -> Path:
    path = Path(source).expanduser()
    if source != MINI and path.is_dir():
        whisper = next((path / name for name in WHISPER_FILES if (path / name).is_file()), None)
        if whisper is not None:
            return whisper
    if source == MINI or path.is_dir():
        return CheckpointFolder(source).codec_path
    if not path.exists():
        raise ValueError(f"model.semantic: {source!r}: no such file or folder")
    return path


def fingerprint(named: Iterable[tuple[str, Tensor]]) -> str:
    """Tells one set of tensors from another."""
    total = hashlib.sha256()
    for name, value in named:
        total.update(name.encode())
        total.update(value.detach().to("cpu").contiguous().view(torch.uint8).numpy().data)
    return total.hexdigest()[:FINGERPRINT_DIGITS]


def frozen(codec: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters that a stage leaves as they are."""
    return [(name, p) for name, p in codec.named_parameters() if not p.requires_grad]
