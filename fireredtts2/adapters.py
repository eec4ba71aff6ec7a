"""Low-rank adapters of the language model: read, written, checked and merged into its weights.

An adapter is a folder of `adapter.safetensors` and `adapter_config.json`. For each module M that it
changes it holds `M.lora_A` (rank, in) and `M.lora_B` (out, rank); the module's weight becomes
W + alpha / rank * B A. Merged once at load, it costs nothing while speaking.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from fireredtts2.atomic_file import atomic_folder
from fireredtts2.config_values import build_config, read_section
from fireredtts2.weights import StateDict, read_state, write_state

log = logging.getLogger(__name__)
WEIGHTS_FILE = "adapter.safetensors"
CONFIG_FILE = "adapter_config.json"
SECTION = "fireredtts2_adapter"
#: Where a checkpoint folder keeps the adapters that can be asked for by name.
ADAPTERS_FOLDER = "adapters"
DOWN, UP = ".lora_A", ".lora_B"
#: Values of each weight by which it is known again.
NUM_LOOKS = 64


@dataclass(frozen=True)
class AdapterConfig:
    """What `adapter_config.json` says.

    Attributes:
        rank: of the products.
        alpha: the products' weight, times rank.
        gen_type: which language model it was made for.
        base: the checkpoint folder that it was made for, as a hint.
        steps: updates that made it.
        base_digest: of the weights that it was made for, see `base_digest`; None where unknown.
    """

    rank: int
    alpha: float
    gen_type: str
    base: str
    steps: int = 1
    base_digest: str | None = None


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory: its config, and (A, B) of every module that it changes."""

    config: AdapterConfig
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    source: str = "adapter"

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.config.alpha / self.config.rank

    @property
    def num_parameters(self) -> int:
        return sum(a.numel() + b.numel() for a, b in self.pairs.values())

    @classmethod
    def load(cls, folder: str | Path) -> Adapter:
        """Reads an adapter's folder.

        Raises:
            ValueError: not an adapter, or its tensors do not pair or have another rank.
            FileNotFoundError: its weights are not there.
        """
        folder = Path(folder)
        if not (folder / CONFIG_FILE).is_file():
            raise ValueError(
                f"{folder}: not an adapter; expected a folder with {CONFIG_FILE} and {WEIGHTS_FILE}"
            )
        path = folder / CONFIG_FILE
        values = read_section(path, SECTION)
        try:
            config = build_config(AdapterConfig, values, SECTION)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        file = folder / WEIGHTS_FILE
        return cls(config, _paired(read_state(file), config.rank, file), str(folder))

    def save(self, folder: str | Path) -> None:
        """Writes the folder whole or not at all; it must not be there yet."""
        state: StateDict = {}
        for name, (down, up) in self.pairs.items():
            state[name + DOWN] = down.detach().cpu().contiguous().clone()
            state[name + UP] = up.detach().cpu().contiguous().clone()
        with atomic_folder(folder) as temporary:
            write_state(temporary / WEIGHTS_FILE, state)
            text = json.dumps({SECTION: asdict(self.config)}, indent=2)
            (temporary / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")

    def delta(self, module: str) -> Tensor:
        """What the module's weight (out, in) gains, in float32."""
        down, up = self.pairs[module]
        return self.scale * (up.float() @ down.float())

    def merged(self, state: Mapping[str, Tensor]) -> StateDict:
        """A model's state with this adapter in it; only what changes is copied, as float32.

        Raises:
            ValueError: the model lacks a module, or has one of another shape.
        """
        self.check_fits(state)
        merged = dict(state)
        for module in self.pairs:
            key = f"{module}.weight"
            merged[key] = state[key].float() + self.delta(module).to(state[key].device)
        return merged

    def check_fits(self, state: Mapping[str, Tensor]) -> None:
        """Raises ValueError if a model's state lacks a module, or has one of another shape.

        Warns where the weights are not those that it was made for, as with an adapter in them.
        """
        for module, (down, up) in self.pairs.items():
            key = f"{module}.weight"
            expected = (up.shape[0], down.shape[1])
            found = tuple(state[key].shape) if key in state else None
            if found != expected:
                what = "no such weight" if found is None else f"its shape is {found}"
                raise ValueError(
                    f"{self.source}: changes {key} of shape {expected}, but in this model there is "
                    f"{what}: the adapter was made for {self.config.base}"
                )
        made_for = self.config.base_digest
        if made_for is not None and made_for != base_digest(state, self.pairs):
            log.warning(
                "%s: made for other weights than these (for %s; these may have an adapter in them "
                "already): it may not say what it learnt",
                self.source, self.config.base,
            )  # fmt: skip


def base_digest(state: Mapping[str, Tensor], modules: Iterable[str]) -> str:
    """Tells the weights of some modules from others of the same shapes.

    Of each some values count, as bfloat16: the same whatever type and file the weights are in.
    """
    digest = hashlib.sha256()
    for module in sorted(modules):
        weight = state[f"{module}.weight"].detach().flatten()
        looks = weight[:: max(1, weight.numel() // NUM_LOOKS)].to("cpu", torch.bfloat16)
        digest.update(module.encode() + looks.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def find_adapter(checkpoint: Path, adapter: str | Path) -> Path:
    """The folder that an adapter's path, or its name in the checkpoint's `adapters/`, means.

    Raises:
        ValueError: neither is there; says which names there are.
    """
    for folder in (Path(adapter).expanduser(), checkpoint / ADAPTERS_FOLDER / adapter):
        if (folder / CONFIG_FILE).is_file():
            return folder
    shelf = checkpoint / ADAPTERS_FOLDER
    names = sorted(p.parent.name for p in shelf.glob(f"*/{CONFIG_FILE}"))
    raise ValueError(
        f"adapter {str(adapter)!r}: no such folder with {CONFIG_FILE}, and not among the "
        f"checkpoint's own ({', '.join(names) or 'it has none'})"
    )


def _paired(state: StateDict, rank: int, file: Path) -> dict[str, tuple[Tensor, Tensor]]:
    modules = sorted({key.removesuffix(DOWN).removesuffix(UP) for key in state})
    pairs = {}
    for module in modules:
        down, up = state.get(module + DOWN), state.get(module + UP)
        if down is None or up is None:
            raise ValueError(f"{file}: {module} needs both {DOWN[1:]} and {UP[1:]}")
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != rank or up.shape[1] != rank:
            raise ValueError(
                f"{file}: {module} has shapes {tuple(down.shape)} and {tuple(up.shape)}; "
                f"expected ({rank}, in) and (out, {rank})"
            )
        if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
            raise ValueError(f"{file}: {module} holds values that are not finite")
        pairs[module] = (down, up)
    if not pairs:
        raise ValueError(f"{file}: an adapter that changes nothing")
    return pairs
