"""A set's part: every text spoken in the voice of its prompt, never heard before."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fireredtts2.audio import read_audio
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.evaluation.clips import for_judges
from fireredtts2.evaluation.clone_sets import CloneItem, SetSource
from fireredtts2.evaluation.kept_scores import array_digest
from fireredtts2.evaluation.measures import REFERENCE
from fireredtts2.evaluation.mel_cepstrum import warped_mcd
from fireredtts2.evaluation.paper import with_paper
from fireredtts2.evaluation.parts import check_spoken, heard_by, speech_figures, turn_row
from fireredtts2.evaluation.report import Part
from fireredtts2.evaluation.scorer import Scorer
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.evaluation.synthesis import Item, SpokenTurn, Studio
from fireredtts2.voices import Voice


class VoiceMaker(Protocol):
    """The part of `FireRedTTS2` that makes voices."""

    def make_voice(self, name: str, wav: Any, text: str, adapt: bool = False) -> Voice: ...


class PromptVoices(Mapping[str, Voice]):
    """The voices of a set's prompts, each made when it is first asked for.

    Args:
        maker: makes them.
        items: of the set.
        adapt: whether the decoder is adapted to each.
    """

    def __init__(self, maker: VoiceMaker, items: Sequence[CloneItem], adapt: bool = False) -> None:
        self._maker, self._adapt = maker, adapt
        self._items = {item.voice_name: item for item in items}
        self._made: dict[str, Voice] = {}

    def __getitem__(self, name: str) -> Voice:
        if name not in self._made:
            item = self._items[name]
            self._made[name] = self._maker.make_voice(
                name, item.prompt, item.prompt_text, self._adapt
            )
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


def draw_items(items: Sequence[CloneItem], count: int, seed: int) -> list[CloneItem]:
    """At most `count` items drawn by `seed`, in the set's order; all of them for 0."""
    if not count or count >= len(items):
        return list(items)
    places = sorted(random.Random(seed).sample(range(len(items)), count))
    return [items[place] for place in places]


def clone_part(
    source: SetSource,
    items: Sequence[CloneItem],
    studio: Studio,
    scorer: Scorer,
    seed: int,
    language: str = "en",
) -> Part:
    """Word errors, likeness to the prompt, quality, prosody, and distance to the recording.

    A prompt that the model refuses as a voice (too long, silent, damaged) loses all words of its
    item, as a turn does that fails.

    Raises:
        ValueError: A text without a word, a reference recording that cannot be read, or the model
            refuses every item: that says nothing of how it speaks.
    """
    _check_texts(source, items, scorer)
    _check_references(source, items)
    name = source.part_name
    rows = []
    for number, item in enumerate(items):
        spoken_item = Item(
            f"{name}_{item.id}",
            (("S1", item.text),),
            {"S1": item.voice_name},
            seed * 1_000 + number,
        )
        turn = studio.spoken(spoken_item).turns[0]
        profiles = _profiles(item, scorer)
        rows.append(
            {
                **turn_row(turn, scorer.turn(turn, profiles)),
                "voice": item.prompt.name,
                "mcd": _mcd(item, turn, scorer),
                "audio_prompt": str(item.prompt.resolve()),
                "audio_reference": str(item.reference.resolve()) if item.reference else None,
            }
        )
    check_spoken(str(source.path), rows)
    figures = speech_figures(name, rows, REFERENCE)
    notes = [
        heard_by(scorer.judges),
        "The cosine is to the prompt's own recording, by resemblyzer; published tables use a WavLM "
        "verifier, whose cosines are other numbers.",
    ]
    if source.adapt:
        notes.append("The decoder was adapted to the voice of each prompt.")
    return Part(name, with_paper(figures, source.kind, language), rows, notes)


def _check_texts(source: SetSource, items: Sequence[CloneItem], scorer: Scorer) -> None:
    """Raises ValueError for texts in which nothing is left to be heard, before any is spoken."""
    silent = [item.id for item in items if not scorer.judges.normalize(item.text).split()]
    if silent:
        raise ValueError(f"{source.path}: no word in the text of {', '.join(silent)}")


def _check_references(source: SetSource, items: Sequence[CloneItem]) -> None:
    """Raises ValueError for recordings that nothing can be compared with, before any is spoken."""
    damaged = []
    for item in items:
        if item.reference is not None:
            try:
                read_audio(item.reference, INPUT_RATE_HZ)
            except ValueError as error:
                damaged.append(f"{item.id} ({error})")
    if damaged:
        raise ValueError(f"{source.path}: the reference cannot be read of {'; '.join(damaged)}")


def _profiles(item: CloneItem, scorer: Scorer) -> dict[str, VoiceProfile]:
    """The prompt's voice; none where it cannot be read, which the model has refused already."""
    try:
        prompt = read_audio(item.prompt, INPUT_RATE_HZ).numpy()
    except ValueError:
        return {}
    embedding = scorer.embedding(item.voice_name, prompt)
    if embedding is None:
        return {}
    return {item.voice_name: VoiceProfile(item.voice_name, embedding[None], "prompt")}


def _mcd(item: CloneItem, turn: SpokenTurn, scorer: Scorer) -> float | None:
    """Distance to the recording of the same text, where there is one."""
    if item.reference is None or not len(turn.audio):
        return None
    recording = read_audio(item.reference, INPUT_RATE_HZ).numpy()
    inputs = {"audio": array_digest(turn.audio), "recording": array_digest(recording)}
    spoken = for_judges(turn.audio, OUTPUT_RATE_HZ)
    return scorer.number(f"{turn.id}_mcd", inputs, lambda: warped_mcd(recording, spoken))


def make_studio(
    tts: Any, items: Sequence[CloneItem], folder: Path, model: str, adapt: bool = False
) -> Studio:
    """A studio that speaks in the voices of the set's prompts, which may be adapted to."""
    return Studio(tts, PromptVoices(tts, items, adapt), folder, model)
