"""Several low-rank adapters over one packed layer, another one for each row of a batch.

y = W x + alpha / rank * B A x, where A and B are those of the row's adapter (LoRA, Hu et al. 2021,
section 4.1). The products are small: W is read once for all rows, as without adapters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from fireredtts2.llm.packed_linear import Packed

Pairs = Mapping[str, tuple[Tensor, Tensor]]


class LowRank(Protocol):
    """What is needed of an adapter; `fireredtts2.adapters.Adapter` is one."""

    @property
    def scale(self) -> float: ...
    @property
    def pairs(self) -> Pairs: ...


class AdapterChoice:
    """Which adapter each row has: 0 for none, n for the n-th.

    Args:
        num_rows: of the largest batch.
        device: of the model.

    Attributes:
        index: (num_rows,) int64; it stays where it is, so that programs may read it.
        rows: (B,) those of the batch that is computed now; a view of `index`.
        is_idle: none of these rows has one, so that the products may be left out.
    """

    def __init__(self, num_rows: int, device: torch.device) -> None:
        self.index = torch.zeros(num_rows, dtype=torch.long, device=device)
        self.rows = self.index
        self.is_idle = False
        self._on_host = [0] * num_rows

    def set(self, row: int, adapter: int) -> None:
        """Gives a row another adapter."""
        self._on_host[row] = adapter
        self.index[row : row + 1].fill_(adapter)

    def use(self, first: int, num_rows: int, may_idle: bool = True) -> None:
        """Makes these rows the batch that is computed next.

        Args:
            first: row.
            num_rows: of the batch.
            may_idle: False for a program that is used for any adapters.
        """
        self.rows = self.index[first : first + num_rows]
        self.is_idle = may_idle and not any(self._on_host[first : first + num_rows])


class AdaptedLinear:
    """x (B, T, K) to (B, T, N), in the layer's type, by the layer and each row's adapter.

    Args:
        layer: for all rows.
        downs: (1 + adapters, R, K); the first are zeros.
        ups: (1 + adapters, N, R), with the adapters' scale in them.
        choice: of the rows.
    """

    def __init__(self, layer: Packed, downs: Tensor, ups: Tensor, choice: AdapterChoice) -> None:
        self.layer, self.downs, self.ups, self.choice = layer, downs, ups, choice

    @property
    def num_bytes(self) -> int:
        return self.layer.num_bytes + self.downs.nbytes + self.ups.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        if self.choice.is_idle:
            return out
        rows = self.choice.rows
        low = torch.bmm(x, self.downs[rows].mT)
        return torch.baddbmm(out, low, self.ups[rows].mT)


def adapted(
    layer: Packed,
    modules: Sequence[tuple[str, int]],
    adapters: Sequence[LowRank],
    choice: AdapterChoice | None,
    dtype: torch.dtype,
    norm_scale: Tensor | None = None,
) -> Packed | AdaptedLinear:
    """A packed layer with adapters over it; the layer itself where none of them changes it.

    Args:
        layer: of several modules, joined in their order.
        modules: name and outputs of each.
        adapters: that rows may have.
        choice: of the rows; None without adapters.
        dtype: that the layer reads.
        norm_scale: (K,) as for `pack`.
    """
    names = [name for name, _ in modules]
    if choice is None or not any(name in one.pairs for one in adapters for name in names):
        return layer
    both = [_joined(one, modules) for one in adapters]
    rank = max(down.shape[0] for down, _ in both)
    num_inputs = max(down.shape[1] for down, _ in both)
    num_outputs = sum(size for _, size in modules)
    downs = torch.zeros(1 + len(adapters), rank, num_inputs)
    ups = torch.zeros(1 + len(adapters), num_outputs, rank)
    for number, (down, up) in enumerate(both, 1):
        downs[number, : down.shape[0], : down.shape[1]] = down
        ups[number, :, : up.shape[1]] = up
    device = choice.index.device
    if norm_scale is not None:
        downs = downs * norm_scale.float().cpu()
    return AdaptedLinear(layer, downs.to(device, dtype), ups.to(device, dtype), choice)


def _joined(adapter: LowRank, modules: Sequence[tuple[str, int]]) -> tuple[Tensor, Tensor]:
    """An adapter's A (R, K) and B (N, R) over several modules: B has a block for each."""
    pairs = [(adapter.pairs.get(name), size) for name, size in modules]
    downs = [pair[0].float().cpu() for pair, _ in pairs if pair is not None]
    ups = []
    rank = sum(down.shape[0] for down in downs)
    at = 0
    for pair, size in pairs:
        block = torch.zeros(size, rank)
        if pair is not None:
            own = pair[1].shape[1]
            block[:, at : at + own] = adapter.scale * pair[1].float().cpu()
            at += own
        ups.append(block)
    return (torch.cat(downs) if downs else torch.zeros(0, 0)), torch.cat(ups)
