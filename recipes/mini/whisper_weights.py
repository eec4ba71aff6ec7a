"""Reads a Whisper encoder out of a CTranslate2 `model.bin` into our state-dict names.

The format (CTranslate2, binary version 6): version, specification name, revision, then every
variable with name, shape, type and bytes. Whisper's weights are MIT-licensed.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class Reader:
    """Little-endian values out of a byte buffer, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0

    def number(self, code: str) -> int:
        (value,) = struct.unpack_from("<" + code, self.data, self.place)
        self.place += struct.calcsize("<" + code)
        return value

    def text(self) -> str:
        length = self.number("H")
        self.place += length
        return self.data[self.place - length : self.place].rstrip(b"\0").decode()

    def array(self) -> np.ndarray:
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, num_bytes = TYPES[self.number("B")], self.number("I")
        self.place += num_bytes
        return np.frombuffer(self.data[self.place - num_bytes : self.place], kind).reshape(shape)


def read_variables(path: str | Path) -> dict[str, np.ndarray]:
    """All variables of a CTranslate2 model by name."""
    reader = Reader(Path(path).read_bytes())
    reader.number("I"), reader.text(), reader.number("I")
    return {reader.text(): reader.array() for _ in range(reader.number("I"))}


def encoder_state(path: str | Path) -> dict[str, Tensor]:
    """The encoder's weights as `fireredtts2.codec.encoder.WhisperEncoder` names them, float32."""
    variables = {
        name.removeprefix("encoder/"): torch.from_numpy(value.astype(np.float32))
        for name, value in read_variables(path).items()
        if name.startswith("encoder/")
    }
    state = {
        f"{conv}.{kind}": variables[f"{conv}/{kind}"]
        for conv in ("conv1", "conv2")
        for kind in ("weight", "bias")
    }
    state["embed_positions.weight"] = variables["position_encodings/encodings"]
    state |= norm("layer_norm", variables, "layer_norm")
    num_layers = sum(name.endswith("ffn/linear_0/weight") for name in variables)
    for index in range(num_layers):
        state |= layer_state(variables, index)
    return state


def norm(target: str, variables: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    return {
        f"{target}.weight": variables[f"{source}/gamma"],
        f"{target}.bias": variables[f"{source}/beta"],
    }


def layer_state(variables: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """One layer; CTranslate2 keeps query, key and value in one matrix."""
    source, target = f"layer_{index}", f"layers.{index}"
    attention = f"{source}/self_attention"
    weights = variables[f"{attention}/linear_0/weight"].chunk(3)
    biases = variables[f"{attention}/linear_0/bias"].chunk(3)
    state = {}
    for name, weight, bias in zip("qkv", weights, biases, strict=True):
        state[f"{target}.self_attn.{name}_proj.weight"] = weight.contiguous()
        if name != "k":
            state[f"{target}.self_attn.{name}_proj.bias"] = bias.contiguous()
    names = {
        "self_attn.out_proj": f"{attention}/linear_1",
        "fc1": f"{source}/ffn/linear_0",
        "fc2": f"{source}/ffn/linear_1",
    }
    for ours, theirs in names.items():
        for kind in ("weight", "bias"):
            state[f"{target}.{ours}.{kind}"] = variables[f"{theirs}/{kind}"]
    state |= norm(f"{target}.self_attn_layer_norm", variables, f"{attention}/layer_norm")
    return state | norm(f"{target}.final_layer_norm", variables, f"{source}/ffn/layer_norm")
