"""Samples to be made: what comes before and around a clip, and where a conversation is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fireredtts2.training.finetune.material import NUM_TAGS, Material, Said
from fireredtts2.training.finetune.recipe import DataRecipe


@dataclass(frozen=True)
class Part:
    """One segment of a drawn sample: where it is from and the tag that it gets."""

    material: int
    sample: int
    segment: int
    tag: int


@dataclass(frozen=True)
class Draft:
    """A sample to be made. `joined`: its parts are one segment that goes on (monologue)."""

    parts: tuple[Part, ...]
    num_rows: int
    joined: bool = False


class Drafter:
    """Composes drafts that each fit into a batch.

    Attributes:
        num_too_long: clips and turns that were left out since they do not fit by themselves.
    """

    def __init__(
        self,
        materials: Sequence[Material],
        recipe: DataRecipe,
        monologue: bool,
        drops_prompts: bool,
    ) -> None:
        self.materials, self.recipe = materials, recipe
        self.monologue, self.drops_prompts = monologue, drops_prompts
        self.num_too_long = 0
        self._beside = [self._clips_that_fit(material) for material in materials]

    def _clips_that_fit(self, material: Material) -> dict[str, list[int]]:
        """By voice the single clips that may come beside another: not those longer than a batch."""
        limit = self.recipe.rows_per_batch
        fitting = {
            voice: [clip for clip in clips if material.samples[clip][0].num_rows <= limit]
            for voice, clips in material.by_voice.items()
        }
        return {voice: clips for voice, clips in fitting.items() if clips}

    def drafts(self, material: int, sample: int, rng: np.random.Generator) -> list[Draft]:
        """What a sample becomes: one draft, several where it is long, none where nothing fits."""
        segments = self.materials[material].samples[sample]
        if len(segments) == 1:
            return self._from_single(material, sample, rng)
        first = int(self.drops_prompts and rng.random() < self.recipe.prompt_dropout)
        tags = self._tags(rng)
        parts = [
            Part(material, sample, number, int(tags[said.speaker]))
            for number, said in enumerate(segments)
        ]
        if self._fits(self._measured(parts)):
            return [self._measured(parts[first:])]
        return self._cut(parts)

    def _cut(self, parts: Sequence[Part]) -> list[Draft]:
        """A long conversation as several that each fit; also cut where a turn fits into none."""
        pieces: list[list[Part]] = [[]]
        for part in parts:
            if not self._fits(self._measured([part])):
                self.num_too_long += 1
                pieces.append([])
            elif self._fits(self._measured([*pieces[-1], part])):
                pieces[-1].append(part)
            else:
                pieces.append([part])
        return [self._measured(piece) for piece in pieces if piece]

    def _from_single(self, material: int, sample: int, rng: np.random.Generator) -> list[Draft]:
        """A single clip, with as much around it as fits; nothing where it is itself too long."""
        for draft in self._around_single(material, sample, rng):
            if self._fits(draft):
                return [draft]
        self.num_too_long += 1
        return []

    def _around_single(self, material: int, sample: int, rng: np.random.Generator) -> list[Draft]:
        """A single clip: alone, after another of its voice, or in a conversation of two.

        The longest comes first; each that follows leaves something out, and the last is the clip.
        """
        recipe, source = self.recipe, self.materials[material]
        own = Part(material, sample, 0, source.samples[sample][0].speaker)
        kind = rng.random()
        prompt = self._same_voice(own, rng)
        tags = self._tags(rng)
        tag, other_tag = int(tags[own.tag]), int(tags[(own.tag + 1) % NUM_TAGS])
        own = Part(material, sample, 0, tag)
        alone = self._measured([own])
        if prompt is None or kind >= recipe.prompt_share + recipe.dialogue_share:
            return [alone]
        before = Part(material, prompt, 0, tag)
        prompted = [self._measured([before, own], joined=self.monologue), alone]
        if self.monologue or kind < recipe.prompt_share:
            return prompted
        pair = [Part(material, o, 0, other_tag) for o in self._other_voice(own, rng)]
        talks = [[before, *pair[:1], own, *pair[1:length]] for length in range(len(pair), 0, -1)]
        return [*map(self._measured, talks), *prompted]

    def _tags(self, rng: np.random.Generator) -> np.ndarray:
        drawn = rng.permutation(NUM_TAGS)
        return drawn if self.recipe.shuffle_tags else np.arange(NUM_TAGS)

    def _same_voice(self, own: Part, rng: np.random.Generator) -> int | None:
        clips = self._beside[own.material].get(self.said(own).voice or "", ())
        others = [s for s in clips if s != own.sample]
        return others[int(rng.integers(len(others)))] if others else None

    def _other_voice(self, own: Part, rng: np.random.Generator) -> list[int]:
        """Two clips, or one, of another voice; none where there is no other."""
        voice, by_voice = self.said(own).voice, self._beside[own.material]
        voices = [v for v in by_voice if v != voice]
        if not voices:
            return []
        clips = by_voice[voices[int(rng.integers(len(voices)))]]
        return [int(i) for i in rng.permutation(clips)[:2]]

    def said(self, part: Part) -> Said:
        return self.materials[part.material].samples[part.sample][part.segment]

    def _measured(self, parts: Sequence[Part], joined: bool = False) -> Draft:
        if not joined:
            return Draft(tuple(parts), sum(self.said(part).num_rows for part in parts))
        frames = sum(self.said(part).num_frames for part in parts)
        return Draft(tuple(parts), len(self.joined_ids(parts)) + frames + 1, joined=True)

    def joined_ids(self, parts: Sequence[Part]) -> tuple[int, ...]:
        """Ids of the texts as one, as inference puts a prompt before its text (SPEC section 6)."""
        first, second = (self.said(part).text for part in parts)
        return self.materials[parts[0].material].reader.ids(f"{first[:-1]},{second}")

    def _fits(self, draft: Draft) -> bool:
        return draft.num_rows <= self.recipe.rows_per_batch
