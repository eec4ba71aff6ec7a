"""Speaks the items of the evaluation and keeps the audio, so that a second run goes on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile

from fireredtts2.atomic_file import atomic_path
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.narration.errors import SpeechError
from fireredtts2.speech import Speech
from fireredtts2.voices import Voice

logger = logging.getLogger(__name__)
REFUSED = "refused: "  # begins the error of an item that the model did not even begin to speak


class Speaker(Protocol):
    """The part of `FireRedTTS2` that is measured."""

    def say(self, text: str, voice: Any = None, *, seed: int | None = None) -> Speech: ...

    def dialogue(
        self, script: Any, voices: Mapping[str, Any] | None = None, *, seed: int | None = None
    ) -> Speech: ...


@dataclass(frozen=True)
class Item:
    """What is spoken in one call: lines of (speaker tag, text), each tag with its voice."""

    id: str
    lines: tuple[tuple[str, str], ...]
    voices: Mapping[str, str]
    seed: int

    def as_json(self) -> dict[str, Any]:
        lines = [list(line) for line in self.lines]
        return {"id": self.id, "lines": lines, "voices": dict(self.voices), "seed": self.seed}


@dataclass(frozen=True)
class SpokenTurn:
    """A line and its audio (samples,) at 24 kHz; `error` says what the model itself reported."""

    id: str
    speaker: str
    voice: str
    text: str
    audio: np.ndarray
    error: str = ""


@dataclass(frozen=True)
class SpokenItem:
    """All turns of an item and the seconds that speaking them took."""

    turns: tuple[SpokenTurn, ...]
    wall_s: float

    @property
    def audio_s(self) -> float:
        return sum(len(turn.audio) for turn in self.turns) / OUTPUT_RATE_HZ


class Studio:
    """Speaks items and keeps them: `ID_N.wav` for every turn, `ID.json` when all are there.

    Args:
        tts: What speaks.
        voices: Voice name -> voice.
        folder: Where the files lie.
        model: Says which weights speak; audio of other weights is spoken anew.
    """

    def __init__(self, tts: Speaker, voices: Mapping[str, Voice], folder: Path, model: str) -> None:
        self._tts = tts
        self._voices = voices
        self._folder = folder
        self._model = model

    @property
    def voice_names(self) -> list[str]:
        return sorted(self._voices)

    def spoken(self, item: Item) -> SpokenItem:
        """The item's audio: from the folder, or spoken now and kept."""
        kept = self._load(item)
        if kept is None:
            self._save(item, self._speak(item))
            # What was kept, 16 bits, is judged: the same in this run and in one that goes on.
            kept = self._load(item)
        if kept is None:
            raise RuntimeError(f"{item.id}: what was just written cannot be read again")
        return kept

    def _speak(self, item: Item) -> SpokenItem:
        """Speaks; a turn that the model gives up on is recorded as failed, with those after it.

        So is an item that it refuses: a voice or a text that is beyond it.
        """
        start = time.perf_counter()
        failure = ""
        try:
            turns = self._call(item).turns
        except SpeechError as error:
            logger.warning("%s: %s", item.id, error)
            failure, turns = error.reason, error.turns
        except ValueError as error:
            logger.warning("%s: %s", item.id, error)
            failure, turns = f"{REFUSED}{error}", []
        wall_s = time.perf_counter() - start
        if len(turns) != len(item.lines) and not failure:
            raise RuntimeError(f"{item.id}: {len(item.lines)} lines came back as {len(turns)}")
        missing = len(item.lines) - len(turns)
        audio = [turn.audio.float().cpu().numpy() for turn in turns]
        audio += [np.zeros(0, dtype=np.float32)] * missing
        errors = ["cut at the time limit" if turn.was_cut else "" for turn in turns]
        return SpokenItem(_turns(item, audio, errors + [failure] * missing), wall_s)

    def _call(self, item: Item) -> Speech:
        if len(item.lines) == 1:
            speaker, text = item.lines[0]
            return self._tts.say(text, self._voices[item.voices[speaker]], seed=item.seed)
        script = [f"[{speaker}]{text}" for speaker, text in item.lines]
        voices = {speaker: self._voices[name] for speaker, name in item.voices.items()}
        return self._tts.dialogue(script, voices, seed=item.seed)

    def _load(self, item: Item) -> SpokenItem | None:
        record = self._folder / f"{item.id}.json"
        if not record.is_file():
            return None
        try:
            values = json.loads(record.read_text(encoding="utf-8"))
            if values["model"] != self._model or values["item"] != item.as_json():
                return None
            audio = [
                soundfile.read(self._wav(item, number), dtype="float32")[0]
                for number in range(len(item.lines))
            ]
            return SpokenItem(_turns(item, audio, values["errors"]), values["wall_s"])
        except (ValueError, KeyError, TypeError, soundfile.SoundFileError) as error:
            logger.warning("%s: cannot be used, spoken anew (%s)", record, error)
            return None

    def _save(self, item: Item, spoken: SpokenItem) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        record = self._folder / f"{item.id}.json"
        record.unlink(missing_ok=True)  # written last: it says that all turns are there
        for number, turn in enumerate(spoken.turns):
            soundfile.write(self._wav(item, number), turn.audio, OUTPUT_RATE_HZ, subtype="PCM_16")
        values = {
            "model": self._model,
            "item": item.as_json(),
            "wall_s": spoken.wall_s,
            "errors": [turn.error for turn in spoken.turns],
        }
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")

    def _wav(self, item: Item, number: int) -> Path:
        return self._folder / f"{item.id}_{number}.wav"


def _turns(
    item: Item, audio: Sequence[np.ndarray], errors: Sequence[str]
) -> tuple[SpokenTurn, ...]:
    return tuple(
        SpokenTurn(f"{item.id}_{number}", speaker, item.voices[speaker], text, sound, error)
        for number, ((speaker, text), sound, error) in enumerate(
            zip(item.lines, audio, errors, strict=True)
        )
    )
