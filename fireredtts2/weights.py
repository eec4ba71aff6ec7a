"""The one reader of checkpoints: tensors from a file, checked key by key, into a module."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import pickle
import re
import stat
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.overrides import TorchFunctionMode

StateDict = dict[str, torch.Tensor]
Module = TypeVar("Module", bound=nn.Module)

#: Preferred first.
SUFFIXES = (".safetensors", ".pt")
#: The published files hold the state under one of these keys.
WRAPPERS = ("model", "generator")
MAX_LISTED_KEYS = 20
MEND = "fetch it again with `fireredtts2 download`, or copy the whole file once more"

_register_lock = threading.Lock()


def find_weights(folder: str | Path, names: Sequence[str]) -> Path | None:
    """The first of `names` that has a weight file in `folder`; safetensors before pt."""
    candidates = (Path(folder) / (name + suffix) for name in names for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def read_state(path: str | Path) -> StateDict:
    """Reads a checkpoint file without ever running code from it.

    Args:
        path: a `.safetensors` file, or a `.pt` file that holds tensors by name, bare or wrapped as
            `{"model": ...}` or `{"generator": ...}`.

    Returns:
        Tensors by key, on the CPU, in the file's types; memory-mapped where the format allows.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: it may not be read.
        ValueError: the file is empty, cut short, no checkpoint, or holds more than plain tensors.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: weights are read from {' or '.join(SUFFIXES)} files")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such weight file; {MEND}")
    if not path.is_file():
        raise ValueError(f"{path}: a folder, where a weight file was expected")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: an empty file; {MEND}")
    check_readable(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _tensors_by_name(_read_pt(path), path)


def write_state(
    path: str | Path, state: StateDict, metadata: Mapping[str, str] | None = None
) -> None:
    """Writes tensors as safetensors.

    Raises:
        OSError: the file cannot be written; a full disk has its own errno, as for any other file.
    """
    Path(path).touch()
    mode = stat.S_IMODE(os.stat(path).st_mode)
    try:
        save_file(state, path, metadata={"format": "pt", **(metadata or {})})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
    # NOTE: the library's file may be read by its owner alone, whatever stood there and the umask.
    os.chmod(path, mode)


def check_readable(path: str | Path) -> None:
    """Names a file that may not be read, which safetensors takes for one that is not there.

    Raises:
        PermissionError: this user may not read it.
    """
    if os.path.exists(path) and not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, "this user may not read it", str(path))


def build_empty(build: Callable[[], Module]) -> Module:
    """Builds a module whose parameters take no memory (meta device), ready for `load_into`.

    Buffers are built for real: rotary tables, masks and windows that no file holds are there.
    """
    with _parameters_on_meta(), _SkipFilling():
        return build()


def load_into(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str | Path,
    optional: Sequence[str] = (),
    device: torch.device | str | None = None,
) -> list[str]:
    """Fills a module from a state: every key must be there, known and of the right shape.

    Floating-point tensors are turned into the module's own types, one at a time. A module on the
    meta device (`build_empty`) takes the tensors over without a second copy.

    Args:
        module: the module to fill; its dtypes are kept.
        state: tensors by key, as `read_state` gives them.
        source: the file's name, for the error message.
        optional: patterns (`semantic_decoder.*`) of keys that the file or the module may lack. Such
            parameters that the file lacks are filled with NaN, so that using one by mistake shows;
            buffers keep their values.
        device: where meta tensors go; the CPU by default.

    Returns:
        The optional keys that the file lacks.

    Raises:
        ValueError: naming the missing, surplus and misshapen keys.
    """
    check_fit(module, state, source, optional)
    expected = module.state_dict()
    absent = [key for key in expected if key not in state]
    filled: StateDict = {}
    for key, wanted in expected.items():
        target = device or "cpu" if wanted.is_meta else wanted.device
        if key in state:
            filled[key] = state[key].to(device=target, dtype=wanted.dtype)
    buffers = {name for name, _ in module.named_buffers()}
    for key in absent:
        wanted = expected[key]
        if wanted.is_meta or key not in buffers:
            target = device or "cpu" if wanted.is_meta else wanted.device
            filled[key] = _unusable(wanted, target)
    on_meta = any(tensor.is_meta for tensor in expected.values())
    module.load_state_dict(filled, strict=False, assign=on_meta)
    _check_nothing_on_meta(module)
    return absent


