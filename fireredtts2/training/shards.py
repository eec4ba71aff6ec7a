"""Data sets of codes and texts: safetensors shards with an index beside them.

A folder has `dataset.json` and shards `SPLIT-NNNNN.safetensors`. A shard has `codes` (Q, all
frames) int16 and `offsets` (segments + 1,) int64; segment k has frames `offsets[k]` to
`offsets[k + 1]`. Its metadata has `samples`, a JSON list; a sample of several segments is a
conversation. Of a shard only what is asked for is read.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.weights import check_readable, write_state

FORMAT, VERSION = "fireredtts2-dataset", 1
INDEX_NAME = "dataset.json"
SHARD_SAMPLES = 1_000


@dataclass(frozen=True, eq=False)
class Segment:
    """Something said.

    Attributes:
        speaker: "S1" to "S4", within its sample.
        text: as it was written.
        codes: (Q, frames) int16.
        voice: who speaks, across samples; None where unknown.
    """

    speaker: str
    text: str
    codes: Tensor
    voice: str | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """A clip, or a conversation in order.

    Attributes:
        id: of its own in the data set.
        segments: at least one.
        language: ISO 639-1; "" where unknown.
        source: where it came from, for people.
    """

    id: str
    segments: tuple[Segment, ...]
    language: str = ""
    source: str = ""


@dataclass(frozen=True)
class DatasetInfo:
    """What the codes of a data set are.

    Attributes:
        codec_id: fingerprint of the codec that made them.
        num_codebooks: Q.
        codebook_size: codes are below it.
        frame_rate_hz: frames a second.
    """

    codec_id: str
    num_codebooks: int
    codebook_size: int
    frame_rate_hz: float


class ShardWriter:
    """Writes the samples of one split, a shard at a time, each whole or not at all.

    A writer that is made again in the same folder goes on after the last whole shard: `written`
    names what need not be added again.

    Args:
        folder: of the data set.
        split: "train", "validation", ...
        shard_samples: in a shard.

    Example:
        >>> with ShardWriter("data", "train") as writer:  # doctest: +SKIP
        ...     writer.add(sample)
        >>> write_index("data", info)  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path, split: str, shard_samples: int = SHARD_SAMPLES) -> None:
        self._folder, self._split, self._shard_samples = Path(folder), split, shard_samples
        self._folder.mkdir(parents=True, exist_ok=True)
        shards = [Shard(path) for path in shard_paths(self._folder, split)]
        self.written = {row["id"] for shard in shards for row in shard.rows}
        self._pending: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Adds a sample; what fills a shard is written.

        Raises:
            ValueError: no segments, codes of a wrong shape, or an id that is there already.
            OSError: the disk is full; what was written before stays.
        """
        check(sample)
        if sample.id in self.written:
            raise ValueError(f"sample {sample.id!r} is there already")
        self.written.add(sample.id)
        self._pending.append(sample)
        if len(self._pending) >= self._shard_samples:
            self.flush()

    def flush(self) -> None:
        """Writes what is pending."""
        if not self._pending:
            return
        path = self._first_free_path()
        segments = [segment for sample in self._pending for segment in sample.segments]
        lengths = [segment.codes.shape[1] for segment in segments]
        tensors = {
            "codes": torch.cat([segment.codes.to(torch.int16) for segment in segments], 1),
            "offsets": torch.tensor([0, *accumulate(lengths)]),
        }
        metadata = {"format": FORMAT, "version": str(VERSION), "samples": _rows(self._pending)}
        with atomic_path(path) as temporary:
            write_state(temporary, tensors, metadata)
        self._pending.clear()

    def _first_free_path(self) -> Path:
        # NOTE: not the number of shards: a damaged one may have been removed from among them; in
        # its place the samples stand in the order that they had.
        paths = (self._folder / f"{self._split}-{n:05d}.safetensors" for n in count())
        return next(path for path in paths if not path.exists())

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()


class Shard:
    """One file, mapped into memory.

    Raises:
        PermissionError: it may not be read.
        ValueError: damaged, or not a shard.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_readable(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                offsets = file.get_tensor("offsets").tolist()
            self.rows: list[dict[str, Any]] = json.loads(metadata["samples"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"{path}: a damaged shard, or none ({error}). Where it is still being prepared, "
                "remove it and go on; a finished data set has to be prepared again in an empty "
                "folder"
            ) from None
        self._offsets = offsets

    def sample(self, number: int) -> Sample:
        """A sample with its codes."""
        row = self.rows[number]
        with safe_open(self.path, framework="pt") as file:
            codes = file.get_slice("codes")
            segments = tuple(
                Segment(
                    one["speaker"],
                    one["text"],
                    codes[:, self._offsets[one["index"]] : self._offsets[one["index"] + 1]],
                    one.get("voice"),
                )
                for one in row["segments"]
            )
        return Sample(row["id"], segments, row.get("language", ""), row.get("source", ""))

    @property
    def num_frames(self) -> int:
        return int(self._offsets[-1])


class Split(Sequence[Sample]):
    """The samples of one split, read as they are asked for."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._ends = list(accumulate(len(shard.rows) for shard in shards))

    @property
    def num_frames(self) -> int:
        """Of all segments."""
        return sum(shard.num_frames for shard in self._shards)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        place = bisect_right(self._ends, number)
        first = self._ends[place - 1] if place else 0
        return self._shards[place].sample(number - first)

    def __iter__(self) -> Iterator[Sample]:
        return (self[number] for number in range(len(self)))


@dataclass(frozen=True)
class Dataset:
    """A prepared folder.

    Attributes:
        folder: where it lies.
        info: what its codes are.
        splits: shard names of each.
        values: all of `dataset.json`.
    """

    folder: Path
    info: DatasetInfo
    splits: Mapping[str, Sequence[str]]
    values: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path) -> Dataset:
        """Reads a folder's index.

        Raises:
            ValueError: no data set, a damaged one, or of a later version.
        """
        path = Path(folder) / INDEX_NAME
        if not path.is_file():
            raise ValueError(
                f"{folder}: no data set: it has no {INDEX_NAME}; "
                "`fireredtts2 prepare` makes one, `write_index` one of shards"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["format"] != FORMAT or int(values["version"]) > VERSION:
                raise ValueError(f"{values['format']} version {values['version']}")
            info = DatasetInfo(
                values["codec_id"],
                int(values["num_codebooks"]),
                int(values["codebook_size"]),
                float(values["frame_rate_hz"]),
            )
            splits = {name: tuple(shards) for name, shards in values["splits"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a data set that is known here ({error!r})") from None
        return cls(Path(folder), info, splits, values)

    @property
    def codec_id(self) -> str:
        return self.info.codec_id

    @property
    def num_codebooks(self) -> int:
        return self.info.num_codebooks

    @property
    def codebook_size(self) -> int:
        return self.info.codebook_size

    def split(self, name: str) -> Split:
        """The samples of a split.

        Raises:
            ValueError: there is no such split, or one of its shards is missing or damaged.
        """
        if name not in self.splits:
            known = ", ".join(self.splits) or "none"
            raise ValueError(f"{self.folder}: no split {name!r}; there are: {known}")
        return Split([Shard(self.folder / shard) for shard in self.splits[name]])


def write_index(folder: str | Path, info: DatasetInfo, **more: Any) -> Dataset:
    """Writes `dataset.json` over the shards that are there; `more` is kept in it as it is."""
    root = Path(folder)
    names = sorted({path.name.rpartition("-")[0] for path in root.glob("*-?????.safetensors")})
    splits = {name: [path.name for path in shard_paths(root, name)] for name in names}
    shards = [Shard(root / shard) for shards in splits.values() for shard in shards]
    values = {
        "format": FORMAT,
        "version": VERSION,
        "codec_id": info.codec_id,
        "num_codebooks": info.num_codebooks,
        "codebook_size": info.codebook_size,
        "frame_rate_hz": info.frame_rate_hz,
        "splits": splits,
        "num_samples": sum(len(shard.rows) for shard in shards),
        "seconds": round(sum(shard.num_frames for shard in shards) / info.frame_rate_hz, 2),
        **more,
    }
    with atomic_path(root / INDEX_NAME) as temporary:
        Path(temporary).write_text(json.dumps(values, indent=1, ensure_ascii=False), "utf-8")
    return Dataset.open(root)


def shard_paths(folder: Path, split: str) -> list[Path]:
    """The shards of a split, in order."""
    return sorted(folder.glob(f"{split}-?????.safetensors"))


def check(sample: Sample) -> None:
    """Raises ValueError unless a sample can be written."""
    if not sample.segments:
        raise ValueError(f"sample {sample.id!r} has no segments")
    num_codebooks = {segment.codes.shape[0] for segment in sample.segments}
    for segment in sample.segments:
        if segment.codes.ndim != 2 or 0 in segment.codes.shape or len(num_codebooks) > 1:
            shapes = [tuple(one.codes.shape) for one in sample.segments]
            raise ValueError(f"sample {sample.id!r}: codes of shapes {shapes}; each must be (Q, T)")


def _rows(samples: Sequence[Sample]) -> str:
    rows, index = [], 0
    for sample in samples:
        segments = []
        for segment in sample.segments:
            row = {"speaker": segment.speaker, "text": segment.text, "index": index}
            segments.append(row if segment.voice is None else row | {"voice": segment.voice})
            index += 1
        rows.append(
            {
                "id": sample.id,
                "segments": segments,
                "language": sample.language,
                "source": sample.source,
            }
        )
    return json.dumps(rows, ensure_ascii=False)
