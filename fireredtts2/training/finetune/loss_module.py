"""The model together with its loss."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.finetune.packing import Pack
from fireredtts2.training.losses import dual_transformer_loss

LOSS_NAMES = ("loss", "first_code", "depth", "text")


class LossModule(nn.Module):
    """The model with its loss in one forward, which is what DDP and FSDP have to see."""

    def __init__(self, model: DualTransformer, depth_fraction: float) -> None:
        super().__init__()
        self.model, self.depth_fraction = model, depth_fraction

    def forward(self, pack: Pack, inputs: Tensor | None, generator: torch.Generator) -> Tensor:
        """The losses of a batch, as `LOSS_NAMES` lists them: (4,)."""
        losses = dual_transformer_loss(
            self.model,
            pack.tokens,
            pack.mask,
            segment_ids=pack.segment_ids,
            depth_fraction=self.depth_fraction,
            generator=generator,
            inputs=inputs,
        )
        return torch.stack((losses.total, losses.first_code, losses.depth, losses.text))


def checkpoint_blocks(model: DualTransformer) -> None:
    """Keeps of every block its input alone; the rest is computed again on the way back."""
    for part in (model.backbone, model.decoder):
        for block in part.layers:
            block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