def _read_safetensors(path: Path) -> StateDict:
    try:
        return load_file(path, device="cpu")
    except (SafetensorError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cut short or not a safetensors file ({error}); {MEND}") from None


def _read_pt(path: Path) -> Any:
    try:
        # Only the zip layout can be mapped; the older one is read whole.
        mmap = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if refused is None:
            raise ValueError(f"{path}: cut short or not a checkpoint; {MEND}") from None
        raise ValueError(
            f"{path}: asks for the Python object {refused[1]!r}, which could run code; nothing was "
            "run. Only plain tensors are read: use a file from a source you trust"
        ) from None
    except Exception as error:
        # The reader of a damaged file raises whatever it trips over.
        raise ValueError(f"{path}: cut short or not a checkpoint ({error}); {MEND}") from None


def _tensors_by_name(content: Any, path: Path) -> StateDict:
    """Takes the published wrapper off and checks that tensors by name remain."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{path}: holds a {type(content).__name__}, not tensors by name; {MEND}")
    inner = next(
        (content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content
    )
    others = [key for key, value in inner.items() if not isinstance(value, torch.Tensor)]
    if others or not inner:
        named = (
            f"entries that are no tensors ({_listed(map(str, others))})" if others else "nothing"
        )
        wrappers = " or ".join(f'{{"{key}": ...}}' for key in WRAPPERS)
        raise ValueError(f"{path}: holds {named}; expected tensors by name, bare or in {wrappers}")
    return dict(inner)


def check_fit(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    source: str | Path,
    optional: Sequence[str] = (),
) -> None:
    """Compares a state with a module, key for key; arguments as for `load_into`.

    Raises:
        ValueError: naming the missing, surplus and misshapen keys.
    """
    expected = module.state_dict()
    # A part that the module has not at all may be in the file; one that it has, only as it is.
    foreign = [p for p in optional if not any(fnmatch.fnmatchcase(key, p) for key in expected)]

    def matches(key: str, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)

    faults = {
        "missing": [key for key in expected if key not in state and not matches(key, optional)],
        "surplus": [key for key in state if key not in expected and not matches(key, foreign)],
        "misshapen": [
            f"{key} (file: {_form(state[key])}, model: {_form(wanted)})"
            for key, wanted in expected.items()
            if key in state and not _fits(state[key], wanted)
        ],
    }
    lines = [f"  {kind} ({len(keys)}): {_listed(keys)}" for kind, keys in faults.items() if keys]
    if lines:
        raise ValueError(
            f"{source}: does not fit {type(module).__name__} as its config describes it\n"
            + "\n".join(lines)
        )


def _fits(given: torch.Tensor, wanted: torch.Tensor) -> bool:
    same_kind = given.dtype == wanted.dtype or (
        given.is_floating_point() and wanted.is_floating_point()
    )
    return given.shape == wanted.shape and same_kind


def _form(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def _listed(names: Iterable[str]) -> str:
    keys = list(names)
    more = len(keys) - MAX_LISTED_KEYS
    return ", ".join(keys[:MAX_LISTED_KEYS]) + (f" and {more} more" if more > 0 else "")


def _unusable(wanted: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    value = float("nan") if wanted.is_floating_point() else 0
    return torch.full(wanted.shape, value, dtype=wanted.dtype, device=device)


def _check_nothing_on_meta(module: nn.Module) -> None:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    left = [name for name, tensor in tensors if tensor.is_meta]
    if left:
        raise RuntimeError(
            f"{type(module).__name__}: no values for {_listed(left)}; build it with `build_empty`, "
            "which makes the buffers that no file holds"
        )


class _SkipFilling(TorchFunctionMode):
    """Skips draws and weight norms of meta tensors, for which torch would import its compiler.

    That import takes seconds, and the results are values that nobody reads.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        tensor = kwargs.get("tensor", args[0] if args else None)
        if isinstance(tensor, torch.Tensor) and tensor.is_meta:
            if getattr(func, "__name__", "").endswith(("normal_", "uniform_")):
                return tensor
            if func is torch.norm_except_dim:
                return tensor.new_empty(_kept_dim(tensor, *args[2:]))
        return func(*args, **kwargs)


def _kept_dim(tensor: torch.Tensor, dim: int = 0) -> list[int]:
    """The shape of a norm over all dimensions but one; `dim` -1 is the norm of everything."""
    if dim == -1:
        return []
    return [size if index == dim else 1 for index, size in enumerate(tensor.shape)]


@contextlib.contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Every parameter registered by this thread loses its memory at once."""
    original = nn.Module.register_parameter
    thread = threading.get_ident()

    def register(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and threading.get_ident() == thread:
            param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        original(self, name, param)

    with _register_lock:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.register_parameter = original  # type: ignore[method-assign]
