"""The memory table of docs/training.md: every size, method and optimizer, computed."""

from __future__ import annotations

from fireredtts2.config import LLMConfig
from fireredtts2.training.finetune.memory import (
    CARDS_GB,
    DECODER_LOSS_WEIGHT,
    GB,
    PUBLISHED_VOCAB,
    Estimate,
    estimate,
)
from fireredtts2.training.finetune.recipe import recipe_from

#: Name, backbone, depth decoder.
SIZES = (
    ("embedded", "mini-backbone", "mini-decoder"),
    ("200 M", "qwen-200m", "qwen-200m"),
    ("500 M", "qwen-500m", "qwen-200m"),
    ("1.5 B (published)", "qwen-1.5b", "qwen-200m"),
    ("3 B", "qwen-3b", "qwen-200m"),
    ("7 B", "qwen-7b", "qwen-200m"),
)
#: Text ids, codes, codebooks.
EMBEDDED_VOCAB = (214, 1_024, 4)
#: Method, type of the weights, optimizer: all that a recipe may ask for together.
METHODS = (
    ("lora", "bfloat16", "adamw"),
    ("lora", "bfloat16", "adamw8bit"),
    ("full", "bfloat16", "adamw8bit"),
    ("full", "float32", "adamw8bit"),
    ("full", "float32", "muon"),
    ("full", "float32", "adamw"),
)
ROWS = 2_048
#: Cards of the largest size among which a run that fits no single one is split.
NUM_SPLIT = 8


def memory_table() -> str:
    """Markdown: GB without and with gradient checkpointing, and the smallest card for each."""
    lines = [
        "| model | method | weights | optimizer | GB | fits | GB, checkpointing | fits | "
        f"GB on each of {NUM_SPLIT}, sharded |",
        "|---" * 9 + "|",
    ]
    for name, backbone, decoder in SIZES:
        vocab = EMBEDDED_VOCAB if name == "embedded" else PUBLISHED_VOCAB
        config = LLMConfig(backbone, decoder, *vocab, DECODER_LOSS_WEIGHT)
        for method, weights, optimizer in METHODS:
            plain, saving = (
                _estimate(config, method, weights, optimizer, saves) for saves in (False, True)
            )
            cells = [name, method, weights, optimizer, *_cells(plain), *_cells(saving),
                     f"{saving.on(NUM_SPLIT) / GB:.1f}"]  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _estimate(
    config: LLMConfig, method: str, weights: str, optimizer: str, saves: bool
) -> Estimate:
    return estimate(
        config,
        recipe_from(
            {
                "model": {"method": method, "weights": weights},
                "data": {"folder": "dataset", "rows_per_batch": ROWS},
                "optim": {"optimizer": optimizer, "gradient_checkpointing": saves},
                "run": {"out": "run"},
            }
        ),
    )


def _cells(found: Estimate) -> tuple[str, str]:
    card = next((f"{card} GB" for card in CARDS_GB if found.total <= card * GB), "none")
    return f"{found.total / GB:.1f}", card
