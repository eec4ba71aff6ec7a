"""Guides single attention heads, so that little training suffices to read text and prompts.

Guided attention (Tachibana et al. 2018) with known targets in place of the diagonal. One head of a
row that predicts a frame should look at the text unit spoken in that frame; another at what its
speaker said before. Only training knows of it; the model itself stays as SPEC section 5 has it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.span import Span
from fireredtts2.llm.transformer import Block

NO_TARGET = -1
NEIGHBOURS = (-1, 0, 1)


class AttentionGuide:
    """Catches the inputs of some backbone layers and scores where one of their heads looks."""

    def __init__(self, model: DualTransformer, layers: tuple[int, ...], head: int) -> None:
        self.head = head % model.backbone.config.num_heads
        self.inputs: list[tuple[Block, Tensor, Span]] = []
        for index in layers:
            model.backbone.layers[index].register_forward_pre_hook(self._catch)

    def _catch(self, block: Block, args: tuple) -> None:
        if torch.is_grad_enabled():
            self.inputs.append((block, args[0], args[1]))

    def loss(self, wanted: Tensor) -> Tensor:
        """Mean of -log(attention on the wanted rows), over layers and rows that want any.

        Args:
            wanted: (B, T, T) bool, for each row the rows that it should look at, all of them
                rows that it may see.
        """
        total = torch.zeros((), device=wanted.device)
        guided = wanted.any(-1)
        for block, x, span in self.inputs:
            # NOTE: in float32: a logarithm of a small share loses everything in bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                scores = head_scores(block, x.float(), span, self.head)[guided]
                there = scores.masked_fill(~wanted[guided], float("-inf")).logsumexp(-1)
                total = total + (scores.logsumexp(-1) - there).sum() / max(1, len(there))
        count = max(1, len(self.inputs))
        self.inputs.clear()
        return total / count


def head_scores(block: Block, x: Tensor, span: Span, head: int) -> Tensor:
    """One head's attention scores (B, T, T) before the softmax, -inf where it may not look."""
    attention, normed = block.attn, block.sa_norm(x)
    width = attention.head_dim
    num_heads, num_kv_heads = attention.groups
    query_part = slice(head * width, (head + 1) * width)
    kv_head = head * num_kv_heads // num_heads
    key_part = slice(kv_head * width, (kv_head + 1) * width)
    query = F.linear(normed, attention.q_proj.weight[query_part], attention.q_proj.bias[query_part])
    key = F.linear(normed, attention.k_proj.weight[key_part], attention.k_proj.bias[key_part])
    both = span.rotate(torch.stack((query, key), dim=2))
    scores = both[:, :, 0] @ both[:, :, 1].mT / width**0.5
    mask = span.mask[:, 0] if span.mask is not None else causal_mask(x.shape[1], x.device)
    return scores.masked_fill(~mask, float("-inf"))


def near_targets(targets: Tensor) -> Tensor:
    """The rows (B, T, T) bool at or beside the targets (B, T) int64; none where that is -1."""
    rows = torch.arange(targets.shape[1], device=targets.device)
    distance = rows - targets[..., None]
    near = (distance >= NEIGHBOURS[0]) & (distance <= NEIGHBOURS[-1]) & (rows <= rows[:, None])
    return near & (targets != NO_TARGET)[..., None]


def heard_before(speakers: Tensor, segments: Tensor, is_frame: Tensor) -> Tensor:
    """The frames (B, T, T) bool that each row's speaker said in earlier segments.

    Args:
        speakers: (B, T) int64, who speaks in each row, or -1.
        segments: (B, T) int64, the number of each row's segment in its sample, or -1.
        is_frame: (B, T) bool, rows that hold codes.
    """
    same = speakers[:, :, None] == speakers[:, None, :]
    earlier = segments[:, None, :] < segments[:, :, None]
    return same & earlier & is_frame[:, None, :]


def causal_mask(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()
