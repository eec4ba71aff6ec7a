"""Keys and values of the rows that a transformer has already seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.config import TransformerConfig


@dataclass(frozen=True)
class Place:
    """Where in a cache the rows of one call are kept, and how much of it they read.

    All batch rows begin at `start`, or each row has slots (B, T) of its own; the first `num_keys`
    positions are read.
    """

    start: int = 0
    slots: Tensor | None = None
    num_keys: int = 0


@dataclass
class KVCache:
    """Static tensors with a length per batch row; rows start, stop and reset independently.

    `keys` and `values` have for each layer (B, kv_heads, capacity + 1, head_dim): the last slot
    takes the padding of uneven calls and is never read as a real position. `lengths` (B,) int64
    lies on the CPU on purpose: the offsets of a call are then known without waiting for a device.
    """

    # NOTE: no views of one large tensor: a compiled frame would copy what it writes to.
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    lengths: Tensor

    @classmethod
    def empty(
        cls,
        config: TransformerConfig,
        batch: int,
        capacity: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> KVCache:
        """A cache that holds nothing yet, with room for `capacity` positions in each row."""
        if batch < 1 or not 1 <= capacity <= config.max_seq_len:
            raise ValueError(
                f"batch {batch} and capacity {capacity} given; needed are a batch of at least 1 "
                f"and a capacity of 1 to {config.max_seq_len}"
            )
        shape = (batch, config.num_kv_heads, capacity + 1, config.head_dim)

        def layers() -> tuple[Tensor, ...]:
            return tuple(
                torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.num_layers)
            )

        return cls(layers(), layers(), torch.zeros(batch, dtype=torch.int64))

    @property
    def batch(self) -> int:
        return self.keys[0].shape[0]

    @property
    def capacity(self) -> int:
        return self.keys[0].shape[2] - 1

    @property
    def dtype(self) -> torch.dtype:
        return self.keys[0].dtype

    @property
    def device(self) -> torch.device:
        return self.keys[0].device

    def row(self, index: int) -> KVCache:
        """One row as a cache of its own that shares this one's memory: fill a row alone."""
        return self.rows(index, index + 1)

    def rows(self, begin: int, end: int) -> KVCache:
        """Some rows as a cache of their own that shares this one's memory."""
        part = slice(begin, end)
        return KVCache(
            tuple(keys[part] for keys in self.keys),
            tuple(values[part] for values in self.values),
            self.lengths[part],
        )

    def reset(self, row: int) -> None:
        """Forgets everything in one row."""
        self.truncate(row, 0)

    def truncate(self, row: int, length: int) -> None:
        """Keeps the first `length` positions of one row and forgets the others."""
        if not 0 <= length <= int(self.lengths[row]):
            raise ValueError(
                f"cannot cut row {row} to {length} positions: it holds {int(self.lengths[row])}"
            )
        self.lengths[row] = length

    def copy_rows(self, source: int, target: int, length: int) -> None:
        """Makes the first `length` positions of row `target` those of row `source`."""
        if not 0 <= length <= int(self.lengths[source]):
            raise ValueError(
                f"cannot copy {length} positions of row {source}: "
                f"it holds {int(self.lengths[source])}"
            )
        for held in (*self.keys, *self.values):
            held[target, :, :length] = held[source, :, :length]
        self.lengths[target] = length

    def swap_rows(self, first: int, second: int) -> None:
        """Exchanges what two rows hold."""
        rows = [first, second]
        length = int(self.lengths[rows].max())
        for held in (*self.keys, *self.values):  # little room is needed
            held[rows, :, :length] = held[rows[::-1], :, :length]
        self.lengths[rows] = self.lengths[rows[::-1]]

    def extend(
        self, layer: int, keys: Tensor, values: Tensor, place: Place
    ) -> tuple[Tensor, Tensor]:
        """Stores new keys and values (B, kv_heads, T, head_dim) of one layer.

        Returns all that is read of them, (B, kv_heads, num_keys, head_dim), as views.
        """
        all_keys, all_values = self.keys[layer], self.values[layer]
        if place.slots is None:
            all_keys[:, :, place.start : place.num_keys] = keys
            all_values[:, :, place.start : place.num_keys] = values
        else:
            rows = torch.arange(self.batch, device=keys.device)[:, None]
            all_keys[rows, :, place.slots] = keys.transpose(1, 2)
            all_values[rows, :, place.slots] = values.transpose(1, 2)
        return all_keys[:, :, : place.num_keys], all_values[:, :, : place.num_keys]
