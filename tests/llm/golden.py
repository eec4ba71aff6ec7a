"""The reference models and numbers of `tests/data/llm`."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fireredtts2.config import LLMConfig, TransformerConfig
from fireredtts2.llm.dual_transformer import DualTransformer
from tests.reference import REFERENCE

DATA = Path(__file__).parents[1] / "data" / "llm"
NOT_OURS = {"vocab_size", "attn_dropout", "tie_word_embeddings"}


def load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def build(config: dict[str, Any], facts: dict[str, Any], weights: dict[str, Tensor]) -> Any:
    flavors = {
        name: {key: value for key, value in sizes.items() if key not in NOT_OURS}
        for name, sizes in facts["flavors"].items()
    }
    model = DualTransformer(LLMConfig.from_dict({**config["llm_models"], "flavors": flavors}))
    model.load_state_dict({key: value.float() for key, value in weights.items()})
    return model.eval().requires_grad_(False)


@lru_cache
def sharp() -> tuple[DualTransformer, dict[str, Tensor], dict[str, Any]]:
    """Model, tensors and facts of the model whose greedy codes are strict."""
    weights = load_file(DATA / "sharp_audio.safetensors")
    weights.update(load_file(DATA / "sharp_rest.safetensors"))
    facts = load_json(DATA / "golden_sharp.json")
    model = build(load_json(DATA / "config_llm_sharp.json"), facts, weights)
    return model, load_file(DATA / "golden_sharp.safetensors"), facts


@lru_cache
def init() -> tuple[DualTransformer, dict[str, Tensor], dict[str, Any]]:
    """The same of the model with the published initialisation and vocabulary."""
    folder = REFERENCE / "llm"
    weights = torch.load(folder / "llm_init.pt", weights_only=True)["model"]
    facts = load_json(folder / "golden_init.json")
    model = build(load_json(folder / "config_llm_init.json"), facts, weights)
    return model, load_file(folder / "golden_init.safetensors"), facts


def tiny_model(
    seed: int = 0, backbone: tuple[int, ...] = (2, 6, 3, 48, 80), num_codebooks: int = 5
) -> DualTransformer:
    """Random weights, large enough to matter; the decoder is of another width and head count."""
    flavors = {
        "tiny-backbone": TransformerConfig(*backbone, max_seq_len=256),
        "tiny-decoder": TransformerConfig(3, 4, 1, 32, 56, max_seq_len=32),
    }
    config = LLMConfig("tiny-backbone", "tiny-decoder", 40, 19, num_codebooks, 0.6, flavors)
    model = DualTransformer(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        weight.normal_(0.0, 0.3, generator=generator)
    return model


def random_rows(
    model: DualTransformer, batch: int, num_steps: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Tokens and mask (B, T, Q+1), text and audio rows mixed."""
    generator = torch.Generator().manual_seed(seed)
    config = model.config
    shape = (batch, num_steps, config.audio_num_codebooks + 1)
    tokens = torch.randint(0, config.audio_vocab_size, shape, generator=generator)
    is_text = torch.rand(batch, num_steps, 1, generator=generator) < 0.4
    mask = torch.cat((~is_text.expand(*shape[:2], shape[2] - 1), is_text), -1)
    return tokens * mask, mask
