"""Tables that hold audio files: Parquet, and Arrow as `datasets` saves it. Needs pyarrow."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from fireredtts2.training.prepare.checks import Reason, RefusedError
from fireredtts2.training.prepare.recordings import AudioPlace, SourceError

PARQUET, ARROW = ".parquet", ".arrow"
#: Row groups of Parquet files are read whole: this many are kept.
GROUPS_KEPT = 2


def pyarrow(module: str) -> ModuleType:
    """A module of pyarrow.

    Raises:
        SourceError: it is not installed; says how to install it.
    """
    try:
        return importlib.import_module(f"pyarrow.{module}")
    except ModuleNotFoundError:
        raise SourceError(
            "Parquet and Arrow files need the package 'pyarrow'; install it with: "
            "pip install pyarrow"
        ) from None


def column_names(path: Path) -> list[str]:
    """The columns of a table."""
    if path.suffix == PARQUET:
        return list(pyarrow("parquet").ParquetFile(path).schema_arrow.names)
    return list(_arrow(path).column_names)


def holds_texts(path: Path, column: str) -> bool:
    """Whether a column has texts in it: of sounds, the names of files beside the table."""
    if path.suffix == PARQUET:
        kind = pyarrow("parquet").ParquetFile(path).schema_arrow.field(column).type
    else:
        kind = _arrow(path).schema.field(column).type
    types = pyarrow("types")
    return bool(types.is_string(kind) or types.is_large_string(kind))


def read_columns(path: Path, names: list[str]) -> list[dict[str, Any]]:
    """The rows of a table, of them only some columns."""
    if path.suffix == PARQUET:
        return list(pyarrow("parquet").ParquetFile(path).read(columns=names).to_pylist())
    return list(_arrow(path).select(names).to_pylist())


def read_cell(place: AudioPlace) -> bytes:
    """The audio file in a cell.

    Raises:
        RefusedError: the cell is empty, and no file has the name that it has.
    """
    assert place.row is not None
    value = _cell(place.path, place.row, place.column)
    if isinstance(value, bytes):
        return value
    data, name = (value or {}).get("bytes"), (value or {}).get("path")
    if data is not None:
        return bytes(data)
    beside = place.path.parent / name if name else None
    if beside is None or not beside.is_file():
        raise RefusedError(Reason.UNREADABLE, f"{place.path.name} row {place.row}: no audio in it")
    return beside.read_bytes()


def _cell(path: Path, row: int, column: str) -> Any:
    if path.suffix != PARQUET:
        return _arrow(path).column(column)[row].as_py()
    first = 0
    metadata = pyarrow("parquet").ParquetFile(path).metadata
    for group in range(metadata.num_row_groups):
        count = metadata.row_group(group).num_rows
        if row < first + count:
            return _group(path, group, column)[row - first].as_py()
        first += count
    raise IndexError(f"{path}: no row {row}")


@lru_cache(maxsize=GROUPS_KEPT)
def _group(path: Path, group: int, column: str) -> Any:
    file = pyarrow("parquet").ParquetFile(path)
    return file.read_row_group(group, columns=[column]).column(column)


@lru_cache(maxsize=GROUPS_KEPT)
def _arrow(path: Path) -> Any:
    """A table, mapped into memory."""
    source = importlib.import_module("pyarrow").memory_map(str(path))
    ipc = pyarrow("ipc")
    try:
        return ipc.open_stream(source).read_all()
    except Exception:  # pyarrow's own, which it also raises for the format's other kind of file
        return ipc.open_file(source).read_all()
