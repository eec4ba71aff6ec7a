"""What there is to learn from: the segments of a data set, their text as the model reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.text_frontend import TextFrontend

log = logging.getLogger(__name__)
NUM_TAGS = 4
END_ROWS = 1


class Split(Protocol):
    """One split of a data set."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True)
class Said:
    """One segment without its codes.

    Attributes:
        speaker: number of the tag, from 0.
        voice: who speaks, across samples; None where unknown.
        text: as the tokenizer gets it.
        ids: of the text with a tag (the first id) and marks.
        num_frames: of its audio.
    """

    speaker: int
    voice: str | None
    text: str
    ids: tuple[int, ...]
    num_frames: int

    @property
    def num_rows(self) -> int:
        return len(self.ids) + self.num_frames + END_ROWS


class TextReader:
    """Makes ids of texts, as inference does with this checkpoint."""

    def __init__(self, folder: CheckpointFolder) -> None:
        self.frontend = TextFrontend.from_checkpoint(folder)
        self.tokenizer = TextTokenizer.from_folder(folder.tokenizer_path)
        self.tags = tuple(self.tokenizer.encode(f"[S{n + 1}]")[0] for n in range(NUM_TAGS))

    def ids(self, prepared: str) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode_segment_text("[S1]", prepared))


class Material:
    """The samples of one split; codes are read when they are asked for."""

    def __init__(self, split: Split, reader: TextReader, num_codebooks: int, name: str) -> None:
        self.split, self.reader, self.name = split, reader, name
        self.num_codebooks = num_codebooks
        self.samples: list[tuple[Said, ...]] = []
        self.indices: list[int] = []
        for index, said in self._readable():
            self.samples.append(said)
            self.indices.append(index)
        self.by_voice: dict[str, list[int]] = {}
        for number, sample in enumerate(self.samples):
            if len(sample) == 1 and sample[0].voice is not None:
                self.by_voice.setdefault(sample[0].voice, []).append(number)

    def __len__(self) -> int:
        return len(self.samples)

    def _readable(self) -> Iterator[tuple[int, tuple[Said, ...]]]:
        refused: list[str] = []
        for index in range(len(self.split)):
            sample = self.split[index]
            try:
                yield index, tuple(self._said(segment) for segment in sample.segments)
            except ValueError as error:
                refused.append(f"{sample.id}: {error}")
        if refused:
            log.warning(
                "%s: %d samples left out, the first: %s", self.name, len(refused), refused[0]
            )

    def _said(self, segment: Any) -> Said:
        number = segment.speaker[1:]
        if not (segment.speaker.startswith("S") and number in ("1", "2", "3", "4")):
            raise ValueError(f"speaker {segment.speaker!r}; allowed: S1 to S4")
        codebooks, frames = segment.codes.shape
        if codebooks < self.num_codebooks:
            raise ValueError(f"{codebooks} codebooks; the model has {self.num_codebooks}")
        text = self.reader.frontend(segment.text)
        return Said(int(number) - 1, segment.voice, text, self.reader.ids(text), frames)

    def codes(self, sample: int, segment: int) -> Tensor:
        """Codes (Q, frames) int64 of a segment."""
        codes = self.split[self.indices[sample]].segments[segment].codes
        return codes[: self.num_codebooks].long()


def open_material(
    path: str, splits: Sequence[str], folder: CheckpointFolder, reader: TextReader
) -> dict[str, Material]:
    """The splits of a data set that are there.

    Raises:
        ValueError: not a data set, one of another codec, or one with nothing to learn from.
    """
    from fireredtts2.training.shards import Dataset

    dataset = Dataset.open(path)
    config = folder.llm_config
    check_codec(dataset, folder, path)
    found = {}
    for name in splits:
        if name in dataset.splits:
            split = dataset.split(name)
            found[name] = Material(split, reader, config.audio_num_codebooks, f"{path} {name}")
    if not len(found.get("train", ())):
        raise ValueError(f"{path}: nothing in its train split that this model can learn from")
    return found


def check_codec(dataset: Any, folder: CheckpointFolder, path: str) -> None:
    """Raises ValueError where the data set's codes are not those of the checkpoint."""
    config = folder.llm_config
    if dataset.num_codebooks < config.audio_num_codebooks:
        raise ValueError(
            f"{path}: codes of {dataset.num_codebooks} codebooks; the language model has "
            f"{config.audio_num_codebooks}: prepare it with the codec of this checkpoint"
        )
    if dataset.codebook_size > config.audio_vocab_size:
        raise ValueError(
            f"{path}: codes up to {dataset.codebook_size - 1}; the language model knows "
            f"{config.audio_vocab_size}: prepare it with the codec of this checkpoint"
        )
    if dataset.codec_id != folder.codec_id:
        raise ValueError(
            f"{path}: made with codec {dataset.codec_id}, {folder.path} has {folder.codec_id}: "
            "the codes mean something else; prepare it with the codec of this checkpoint"
        )
