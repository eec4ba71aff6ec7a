"""A job's folder: its voices, and every finished turn with its codes, audio and checksum."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.speech import AudioChunk, Turn
from fireredtts2.voices import Voice

logger = logging.getLogger(__name__)

PART_MARK = ".part"


class JobFolder:
    """What of a job is on disk. What it holds counts, whatever the store says.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results = path / "files"
        self._voices, self._turns = path / "voices", path / "turns"

    def create(self, voices: Mapping[str, Voice]) -> None:
        """Makes it, with the voices as they are now: a job is not changed by what comes later."""
        for folder in (self.path, self.results, self._voices, self._turns):
            folder.mkdir(parents=True, exist_ok=True)
        for speaker, voice in voices.items():
            voice.save(self._voices / f"{speaker}.safetensors")

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def clean(self) -> None:
        """Removes what a killed server was in the middle of writing."""
        for path in self.path.rglob(f".*{PART_MARK}*"):
            path.unlink(missing_ok=True)

    def remove_results(self) -> None:
        for path in self.results.iterdir():
            path.unlink()

    def voices(self) -> dict[str, Voice]:
        return {path.stem: Voice.load(path) for path in sorted(self._voices.glob("*.safetensors"))}

    @property
    def num_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())

    # --- Turns ------------------------------------------------------------------------------------

    def write(self, index: int, turn: Turn) -> int:
        """Keeps a turn, on the disk itself when this returns; how many bytes it takes.

        Raises:
            OSError: the disk is full, or the folder is gone; nothing is left half-written.
        """
        tensors = {"codes": turn.codes.contiguous().cpu(), "audio": turn.audio.contiguous()}
        about = {
            "speaker": turn.speaker,
            "text": turn.text,
            "start_s": turn.start_s,
            "end_s": turn.end_s,
            "was_cut": turn.was_cut,
            "piece_frames": turn.piece_frames,
        }
        text = json.dumps(about)
        metadata = {"turn": text, "sha256": _checksum(text, tensors)}
        with atomic_path(self._path(index)) as temporary:
            # NOTE: written through Python: what does not fit is an OSError with its number.
            temporary.write_bytes(save(tensors, metadata))
        return self._path(index).stat().st_size

    def read(self, index: int) -> Turn | None:
        """A turn; None where there is none, or it is damaged."""
        path = self._path(index)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in ("codes", "audio")}
            if metadata.get("sha256") != _checksum(metadata["turn"], tensors):
                raise ValueError("its checksum is wrong")
            about: dict[str, Any] = json.loads(metadata["turn"])
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError, KeyError) as error:
            logger.warning("%s is damaged (%s): the turn is made again", path.name, error)
            return None
        about["piece_frames"] = tuple(about["piece_frames"])
        return Turn(**about, **tensors)

    def turns(self) -> Iterator[Turn]:
        """The finished turns from the first on; those behind a missing one do not count."""
        index = 0
        while (turn := self.read(index)) is not None:
            yield turn
            index += 1

    def chunks(self) -> Iterator[AudioChunk]:
        """What was heard: turns with the pauses between, one turn in memory at a time."""
        num_samples = 0
        for index, turn in enumerate(self.turns()):
            num_silent = round(turn.start_s * OUTPUT_RATE_HZ) - num_samples
            if num_silent > 0:
                yield AudioChunk(torch.zeros(num_silent), index, turn.speaker)
            num_samples = round(turn.end_s * OUTPUT_RATE_HZ)
            yield AudioChunk(turn.audio, index, turn.speaker, is_turn_end=True, turn=turn)

    def _path(self, index: int) -> Path:
        return self._turns / f"{index:06}.safetensors"


def _checksum(text: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
