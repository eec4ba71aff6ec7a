"""Adapters of a decoder: few numbers with which it says one voice, learnt from that voice's clip.

What a decoder has not learnt to sound like it does not sound like, whatever codes it is given. So
after every block of its backbone, and in its head, something is added that depends on the row: a
projection to few channels and back, and a constant (residual adapters: Rebuffi et al. 2017, Houlsby
et al. 2019; few parameters for each voice of one model: AdaSpeech, Chen et al. 2021). The decoder
itself stays as it is, so rows of one batch may have adapters of their own, or none. The published
decoder has none. They are learnt by `fireredtts2.training.codec.voice_adaptation`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from fireredtts2.adapters import base_digest
from fireredtts2.config import DecoderConfig

RANK = 4
#: Of a backbone beside its transformer layers: first convolution, four residual blocks, norm.
OTHER_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class VoiceAdapter:
    """What is added in each of N blocks of width D and to the F outputs of the head.

    Where many rows are meant all tensors begin with (B,).

    Attributes:
        down: (N, RANK, D).
        up: (N, D, RANK).
        bias: (N, D).
        head_down: (RANK, D).
        head_up: (F, RANK).
        head_bias: (F,).
    """

    down: Tensor
    up: Tensor
    bias: Tensor
    head_down: Tensor
    head_up: Tensor
    head_bias: Tensor

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], config: DecoderConfig) -> VoiceAdapter:
        """What a voice keeps as one that this decoder can use, in float32.

        Raises:
            ValueError: not the adapter of a decoder like this.
        """
        shapes = adapter_shapes(config)
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        if found != shapes:
            raise ValueError(f"an adapter of {found}; this decoder's are of {shapes}")
        return cls(**{name: tensor.float() for name, tensor in tensors.items()})

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All of it by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def digest(self) -> bytes:
        """Tells adapters apart."""
        digest = hashlib.sha256()
        for tensor in self.tensors.values():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.digest()

    def after(self, block: int, x: Tensor) -> Tensor:
        """What block number `block` makes, (B, D, T), with what this adds to it."""
        return x + self.up[:, block] @ (self.down[:, block] @ x) + self.bias[:, block, :, None]

    def head(self, x: Tensor) -> Tensor:
        """What is added to the head's outputs (B, T, F) for hidden states (B, T, D)."""
        return x @ self.head_down.mT @ self.head_up.mT + self.head_bias[:, None]

    def scaled(self, strength: float) -> VoiceAdapter:
        """One that adds so much of what this one adds."""
        kept = ("down", "head_down")
        return VoiceAdapter(
            **{name: one if name in kept else strength * one for name, one in self.items()}
        )

    def rows(self, count: int, device: torch.device | None = None) -> VoiceAdapter:
        """That of one row for `count` rows, on a device."""
        return VoiceAdapter(
            **{name: one.to(device).expand(count, *one.shape) for name, one in self.items()}
        )

    def none(self, count: int, device: torch.device) -> VoiceAdapter:
        """One like this of `count` rows for which nothing changes, on a device."""
        return VoiceAdapter(
            **{name: one.new_zeros(count, *one.shape, device=device) for name, one in self.items()}
        )

    def select(self, rows: slice | Tensor) -> VoiceAdapter:
        """Those of some of its rows; neighbours' memory is used as it lies."""
        return VoiceAdapter(**{name: tensor[rows] for name, tensor in self.items()})

    def put(self, row: int, other: VoiceAdapter | None) -> None:
        """Gives one row the adapter of a voice, or none."""
        for name, tensor in self.items():
            tensor[row] = 0.0 if other is None else other.tensors[name].to(tensor.device)

    def items(self) -> Sequence[tuple[str, Tensor]]:
        return list(self.tensors.items())


def adapter_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """Of an adapter's tensors, by name."""
    dim, num_blocks = config.embed_dim, OTHER_BLOCKS + config.num_layers
    num_outputs = 4 * config.hop_length + 2
    return {
        "down": (num_blocks, RANK, dim),
        "up": (num_blocks, dim, RANK),
        "bias": (num_blocks, dim),
        "head_down": (RANK, dim),
        "head_up": (num_outputs, RANK),
        "head_bias": (num_outputs,),
    }


def decoder_id(state: Mapping[str, Tensor]) -> str:
    """Names a decoder's weights, for which an adapter was learnt; the same in every type.

    Args:
        state: the decoder's tensors by key.
    """
    ending = ".weight"
    return base_digest(state, [key.removesuffix(ending) for key in state if key.endswith(ending)])
