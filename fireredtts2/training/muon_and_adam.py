"""The optimizers of a dual transformer that is trained from codes: Muon inside, AdamW around it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.muon import Muon

MAX_NORM = 1.0


def split_parameters(model: DualTransformer) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Matrices inside the transformers (Muon), and all others (AdamW)."""
    inner = [
        p for part in (model.backbone, model.decoder) for p in part.parameters() if p.ndim == 2
    ]
    chosen = {id(p) for p in inner}
    return inner, [p for p in model.parameters() if id(p) not in chosen]


class MuonAndAdam:
    """Both optimizers, which step together.

    Args:
        model: whose parameters they move.
        muon_rate: at its peak, for the matrices inside the transformers.
        adam_rate: at its peak, for everything else.
        beside: parameters that learn with the model and do not ship, by AdamW.
    """

    def __init__(
        self,
        model: DualTransformer,
        muon_rate: float,
        adam_rate: float,
        beside: Iterable[nn.Parameter] = (),
    ) -> None:
        matrices, others = split_parameters(model)
        self.model = model
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=muon_rate),
            torch.optim.AdamW(
                [*others, *beside], lr=adam_rate, betas=(0.9, 0.95), weight_decay=0.0
            ),
        ]
        self.peaks = [muon_rate, adam_rate]

    def step(self, factor: float) -> bool:
        """Moves everything by the gradients that are there, at `factor` times the peak rates.

        A gradient that is not finite moves nothing: one bad step would spoil all weights.

        Returns:
            Whether it moved.
        """
        is_good = bool(nn.utils.clip_grad_norm_(self.model.parameters(), MAX_NORM).isfinite())
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
            if is_good:
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return is_good

    def state(self) -> list[dict[str, Any]]:
        """For `torch.save`."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load(self, states: list[dict[str, Any]]) -> None:
        """Takes over what `state` gave."""
        for optimizer, saved in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(saved)
