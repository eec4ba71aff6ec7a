"""Turns a checkpoint folder of .pt files into one of safetensors files."""

from __future__ import annotations

import fnmatch
import logging
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file

from fireredtts2.atomic_file import atomic_folder
from fireredtts2.checkpoint import CODEC_NAME, LLM_NAMES, LLM_SHARED_NAME, CheckpointFolder
from fireredtts2.weights import SUFFIXES, StateDict, find_weights, read_state, write_state

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WEIGHT_NAMES = (CODEC_NAME, *LLM_NAMES.values(), LLM_SHARED_NAME)
#: The quantizer stays exact, or a rounded codebook would give other codes.
KEPT_KEYS = "rvq.*"


def convert_folder(source: str | Path, destination: str | Path, dtype: str = "float32") -> Path:
    """Writes a checkpoint folder again, with its weights as safetensors.

    Args:
        source: a checkpoint folder, or "mini".
        destination: the new folder; it appears when all is written and read back.
        dtype: "float32", "bfloat16" or "float16"; the quantizer keeps the type that it has.

    Returns:
        The new folder.

    Raises:
        ValueError: unknown dtype, a config that cannot be used, a destination that is there
            already, a value beyond the dtype's range, or weights that do not read back the same.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
    folder = CheckpointFolder(source)
    _check_configs(folder)
    with atomic_folder(destination) as temporary:
        _copy_others(folder.path, temporary)
        for name in WEIGHT_NAMES:
            path = find_weights(folder.path, (name,))
            if path is not None:
                logger.info("converting %s to %s", path, dtype)
                convert_file(path, temporary / f"{name}.safetensors", DTYPES[dtype])
    return Path(destination)


def _check_configs(folder: CheckpointFolder) -> None:
    """A copy that nobody can load would be of no use; a part that is not there is not looked at."""
    if (folder.path / "config_llm.json").exists():
        _ = folder.llm_config.backbone, folder.llm_config.decoder
    if (folder.path / "config_codec.json").exists():
        _ = folder.codec_config
    _ = folder.text_config


def convert_file(source: Path, destination: Path, dtype: torch.dtype) -> None:
    """Converts one weight file and checks what was written."""
    state = {key: _cast(key, tensor, dtype) for key, tensor in read_state(source).items()}
    write_state(destination, state)
    _check_same(state, load_file(destination), destination)


def _cast(key: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A copy of its own (safetensors refuses shared memory), in `dtype` where it is a float."""
    if not tensor.is_floating_point() or fnmatch.fnmatchcase(key, KEPT_KEYS):
        dtype = tensor.dtype
    cast = tensor.to(dtype, copy=True).contiguous()
    if tensor.is_floating_point() and bool((cast.isinf() & ~tensor.isinf()).any()):
        raise ValueError(f"{key}: a value beyond the range of {dtype}; choose bfloat16 or float32")
    return cast


def _check_same(written: StateDict, read: StateDict, path: Path) -> None:
    def same(a: torch.Tensor, b: torch.Tensor) -> bool:
        # Bytes, not values: NaN is never equal to itself.
        as_bytes = (a.reshape(-1).view(torch.uint8), b.reshape(-1).view(torch.uint8))
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*as_bytes)

    wrong = [key for key in written if key not in read or not same(written[key], read[key])]
    if wrong or len(read) != len(written):
        raise ValueError(f"{path}: did not read back as written ({', '.join(wrong[:5])})")


def _copy_others(source: Path, destination: Path) -> None:
    """Copies everything but the weights: configs, tokenizer, voices, model card."""
    weights = {name + suffix for name in WEIGHT_NAMES for suffix in SUFFIXES}
    for entry in source.iterdir():
        if entry.name.startswith(".") or entry.name in weights:
            continue
        if entry.is_dir():
            shutil.copytree(entry, destination / entry.name)
        else:
            shutil.copyfile(entry, destination / entry.name)
