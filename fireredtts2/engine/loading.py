"""From a checkpoint folder to models that are ready to speak."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import nn

from fireredtts2.adapters import Adapter
from fireredtts2.checkpoint import CheckpointFolder, GenType
from fireredtts2.codec.codec import RedCodec
from fireredtts2.config import MAX_CONTEXT_ROWS
from fireredtts2.engine.codec_runner import GROWTH_FRAMES, CodecRunner
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.memory_plan import (
    Auto,
    Costs,
    codec_bytes,
    free_bytes,
    plan_memory,
    row_bytes,
)
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.fused import FusedDualTransformer, WeightKind
from fireredtts2.weights import StateDict, build_empty, check_fit, load_into

logger = logging.getLogger(__name__)

#: Room of the codec's state for a turn of the usual limit, 30 s.
PLANNED_FRAMES = 2 * GROWTH_FRAMES

Model = TypeVar("Model", bound=nn.Module)

#: Parts that only training uses; a checkpoint may lack them, and they take no memory here.
LLM_TRAINING_PARTS = ("text_head",)
CODEC_TRAINING_PARTS = ("semantic_decoder",)


def load_llm(
    folder: CheckpointFolder,
    gen_type: GenType,
    device: torch.device,
    dtype: torch.dtype,
    adapter: Adapter | None = None,
) -> DualTransformer:
    """The dual transformer, without its training-only head; an adapter is merged into it."""
    path = folder.llm_path(gen_type)
    model = build_empty(lambda: DualTransformer(folder.llm_config).to(dtype))
    state = folder.read_llm(gen_type)
    if adapter is not None:
        state = adapter.merged(state)
    return _loaded(model, state, path, LLM_TRAINING_PARTS, device)


def load_fused_llm(
    folder: CheckpointFolder,
    gen_type: GenType,
    device: torch.device,
    weights: WeightKind,
    adapter: Adapter | None = None,
    adapters: Mapping[str, Adapter] | None = None,
) -> FusedDualTransformer:
    """The dual transformer as inference wants it; no more than one of it is held on the way.

    Args:
        folder: of the checkpoint.
        gen_type: which of its language models.
        device: where it computes.
        weights: their kind.
        adapter: merged into the weights.
        adapters: by name; every row may have another one.

    Raises:
        ValueError: weights or adapters do not fit.
    """
    # What becomes int8 is rounded once only, from float32.
    dtype = torch.bfloat16 if weights == "bfloat16" else torch.float32
    model = load_llm(folder, gen_type, device, dtype, adapter)
    for one in (adapters or {}).values():
        one.check_fits(model.state_dict())
    return FusedDualTransformer(model, weights, frees=True, adapters=adapters)


def load_codec(folder: CheckpointFolder, state: StateDict, device: torch.device) -> RedCodec:
    """The codec in float32, without its training-only decoder."""
    model = build_empty(lambda: RedCodec(folder.codec_config))
    return _loaded(model, state, folder.codec_path, CODEC_TRAINING_PARTS, device)


def build_engine(
    model: DualTransformer | FusedDualTransformer,
    codec: RedCodec,
    num_slots: int | Auto,
    window_rows: int | Auto = "auto",
    compiles: bool = False,
) -> Engine:
    """An engine whose slots hold a whole context window each, or as much of it as fits.

    Args:
        model: the language model.
        codec: on the same device.
        num_slots: requests served at once, or "auto".
        window_rows: of each, or "auto".
        compiles: as for `ModelRunner`.

    Raises:
        ValueError: the language model and the codec do not belong together, or so many slots with
            such windows do not fit in memory.
    """
    num_codebooks = model.config.audio_num_codebooks
    if num_codebooks > codec.num_codebooks:
        raise ValueError(
            f"the language model makes {num_codebooks} codebooks, the codec has "
            f"{codec.num_codebooks}: they do not belong together"
        )
    max_rows = min(MAX_CONTEXT_ROWS, model.config.backbone.max_seq_len)
    costs = Costs(
        row_bytes(model.config.backbone, model.new_cache(1, 1).dtype.itemsize),
        codec_bytes(codec.config.acoustic_decoder, PLANNED_FRAMES),
    )
    # The weights are there already: what is free now is free for slots.
    plan = plan_memory(free_bytes(model.device), costs, max_rows, num_slots, window_rows)
    logger.info("%s: %s", model.device, plan.summary)
    size = codec.config.rvq.codebook_size
    runner = ModelRunner(model, plan.num_slots, plan.window_rows, size, compiles)
    return Engine(runner, CodecRunner(codec, plan.num_slots))


def _loaded(
    model: Model, state: StateDict, path: object, unused: tuple[str, ...], device: torch.device
) -> Model:
    optional = [f"{name}.*" for name in unused]
    check_fit(model, state, str(path), optional)  # with the parts that are then left out
    for name in unused:
        setattr(model, name, nn.Identity())
    load_into(model, state, str(path), optional, device)
    return model.to(device).eval().requires_grad_(False)
