"""Linear layers as inference wants them: one weight for several projections, small, laid out well.

A frame reads every weight once and does little else with it, so a layer's time is its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INT8_LEVELS = 127
#: Beyond so many rows the products count, not the bytes: the weight is widened once instead.
WIDEN_FROM_ROWS = 16
#: The int8 kernel reads rows in such steps; for others it is not safe.
KERNEL_STEP = 16


class PackedLinear:
    """x (..., K) to (..., N), in the weight's type.

    Args:
        weight: (N, K), float32 or bfloat16.
        bias: (N,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        # NOTE: one row times a wide float32 matrix is twice as fast on a CPU when the matrix is
        # stored transposed; with a tall one it is slower.
        flips = weight.device.type == "cpu" and weight.dtype == torch.float32
        is_wide = weight.shape[0] > weight.shape[1]
        self.weight = weight.t().contiguous().t() if flips and is_wide else weight.contiguous()
        self.bias = bias

    @property
    def num_bytes(self) -> int:
        return self.weight.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Int8Linear:
    """x (..., K) to (..., N), both bfloat16, by weights of -127 to 127 and a scale per output.

    Args:
        weight: (N, K).
        bias: (N,).
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        largest = weight.float().abs().amax(1).clamp(min=1e-8)
        # Rounded first, so that what is divided by is what is multiplied with.
        self.scales = (largest / INT8_LEVELS).to(torch.bfloat16)
        levels = (weight.float() / self.scales.float()[:, None]).round()
        levels = levels.clamp(-INT8_LEVELS, INT8_LEVELS).to(torch.int8)
        self.weight = levels.contiguous()
        self.bias = None if bias is None else bias.to(torch.bfloat16)

    @property
    def num_bytes(self) -> int:
        return self.weight.nbytes + self.scales.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.view(-1, x.shape[-1])
        if rows.shape[0] >= WIDEN_FROM_ROWS or rows.shape[1] % KERNEL_STEP:
            return F.linear(x, self.widened(), self.bias)
        # The kernel behind torch's own quantized linear layers; on a CPU fast in bfloat16 alone.
        out = torch._weight_int8pack_mm(rows, self.weight, self.scales)
        if self.bias is not None:
            out += self.bias
        return out.view(*x.shape[:-1], -1)

    def widened(self) -> Tensor:
        """(N, K) bfloat16."""
        return self.weight.to(torch.bfloat16) * self.scales[:, None]


class TorchaoLinear:
    """x (..., K) to (..., N), both bfloat16, with weights that torchao keeps in 8 bits.

    Args:
        weight: (N, K).
        bias: (N,).
        kind: "int8" or "fp8".

    Raises:
        ValueError: torchao is not installed.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, kind: str) -> None:
        try:
            from torchao import quantization
        except ImportError:
            raise ValueError(
                f"{kind} weights need torchao: pip install 'fireredtts2[quantization]'"
            ) from None
        configs = {
            "int8": quantization.Int8WeightOnlyConfig,
            "fp8": quantization.Float8WeightOnlyConfig,
        }
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, weight.device)
        layer.weight = nn.Parameter(weight, requires_grad=False)
        if bias is not None:
            layer.bias = nn.Parameter(bias, requires_grad=False)
        self._layer = nn.Sequential(layer.to(torch.bfloat16))
        quantization.quantize_(self._layer, configs[kind]())

    @property
    def num_bytes(self) -> int:
        weight: Any = self._layer[0].weight
        return weight.qdata.nbytes + weight.scale.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return self._layer(x)


Packed = PackedLinear | Int8Linear | TorchaoLinear


def pack(layers: Sequence[nn.Linear], kind: str, norm_scale: Tensor | None = None) -> Packed:
    """Several layers that read the same row, as one.

    Args:
        layers: their outputs are joined in this order.
        kind: "float32", "bfloat16", "int8" or "fp8".
        norm_scale: (K,), of the norm before them: taken into the weights.
    """
    weight = torch.cat([layer.weight.float() for layer in layers])
    if norm_scale is not None:
        weight = weight * norm_scale.float()
    bias = None
    if layers[0].bias is not None:
        bias = torch.cat([layer.bias.float() for layer in layers])
    return pack_weight(weight, bias, kind)


def pack_weight(weight: Tensor, bias: Tensor | None, kind: str) -> Packed:
    """A float32 weight (N, K) and bias (N,), packed as `pack` does."""
    if kind == "int8" and weight.device.type == "cpu":
        return Int8Linear(weight, bias)
    if kind in ("int8", "fp8"):
        return TorchaoLinear(weight, bias, kind)
    dtype = getattr(torch, kind)
    return PackedLinear(weight.to(dtype), None if bias is None else bias.to(dtype))
