"""Optimizers and the rate of every step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fireredtts2.training.finetune.extras import load_extra
from fireredtts2.training.finetune.recipe import OptimRecipe
from fireredtts2.training.finetune.sharding import ShardedMuon, compile_each_process
from fireredtts2.training.muon import Muon
from fireredtts2.training.schedule import rate_share

Named = tuple[str, nn.Parameter]


def build_optimizers(
    parameters: Sequence[Named], recipe: OptimRecipe, is_sharded: bool = False
) -> list[torch.optim.Optimizer]:
    """The recipe's optimizers; every group remembers its own highest rate under "peak"."""
    trained = [(name, p) for name, p in parameters if p.requires_grad]
    if recipe.optimizer == "muon":
        inner = [p for name, p in trained if is_inner(name, p)]
        others = [p for name, p in trained if not is_inner(name, p)]
        kind = ShardedMuon if is_sharded else Muon
        muon = kind(inner, lr=recipe.muon_rate, weight_decay=recipe.weight_decay)
        return _with_peaks([muon, _adamw(others, recipe)])
    plain = [p for _, p in trained]
    if recipe.optimizer == "adamw8bit":
        library = load_extra("torchao.optim")
        if is_sharded:
            compile_each_process()
        eight = library.AdamW8bit(
            plain,
            lr=recipe.learning_rate,
            betas=tuple(recipe.betas),
            weight_decay=recipe.weight_decay,
            bf16_stochastic_round=any(p.dtype == torch.bfloat16 for p in plain),
        )
        return _with_peaks([eight])
    return _with_peaks([_adamw(plain, recipe)])


def is_inner(name: str, parameter: nn.Parameter) -> bool:
    """Whether this is a matrix inside one of the transformers."""
    return parameter.ndim == 2 and ("backbone." in name or "decoder." in name)


def _adamw(parameters: list[nn.Parameter], recipe: OptimRecipe) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters,
        lr=recipe.learning_rate,
        betas=(recipe.betas[0], recipe.betas[1]),
        weight_decay=recipe.weight_decay,
        fused=parameters[0].is_cuda,
    )


def _with_peaks(optimizers: list[torch.optim.Optimizer]) -> list[torch.optim.Optimizer]:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = float(group["lr"])
    return optimizers


def rate_factor(recipe: OptimRecipe, step: int) -> float:
    """The share of its highest rate that update `step`, counted from 0, uses."""
    return rate_share(recipe.schedule, step, recipe.warmup_steps, recipe.total_steps)


def set_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Gives every group its share; an optimizer that keeps rates as tensors keeps them so."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = group["peak"] * factor
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
