"""Packed batches: no attention across samples, and the same ones wherever a run goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.training.finetune.material import TextReader, open_material
from fireredtts2.training.finetune.packing import Packer, with_code_noise
from fireredtts2.training.finetune.recipe import DataRecipe
from fireredtts2.training.losses import dual_transformer_loss
from fireredtts2.training.shards import DatasetInfo, Sample, Segment, ShardWriter, write_index
from tests import tiny

MakePacker = Callable[..., Packer]
LIMIT = 64


@pytest.fixture
def packer(tiny_checkpoint: Path, dataset: Path) -> MakePacker:
    folder = CheckpointFolder(tiny_checkpoint)

    def made(monologue: bool = False, **changes: Any) -> Packer:
        material = open_material(str(dataset), ["train"], folder, TextReader(folder))
        options = {"rows_per_batch": 160, **changes}
        recipe = DataRecipe(str(dataset), **options)
        return Packer([material["train"]], recipe, 3, monologue)

    return made


@pytest.fixture
def packer_of(tiny_checkpoint: Path, tmp_path: Path) -> MakePacker:
    """A packer of batches of `LIMIT` rows for samples of given turns: (voice, frames) each."""
    folder = CheckpointFolder(tiny_checkpoint)

    def made(
        samples: list[list[tuple[str, int]]], monologue: bool = False, **changes: Any
    ) -> Packer:
        path = tmp_path / "long"
        with ShardWriter(path, "train") as writer:
            for number, turns in enumerate(samples):
                segments = (
                    Segment(f"S{'ab'.index(voice) + 1}", "Yes.",
                            torch.ones(tiny.NUM_CODEBOOKS, frames), voice)
                    for voice, frames in turns
                )  # fmt: skip
                writer.add(Sample(f"sample-{number}", tuple(segments)))
        info = DatasetInfo(folder.codec_id, tiny.NUM_CODEBOOKS, tiny.CODEBOOK_SIZE, 12.5)
        write_index(path, info)
        material = open_material(str(path), ["train"], folder, TextReader(folder))
        recipe = DataRecipe(str(path), **{"rows_per_batch": LIMIT, **changes})
        return Packer([material["train"]], recipe, 3, monologue)

    return made


def drafts_of(packer: Packer, epoch: int) -> list[list[tuple[int, int]]]:
    """(sample, turn) of every part of every draft; all fit."""
    drafts = [draft for pack in packer.plan(epoch) for draft in pack]
    assert all(len(packer._rows(draft)) == draft.num_rows <= LIMIT for draft in drafts)
    return [[(part.sample, part.segment) for part in draft.parts] for draft in drafts]


def test_packed_losses_equal_unpacked_ones(packer: MakePacker) -> None:
    packed = packer()
    model = tiny.llm()
    for index, drafts in enumerate(packed.plan(0)):
        pack = packed.pack(0, index)
        frames, ids = [], pack.segment_ids[0]
        sums = torch.zeros(3, dtype=torch.float64)
        counts = torch.zeros(3, dtype=torch.float64)
        for number in range(len(drafts)):
            rows = ids == number
            tokens, mask = pack.tokens[:, rows], pack.mask[:, rows]
            alone = dual_transformer_loss(model, tokens, mask, depth_fraction=1.0)
            num_frames = int(mask[..., 0].sum())
            text = (mask[0, 1:, -1] & mask[0, :-1, -1] & (tokens[0, 1:, -1] != 0)).sum()
            weights = torch.tensor([num_frames, num_frames, int(text)], dtype=torch.float64)
            values = torch.stack((alone.first_code, alone.depth, alone.text)).double()
            sums += weights * values.detach()
            counts += weights
            frames.append(num_frames)
        whole = dual_transformer_loss(
            model, pack.tokens, pack.mask, segment_ids=pack.segment_ids, depth_fraction=1.0
        )
        got = torch.stack((whole.first_code, whole.depth, whole.text)).detach().double()
        torch.testing.assert_close(got, sums / counts, rtol=1e-5, atol=1e-5)


def test_a_sample_does_not_see_its_neighbour(packer: MakePacker) -> None:
    pack = packer().pack(0, 0)
    model = tiny.llm()
    assert int(pack.segment_ids.max()) >= 1
    changed = pack.tokens.clone()
    first = pack.segment_ids[0] == 0
    changed[0, first, -1] = (changed[0, first, -1] + 1) % tiny.TEXT_VOCAB
    from fireredtts2.llm.prompt import packed_attention, packed_positions

    ids = pack.segment_ids
    hidden = [
        model(tokens, pack.mask, packed_attention(ids), packed_positions(ids))[0]
        for tokens in (pack.tokens, changed)
    ]
    torch.testing.assert_close(hidden[0][~first], hidden[1][~first], rtol=0, atol=0)
    assert not torch.equal(hidden[0][first], hidden[1][first])


def test_every_sample_comes_once_an_epoch(packer: MakePacker) -> None:
    made = packer(rows_per_batch=400)
    for epoch in (0, 1):
        last = [draft.parts[-1].sample for pack in made.plan(epoch) for draft in pack]
        assert len(last) == len(made.materials[0])
        assert made.num_too_long == 0
    assert made.plan(0) != made.plan(1)


def test_batches_do_not_depend_on_what_was_drawn_before(packer: MakePacker) -> None:
    one, other = packer(), packer()
    one.pack(0, 0)
    late = one.pack(2, 1)
    assert torch.equal(late.tokens, other.pack(2, 1).tokens)


def test_batches_hold_no_more_rows_than_allowed(packer: MakePacker) -> None:
    made = packer(rows_per_batch=64)
    for index in range(len(made.plan(0))):
        assert made.pack(0, index).tokens.shape[1] == 64


def test_prompts_are_of_the_same_voice_and_tag(packer: MakePacker) -> None:
    made = packer(prompt_share=1.0, dialogue_share=0.0, rows_per_batch=400)
    material = made.materials[0]
    pairs = [d for pack in made.plan(0) for d in pack if len(material.samples[d.parts[-1].sample])
             == 1]  # fmt: skip
    assert pairs
    for draft in pairs:
        before, own = draft.parts
        assert before.sample != own.sample
        assert before.tag == own.tag
        voices = [material.samples[p.sample][0].voice for p in draft.parts]
        assert voices[0] == voices[1]


def test_monologue_goes_on_in_one_segment(packer: MakePacker) -> None:
    made = packer(monologue=True, prompt_share=1.0, dialogue_share=0.0, rows_per_batch=400)
    draft = next(d for pack in made.plan(0) for d in pack if d.joined)
    rows = made._rows(draft)
    assert len(rows) == draft.num_rows
    is_end = rows.mask[:, 0] & ~rows.tokens[:, :-1].any(-1)
    assert is_end.nonzero()[:, 0].tolist() == [len(rows) - 1]


def test_noise_leaves_ends_and_text_alone(packer: MakePacker) -> None:
    pack = packer().pack(0, 0)
    noisy = with_code_noise(pack, 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(noisy[~pack.is_frame], pack.tokens[~pack.is_frame])
    assert not torch.equal(noisy, pack.tokens)


@pytest.mark.parametrize("monologue", [False, True])
def test_a_clip_is_learnt_whatever_its_prompt_is(packer_of: MakePacker, monologue: bool) -> None:
    """Two clips that fit alone but not together, and one that is itself too long."""
    made = packer_of([[("a", 40)], [("a", 45)], [("a", 200)]], monologue,
                     prompt_share=1.0, dialogue_share=0.0)  # fmt: skip
    for epoch in range(6):
        assert sorted(drafts_of(made, epoch)) == [[(0, 0)], [(1, 0)]]
        assert made.num_too_long == 1


def test_what_is_too_long_is_not_drawn_as_a_prompt(packer_of: MakePacker) -> None:
    """There is always a short one to be drawn in its place."""
    made = packer_of([[("a", 5)], [("a", 6)], *([[("a", 200)]] * 6)],
                     prompt_share=1.0, dialogue_share=0.0)  # fmt: skip
    for epoch in range(4):
        assert sorted(drafts_of(made, epoch)) == [[(0, 0), (1, 0)], [(1, 0), (0, 0)]]


def test_a_clip_in_a_conversation_is_learnt_whatever_is_around_it(packer_of: MakePacker) -> None:
    """Turns of the other voice go first, the prompt at last, the clip never."""
    clips = [("a", 5), ("a", 4), ("a", 38), ("a", 52), ("b", 3), ("b", 4), ("b", 40)]
    made = packer_of([[clip] for clip in clips], prompt_share=0.0, dialogue_share=1.0)
    shapes = set()
    for epoch in range(8):
        drafts = drafts_of(made, epoch)
        own = [draft[2 if len(draft) > 2 else -1][0] for draft in drafts]
        assert sorted(own) == list(range(len(clips)))
        assert made.num_too_long == 0
        for draft, clip in zip(drafts, own, strict=True):
            if len(draft) > 1:
                assert clips[draft[0][0]][0] == clips[clip][0]
        shapes |= {len(draft) for draft in drafts}
    assert {1, 2, 4} <= shapes


def test_all_turns_of_a_long_conversation_are_learnt(packer_of: MakePacker) -> None:
    lengths = [14, 15, 16, 17, 200, 16, 17, 18, 19, 20]
    talk = [("ab"[number % 2], frames) for number, frames in enumerate(lengths)]
    made = packer_of([talk, [("a", 5), ("b", 5)]], prompt_dropout=0.5)
    again = packer_of([], prompt_dropout=0.5)
    for epoch in range(6):
        pieces = sorted(draft for draft in drafts_of(made, epoch) if draft[0][0] == 0)
        turns = [turn for piece in pieces for _, turn in piece]
        assert turns == [turn for turn in range(len(talk)) if turn != 4]
        # What was said before a turn is what comes before it, and as much as fits.
        assert all(piece[-1][1] - piece[0][1] == len(piece) - 1 for piece in pieces)
        assert len(pieces) == 5
        assert made.num_too_long == 1
        late = again.plan(epoch + 1)
        assert again.plan(epoch) == made.plan(epoch) != late


def test_too_long_samples_are_said(packer: MakePacker) -> None:
    with pytest.raises(ValueError, match="no sample fits"):
        packer(rows_per_batch=16)


def test_another_codec_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from tests.training.finetune.conftest import write_dataset

    folder = CheckpointFolder(tiny_checkpoint)
    other = write_dataset(tmp_path / "other", "0123456789abcdef")
    with pytest.raises(ValueError, match="made with codec 0123456789abcdef"):
        open_material(str(other), ["train"], folder, TextReader(folder))
