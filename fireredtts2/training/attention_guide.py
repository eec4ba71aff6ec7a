"""Guides one attention head along the text, so that little training suffices to read it.

Guided attention (Tachibana et al. 2018) with a forced alignment in place of the diagonal: in the
chosen layers, head 0 of a row that predicts a frame should look at the text unit spoken in that
frame or its neighbours. Only training knows of it; the model itself stays as SPEC section 5 has it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.span import Span
from fireredtts2.llm.transformer import Block

NO_TARGET = -1
NEIGHBOURS = (-1, 0, 1)


class AttentionGuide:
    """Catches the inputs of some backbone layers and scores where their first head looks."""

    def __init__(self, model: DualTransformer, layers: tuple[int, ...]) -> None:
        self.inputs: list[tuple[Block, Tensor, Span]] = []
        for index in layers:
            model.backbone.layers[index].register_forward_pre_hook(self._catch)

    def _catch(self, block: Block, args: tuple) -> None:
        if torch.is_grad_enabled():
            self.inputs.append((block, args[0], args[1]))

    def loss(self, targets: Tensor) -> Tensor:
        """Mean of -log(attention on the target unit and its neighbours).

        Args:
            targets: (B, T) int64, for each row the row that it should look at, or -1.
        """
        total = targets.new_zeros((), dtype=torch.float32)
        for block, x, span in self.inputs:
            # NOTE: in float32: a logarithm of a small share loses everything in bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                near = log_attention_near(block, x.float(), span, targets)
                total = total - near.sum() / max(1, len(near))  # 0 where no row has a target
        count = max(1, len(self.inputs))
        self.inputs.clear()
        return total / count


def log_attention_near(block: Block, x: Tensor, span: Span, targets: Tensor) -> Tensor:
    """Log of the attention mass of head 0 near the targets, for each row that has one, (N,)."""
    attention, normed = block.attn, block.sa_norm(x)
    width = attention.head_dim
    query = torch.nn.functional.linear(
        normed, attention.q_proj.weight[:width], attention.q_proj.bias[:width]
    )
    key = torch.nn.functional.linear(
        normed, attention.k_proj.weight[:width], attention.k_proj.bias[:width]
    )
    both = span.rotate(torch.stack((query, key), dim=2))
    scores = both[:, :, 0] @ both[:, :, 1].mT / width**0.5
    mask = span.mask[:, 0] if span.mask is not None else causal_mask(x.shape[1], x.device)
    scores = scores.masked_fill(~mask, float("-inf"))
    batch, row = (targets != NO_TARGET).nonzero(as_tuple=True)
    near = targets[batch, row][:, None] + torch.tensor(NEIGHBOURS, device=x.device)
    chosen = scores[batch, row]
    return chosen.gather(1, near.clamp(0, x.shape[1] - 1)).logsumexp(1) - chosen.logsumexp(1)


def causal_mask(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
