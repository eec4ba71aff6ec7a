"""Low-rank adapters while they are trained: put in by `peft`, taken out as an `Adapter`."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fireredtts2.adapters import Adapter, AdapterConfig, base_digest
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.finetune.extras import load_extra
from fireredtts2.training.finetune.recipe import Recipe

A_SUFFIX, B_SUFFIX = ".lora_A.default.weight", ".lora_B.default.weight"


def inject(model: DualTransformer, recipe: Recipe) -> None:
    """Freezes the model and puts adapters beside the matrices that the recipe names."""
    peft = load_extra("peft")
    lora = recipe.lora
    parts, targets = "|".join(lora.parts), "|".join(lora.targets)
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf"({parts})\.layers\.\d+\.\w+\.({targets})",
    )
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.run.seed)
        peft.inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def taken(
    state: dict[str, torch.Tensor], recipe: Recipe, steps: int, base: Mapping[str, torch.Tensor]
) -> Adapter:
    """The adapter among a model's trained tensors; `base` are those that it began with."""
    names = [key.removesuffix(A_SUFFIX) for key in state if key.endswith(A_SUFFIX)]
    pairs = {name: (state[name + A_SUFFIX], state[name + B_SUFFIX]) for name in sorted(names)}
    config = AdapterConfig(
        rank=recipe.lora.rank,
        alpha=recipe.lora.alpha,
        gen_type=recipe.model.gen_type,
        base=recipe.model.checkpoint,
        steps=max(1, steps),
        base_digest=base_digest(base, pairs),
    )
    return Adapter(config, pairs)
