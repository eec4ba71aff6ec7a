"""Composition, packing, guidance and one step of the language model's training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fireredtts2.training.attention_guide import (
    NO_TARGET,
    AttentionGuide,
    head_scores,
    heard_before,
    near_targets,
)
from fireredtts2.training.bad_steps import MAX_BAD_STEPS, TrainingDivergedError
from fireredtts2.training.code_noise import with_code_noise
from fireredtts2.training.llm_data import Clip, Composer, Mixture, TextMarks
from fireredtts2.training.muon import Muon, orthogonalize
from fireredtts2.training.run import save
from fireredtts2.training.schedule import trapezoid
from fireredtts2.training.train_llm import (
    CONVERSATION,
    LlmTrainConfig,
    LlmTrainer,
)
from tests import tiny

MARKS = TextMarks(tags=(10, 11, 12, 13), start=14, end=15)
LENGTH = 96


def make_clips(num_speakers: int = 3, each: int = 4) -> list[Clip]:
    rng = np.random.default_rng(0)
    clips = []
    for speaker in range(num_speakers):
        for _ in range(each):
            frames, units = int(rng.integers(4, 9)), int(rng.integers(3, 7))
            spoken = np.minimum(np.arange(frames), units - 1).astype(np.int16)
            codes = torch.from_numpy(rng.integers(1, tiny.CODEBOOK_SIZE, (4, frames)))
            clips.append(Clip(f"s{speaker}", rng.integers(20, 40, units).tolist(), codes, spoken))
    return clips


@pytest.fixture(scope="module")
def composer():
    return Composer(make_clips(), MARKS)


def test_a_dialogue_begins_with_a_prompt_of_each_speaker(composer):
    rng = np.random.default_rng(1)
    mixture = Mixture(single=0, same=0, dialogue=1, max_speakers=3)
    for _ in range(20):
        sample = composer.sample(mixture, rng)
        tags = [tag for tag, _ in sample]
        count = len(set(tags))
        assert tags[:count] == list(range(count))
        assert len(sample) > count
        voices = {tag: {clip.speaker for t, clip in sample if t == tag} for tag in tags}
        assert all(len(v) == 1 for v in voices.values())
        assert len(set.union(*voices.values())) == count


def test_no_clip_is_heard_twice_in_a_sample():
    """Nor a copy of it with another text: the answer would stand in the prompt."""
    clips = make_clips(num_speakers=2, each=2)
    spelt = [replace(clip, text_ids=[7], spoken=None) for clip in clips]
    few = Composer([*clips, *clips, *spelt], MARKS)
    rng = np.random.default_rng(0)
    for mixture in (Mixture(0, 1, 0), Mixture(0, 0, 1, max_turns=9)):
        for _ in range(50):
            sample = few.sample(mixture, rng)
            assert 2 <= len(sample) <= 4
            assert len({id(clip.codes) for _, clip in sample}) == len(sample)


def test_a_dialogue_has_up_to_as_many_turns_as_are_named(composer):
    rng = np.random.default_rng(0)
    mixture = Mixture(0, 0, 1, max_turns=2)
    assert {len(composer.sample(mixture, rng)) - 2 for _ in range(50)} == {1, 2}


def test_too_few_recordings_are_named_at_once():
    one = make_clips(num_speakers=1, each=1)
    with pytest.raises(ValueError, match="no speaker of 1 has two recordings"):
        Composer(one * 4, MARKS)
    lonely = Composer(make_clips(num_speakers=1), MARKS)
    with pytest.raises(ValueError, match="dialogues of 2 speakers"):
        lonely.batches(2 * LENGTH, LENGTH, CONVERSATION, seed=0)


def test_targets_name_the_row_of_the_unit_that_is_spoken(composer):
    clip = make_clips()[0]
    sample = composer.compose([(0, clip), (0, clip)])
    rows, targets = sample.rows, sample.targets
    one = len(clip.text_ids) + 3 + clip.codes.shape[1] + 1
    assert len(rows) == 2 * one
    for base in (0, one):
        end_mark = base + len(clip.text_ids) + 2
        assert rows.tokens[end_mark, -1] == MARKS.end
        for frame, unit in enumerate(clip.spoken):
            looked_at = int(targets[end_mark + frame])
            assert rows.tokens[looked_at, -1] == clip.text_ids[unit]
        assert targets[base + one - 2] == end_mark  # the end row is predicted from the last frame
    assert (targets == NO_TARGET).sum() == 2 * (one - clip.codes.shape[1] - 1)


def test_rows_know_their_speaker_and_segment(composer):
    first, other = make_clips()[0], make_clips()[-1]
    sample = composer.compose([(0, first), (1, other), (0, first)])
    one = len(first.text_ids) + 3 + first.codes.shape[1] + 1
    assert (sample.speakers[:one] == composer.speakers.index(first.speaker)).all()
    assert (sample.speakers[one:-one] == composer.speakers.index(other.speaker)).all()
    assert sample.segments.tolist() == sorted(sample.segments.tolist())
    assert sample.segments.unique(return_counts=True)[1].tolist() == [
        one,
        len(sample.rows) - 2 * one,
        one,
    ]


def test_what_was_heard_is_the_same_speakers_earlier_frames():
    speakers = torch.tensor([[7, 7, 3, 3, 7, 7, -1]])
    segments = torch.tensor([[0, 0, 1, 1, 2, 2, -1]])
    is_frame = torch.tensor([[False, True, False, True, False, True, False]])
    heard = heard_before(speakers, segments, is_frame)[0]
    assert heard.nonzero().tolist() == [[4, 1], [5, 1]]


def test_near_targets_are_the_target_and_its_neighbours_that_may_be_seen():
    near = near_targets(torch.tensor([[NO_TARGET, NO_TARGET, 0, 3]]))[0]
    assert near.nonzero().tolist() == [[2, 0], [2, 1], [3, 2], [3, 3]]


@pytest.mark.parametrize("head", range(4))
def test_guided_scores_are_those_of_the_attention(head):
    model = tiny.llm()
    config = model.backbone.config
    guide = AttentionGuide(model, (1,), head % config.num_heads)
    tokens = torch.ones(1, 6, 5, dtype=torch.int64)
    mask = torch.ones_like(tokens, dtype=torch.bool)
    model(tokens, mask)
    block, x, span = guide.inputs[0]
    attention = block.attn
    normed = block.sa_norm(x)
    split = (1, 6, -1, attention.head_dim)
    queries = span.rotate(attention.q_proj(normed).view(split))[:, :, guide.head]
    group = guide.head * config.num_kv_heads // config.num_heads
    keys = span.rotate(attention.k_proj(normed).view(split))[:, :, group]
    expected = (queries @ keys.mT / attention.head_dim**0.5).tril()
    made = head_scores(block, x, span, guide.head)
    assert torch.allclose(made.tril().nan_to_num(neginf=0.0), expected, atol=1e-5)
    assert (made.triu(1)[0][~torch.ones(6, 6).tril().bool()] == float("-inf")).all()


def test_batches_hold_whole_samples_of_about_one_length(composer):
    stream = composer.batches(3 * LENGTH, LENGTH, CONVERSATION, seed=0)
    for batch in (next(stream) for _ in range(8)):
        size, length, _ = batch.tokens.shape
        assert size * length <= 3 * LENGTH
        live = batch.mask.any(-1)
        assert live.float().mean() > 0.6
        assert live[:, 0].all()
        assert not (live[:, 1:] & ~live[:, :-1]).any()  # dead rows come last
        assert (batch.targets[~live] == NO_TARGET).all()
        last = live.sum(1) - 1
        assert (batch.tokens[torch.arange(size), last, :-1] == 0).all()  # an end row: none is cut
        rows = torch.arange(length).expand_as(live)
        pointed = batch.targets != NO_TARGET
        assert (batch.targets[pointed] <= rows[pointed]).all()


def test_noise_changes_a_share_of_the_codes_and_no_end(composer):
    batch = next(composer.batches(3 * LENGTH, LENGTH, CONVERSATION, seed=0))
    noisy = with_code_noise(batch.tokens, batch.mask, 0.5, torch.Generator().manual_seed(0))
    changed = noisy != batch.tokens
    frames = batch.mask[..., 0] & batch.tokens[..., :-1].any(-1)
    assert 0.3 < changed[frames][:, :-1].float().mean() < 0.5  # some draw the code they had
    assert not changed[~frames].any()
    assert not changed[..., -1].any()
    assert torch.equal(
        with_code_noise(batch.tokens, batch.mask, 0.0, torch.Generator()), batch.tokens
    )


def test_a_batch_must_hold_a_sample(composer):
    with pytest.raises(ValueError, match="batches of 95 rows"):
        next(composer.batches(LENGTH - 1, LENGTH, CONVERSATION, seed=0))


def test_samples_are_cut_by_turns_to_the_length(composer):
    rng = np.random.default_rng(0)
    mixture = Mixture(single=0, same=0, dialogue=1, max_turns=8)
    for _ in range(20):
        sample = composer._turns_within(LENGTH, mixture, rng)
        assert len(composer.compose(sample).rows) <= LENGTH
    with pytest.raises(ValueError, match="no sample of 12 rows"):
        composer._turns_within(12, mixture, rng)


def test_same_seed_same_batches(composer):
    first, second = (
        next(composer.batches(2 * LENGTH, LENGTH, CONVERSATION, seed=3)) for _ in range(2)
    )
    assert torch.equal(first.tokens, second.tokens)


def test_muon_makes_singular_values_alike():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 24, 8, generator=generator) * torch.tensor([5.0] + [0.5] * 7)
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_muon_goes_downhill():
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 8, generator=generator))
    optimizer = Muon([weight], lr=0.05, weight_decay=0.0)
    first = weight.square().sum().item()
    for _ in range(20):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert weight.square().sum().item() < 0.7 * first


def test_rate_warms_up_holds_and_falls():
    assert trapezoid(0, 30, 1000) < 0.1
    assert trapezoid(300, 30, 1000) == 1.0
    assert trapezoid(999, 30, 1000) < 0.01
    assert trapezoid(0, 0, 1000) == trapezoid(999, 30, 1000, cooldown_share=0.0) == 1.0


def trainer(**changes) -> LlmTrainer:
    layers = {"guide_layers": (1,), "prompt_layers": (1,)}
    config = LlmTrainConfig(rows_per_sequence=LENGTH, muon_rate=0.02, **layers, **changes)
    return LlmTrainer(tiny.llm(), config, num_speakers=3)


def test_steps_learn_a_batch_and_guide_the_head(composer):
    run = trainer(guide_weight=1.0)
    batch = next(composer.batches(2 * LENGTH, LENGTH, CONVERSATION, seed=0))
    first = run.step(batch)
    for _ in range(60):
        last = run.step(batch)
    assert last["first_code"] < first["first_code"]
    assert last["guide"] < 0.8 * first["guide"]
    assert not run.text_guide.inputs


def test_steps_learn_where_a_voice_was_heard_and_whose_it_is(composer):
    run = trainer(prompt_weight=1.0, voice_weight=1.0)
    batch = next(composer.batches(2 * LENGTH, LENGTH, replace(CONVERSATION, single=0), seed=0))
    first = run.step(batch)
    for _ in range(60):
        last = run.step(batch)
    assert last["prompt"] < 0.8 * first["prompt"]
    assert last["voice"] < 0.5 * first["voice"]
    assert not run.prompt_guide.inputs


def test_a_sample_without_a_prompt_has_nothing_to_recognise(composer):
    alone = Mixture(single=1, same=0, dialogue=0)
    losses = trainer().step(next(composer.batches(2 * LENGTH, LENGTH, alone, seed=0)))
    assert losses["prompt"] == losses["voice"] == 0
    assert losses["total"] > 0


def test_a_batch_without_alignments_is_learnt_without_guidance(composer):
    batch = next(composer.batches(2 * LENGTH, LENGTH, CONVERSATION, seed=0))
    losses = trainer().step(replace(batch, targets=torch.full_like(batch.targets, NO_TARGET)))
    assert losses["guide"] == 0
    assert losses["total"] > 0


def test_a_step_that_is_not_finite_changes_no_weight(composer, monkeypatch):
    batch = next(composer.batches(2 * LENGTH, LENGTH, CONVERSATION, seed=0))
    run = trainer()
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    whole = run.losses
    monkeypatch.setattr(run, "losses", lambda b: {n: v * float("nan") for n, v in whole(b).items()})
    run.step(batch)
    assert all(torch.equal(p, before[name]) for name, p in run.model.named_parameters())
    for _ in range(MAX_BAD_STEPS - 2):
        run.step(batch)
    with pytest.raises(TrainingDivergedError, match=f"{MAX_BAD_STEPS} steps in a row"):
        run.step(batch)
    monkeypatch.undo()
    run.step(batch)
    assert not all(torch.equal(p, before[name]) for name, p in run.model.named_parameters())


def test_a_saved_run_goes_on_exactly(composer, tmp_path):
    stream = composer.batches(2 * LENGTH, LENGTH, CONVERSATION, seed=0)
    batches = [next(stream) for _ in range(4)]
    whole = trainer()
    for batch in batches:
        expected = whole.step(batch)
    cut = trainer()
    for batch in batches[:2]:
        cut.step(batch)
    save(cut, tmp_path / "llm.pt")
    resumed = trainer(seed=9)
    resumed.load(torch.load(tmp_path / "llm.pt", weights_only=True))
    for batch in batches[2:]:
        last = resumed.step(batch)
    assert last == pytest.approx(expected, rel=1e-4)
    for name, value in resumed.average.state_dict().items():
        assert torch.allclose(value, whole.average.state_dict()[name], atol=1e-5), name
