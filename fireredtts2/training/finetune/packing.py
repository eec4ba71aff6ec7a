"""Packed batches: samples composed anew every epoch, laid one after the other into rows.

Everything drawn depends on (seed, epoch, place) alone, never on what was drawn before, so a run
can go on anywhere and any number of processes sees the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.llm.prompt import PADDING_SEGMENT, Rows, Segment, segment_rows
from fireredtts2.training.finetune.material import NUM_TAGS, Material, Said
from fireredtts2.training.finetune.recipe import DataRecipe

POOL_SAMPLES = 512  # packed together; more would pack little better
TRAIN, VALIDATION = 0, 1


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


@dataclass(frozen=True)
class Pack:
    """One packed batch: tokens and mask (1, T, Q+1), sample numbers (1, T)."""

    tokens: Tensor
    mask: Tensor
    segment_ids: Tensor

    @property
    def is_frame(self) -> Tensor:
        """(1, T) bool: rows that hold codes, without the ends of turns."""
        return self.mask[..., 0] & self.tokens[..., :-1].any(-1)

    @property
    def num_frames(self) -> int:
        return int(self.mask[..., 0].sum())


class Packer:
    """Makes the batches of every epoch from the data, and from what is replayed beside it."""

    def __init__(
        self,
        materials: Sequence[Material],
        recipe: DataRecipe,
        seed: int,
        monologue: bool = False,
        kind: int = TRAIN,
    ) -> None:
        self.materials, self.recipe, self.seed = list(materials), recipe, seed
        self.monologue, self.kind = monologue, kind
        self._plan: tuple[int, list[list[Draft]]] | None = None
        self.num_too_long = 0
        if not self.plan(0):
            raise ValueError(
                f"{self.materials[0].name}: no sample fits into data.rows_per_batch "
                f"{recipe.rows_per_batch}; shorten the clips or raise it"
            )

    def plan(self, epoch: int) -> list[list[Draft]]:
        """The batches of an epoch, as lists of samples."""
        if self._plan is None or self._plan[0] != epoch:
            self._plan = (epoch, self._planned(epoch))
        return self._plan[1]

    def _planned(self, epoch: int) -> list[list[Draft]]:
        rng = np.random.default_rng([self.seed, self.kind, epoch])
        drafts, self.num_too_long = [], 0
        for material, sample in self._chosen(rng):
            own = np.random.default_rng([self.seed, self.kind, epoch, material, sample])
            draft = self._fitted(self._draft(material, sample, own))
            if draft is None:
                self.num_too_long += 1
            else:
                drafts.append(draft)
        packs: list[list[Draft]] = []
        for begin in range(0, len(drafts), POOL_SAMPLES):
            pool = drafts[begin : begin + POOL_SAMPLES]
            packs += first_fit(pool, self.recipe.rows_per_batch)
        return [packs[i] for i in rng.permutation(len(packs))]

    def _chosen(self, rng: np.random.Generator) -> list[tuple[int, int]]:
        """(material, sample) of an epoch: all of the first, some of the replayed."""
        chosen = [(0, sample) for sample in range(len(self.materials[0]))]
        if len(self.materials) > 1:
            share = self.recipe.replay_share
            count = round(len(chosen) * share / (1 - share))
            size = len(self.materials[1])
            chosen += [(1, int(i)) for i in rng.choice(size, count, replace=count > size)]
        return [chosen[i] for i in rng.permutation(len(chosen))]

    def _draft(self, material: int, sample: int, rng: np.random.Generator) -> Draft:
        segments = self.materials[material].samples[sample]
        if len(segments) == 1:
            return self._from_single(material, sample, rng)
        first = int(self.kind == TRAIN and rng.random() < self.recipe.prompt_dropout)
        tags = self._tags(rng)
        parts = [
            Part(material, sample, number, int(tags[segments[number].speaker]))
            for number in range(first, len(segments))
        ]
        return self._measured(parts)

    def _from_single(self, material: int, sample: int, rng: np.random.Generator) -> Draft:
        """A single clip: alone, after another of its voice, or in a conversation of two."""
        recipe, source = self.recipe, self.materials[material]
        own = Part(material, sample, 0, source.samples[sample][0].speaker)
        kind = rng.random()
        prompt = self._same_voice(own, rng)
        tags = self._tags(rng)
        tag, other_tag = int(tags[own.tag]), int(tags[(own.tag + 1) % NUM_TAGS])
        own = Part(material, sample, 0, tag)
        if prompt is None or kind >= recipe.prompt_share + recipe.dialogue_share:
            return self._measured([own])
        before = Part(material, prompt, 0, tag)
        if self.monologue:
            return self._measured([before, own], joined=True)
        if kind < recipe.prompt_share:
            return self._measured([before, own])
        other = self._other_voice(own, rng)
        if other is None:
            return self._measured([before, own])
        pair = [Part(material, o, 0, other_tag) for o in other]
        return self._measured([before, pair[0], own, *pair[1:]])

    def _tags(self, rng: np.random.Generator) -> np.ndarray:
        drawn = rng.permutation(NUM_TAGS)
        return drawn if self.recipe.shuffle_tags else np.arange(NUM_TAGS)

    def _same_voice(self, own: Part, rng: np.random.Generator) -> int | None:
        source = self.materials[own.material]
        voice = source.samples[own.sample][0].voice
        others = [s for s in source.by_voice.get(voice or "", ()) if s != own.sample]
        return others[int(rng.integers(len(others)))] if others else None

    def _other_voice(self, own: Part, rng: np.random.Generator) -> list[int] | None:
        """Two clips, or one, of another voice."""
        source = self.materials[own.material]
        voices = [v for v in source.by_voice if v != source.samples[own.sample][0].voice]
        if not voices:
            return None
        clips = source.by_voice[voices[int(rng.integers(len(voices)))]]
        return [int(i) for i in rng.permutation(clips)[:2]]

    def _said(self, part: Part) -> Said:
        return self.materials[part.material].samples[part.sample][part.segment]

    def _measured(self, parts: Sequence[Part], joined: bool = False) -> Draft:
        if not joined:
            return Draft(tuple(parts), sum(self._said(part).num_rows for part in parts))
        frames = sum(self._said(part).num_frames for part in parts)
        return Draft(tuple(parts), len(self._joined_ids(parts)) + frames + 1, joined=True)

    def _joined_ids(self, parts: Sequence[Part]) -> tuple[int, ...]:
        """Ids of the texts as one, as inference puts a prompt before its text (SPEC section 6)."""
        first, second = (self._said(part).text for part in parts)
        return self.materials[parts[0].material].reader.ids(f"{first[:-1]},{second}")

    def _fitted(self, draft: Draft) -> Draft | None:
        """The draft without the last turns that do not fit; None where nothing is left."""
        limit = self.recipe.rows_per_batch
        if draft.joined and draft.num_rows > limit:
            draft = self._measured(draft.parts[1:])
        while draft.num_rows > limit and len(draft.parts) > 1:
            draft = self._measured(draft.parts[:-1])
        return draft if draft.num_rows <= limit else None

    def pack(self, epoch: int, index: int) -> Pack:
        """One batch of an epoch."""
        rows = [self._rows(draft) for draft in self.plan(epoch)[index]]
        lengths = torch.tensor([len(part) for part in rows])
        ids = torch.arange(len(rows)).repeat_interleave(lengths)
        joined = Rows.concatenate(rows)
        spare = max(0, self.recipe.rows_per_batch - len(joined))
        return Pack(
            F.pad(joined.tokens, (0, 0, 0, spare))[None],
            F.pad(joined.mask, (0, 0, 0, spare))[None],
            F.pad(ids, (0, spare), value=PADDING_SEGMENT)[None],
        )

    def _rows(self, draft: Draft) -> Rows:
        sources = [self.materials[part.material] for part in draft.parts]
        codes = [s.codes(p.sample, p.segment) for s, p in zip(sources, draft.parts, strict=True)]
        tags = [sources[0].reader.tags[part.tag] for part in draft.parts]
        if draft.joined:
            texts, codes = [self._joined_ids(draft.parts)], [torch.cat(codes, 1)]
        else:
            texts = [self._said(part).ids for part in draft.parts]
        return Rows.concatenate(
            segment_rows(Segment([tags[i], *ids[1:]], codes[i]), len(codes[i]))
            for i, ids in enumerate(texts)
        )


def first_fit(drafts: Sequence[Draft], num_rows: int) -> list[list[Draft]]:
    """Bins of at most `num_rows` rows each, the longest first."""
    bins: list[list[Draft]] = []
    free: list[int] = []
    for draft in sorted(drafts, key=lambda draft: -draft.num_rows):
        place = next((i for i, room in enumerate(free) if room >= draft.num_rows), len(bins))
        if place == len(bins):
            bins.append([])
            free.append(num_rows)
        bins[place].append(draft)
        free[place] -= draft.num_rows
    return bins


def with_code_noise(pack: Pack, share: float, generator: torch.Generator) -> Tensor:
    """Rows in which single codes are those of another frame of the batch; end rows stay."""
    codes, is_frame = pack.tokens[..., :-1], pack.is_frame
    frames = codes[is_frame]
    drawn = frames[torch.randperm(len(frames), generator=generator)]
    is_noisy = torch.rand(frames.shape, generator=generator) < share
    noisy = pack.tokens.clone()
    noisy[..., :-1][is_frame] = torch.where(is_noisy, drawn, frames)
    return noisy
