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
from fireredtts2.training.finetune.drafts import Draft, Drafter
from fireredtts2.training.finetune.material import Material
from fireredtts2.training.finetune.recipe import DataRecipe

POOL_SAMPLES = 512  # packed together; more would pack little better
TRAIN, VALIDATION = 0, 1


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
    """Makes the batches of every epoch from the data, and from what is replayed beside it.

    Every clip and every turn is learnt once an epoch, but for the first segments that
    `prompt_dropout` takes, and for what is by itself longer than a batch.
    """

    def __init__(
        self,
        materials: Sequence[Material],
        recipe: DataRecipe,
        seed: int,
        monologue: bool = False,
        kind: int = TRAIN,
    ) -> None:
        self.materials, self.recipe, self.seed = list(materials), recipe, seed
        self.kind = kind
        self.drafter = Drafter(self.materials, recipe, monologue, drops_prompts=kind == TRAIN)
        self._plan: tuple[int, list[list[Draft]]] | None = None
        if not self.plan(0):
            raise ValueError(
                f"{self.materials[0].name}: no sample fits into data.rows_per_batch "
                f"{recipe.rows_per_batch}; shorten the clips or raise it"
            )

    @property
    def num_too_long(self) -> int:
        """Clips and turns that are left out of the epoch planned last."""
        return self.drafter.num_too_long

    def plan(self, epoch: int) -> list[list[Draft]]:
        """The batches of an epoch, as lists of samples."""
        if self._plan is None or self._plan[0] != epoch:
            self._plan = (epoch, self._planned(epoch))
        return self._plan[1]

    def _planned(self, epoch: int) -> list[list[Draft]]:
        rng = np.random.default_rng([self.seed, self.kind, epoch])
        drafts: list[Draft] = []
        self.drafter.num_too_long = 0
        for material, sample in self._chosen(rng):
            own = np.random.default_rng([self.seed, self.kind, epoch, material, sample])
            drafts += self.drafter.drafts(material, sample, own)
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
            texts, codes = [self.drafter.joined_ids(draft.parts)], [torch.cat(codes, 1)]
        else:
            texts = [self.drafter.said(part).ids for part in draft.parts]
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
