"""Guidance: frames in step, the formula, and a student that comes to say what two models do."""

import copy

import pytest
import torch

from fireredtts2.training.guidance import (
    FrameLogits,
    GuidedBatch,
    frame_logits,
    guidance_loss,
    guided_batches,
    guided_log_probs,
)
from fireredtts2.training.llm_data import Clip, Composer, Mixture, TextMarks
from fireredtts2.training.train_guidance import BareTrainer, GuidanceConfig, GuidanceTrainer
from tests import tiny

MARKS = TextMarks(tags=(10, 11, 12, 13), start=14, end=15)


def turn(seed: int, frames: int, speaker: str = "a") -> tuple[int, Clip]:
    generator = torch.Generator().manual_seed(seed)
    shape = (tiny.NUM_CODEBOOKS, frames)
    codes = torch.randint(1, tiny.CODEBOOK_SIZE, shape, generator=generator)
    text = torch.randint(20, 90, (4 + seed % 3,), generator=generator).tolist()
    return 0, Clip(speaker, text, codes)


def batch() -> GuidedBatch:
    conversations = [[turn(0, 4), turn(1, 6)], [turn(2, 3)], [turn(n, 3) for n in (3, 4, 5)]]
    return GuidedBatch.of(conversations, MARKS)


def frames_of(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return tokens[:, 1:, :-1][mask[:, 1:, 0]]


def test_bare_segments_hold_the_same_frames_in_the_same_order() -> None:
    made = batch()
    whole = frames_of(made.tokens, made.mask)
    assert torch.equal(whole, frames_of(made.bare_tokens, made.bare_mask))
    assert len(whole) == 4 + 6 + 3 + 3 * 3 + 6  # and six ends
    assert made.bare_tokens.shape[0] == 6


def test_bare_segments_know_neither_text_nor_what_came_before() -> None:
    made = batch()
    text = made.bare_tokens[..., -1][made.bare_mask[..., -1]]
    assert set(text.tolist()) == {10, 14, 15}
    other = GuidedBatch.of([[turn(7, 5), turn(1, 6)]], MARKS)
    model = tiny.llm()
    first = frame_logits(model, made.bare_tokens, made.bare_mask).first[5 : 5 + 7]
    second = frame_logits(model, other.bare_tokens, other.bare_mask).first[6 : 6 + 7]
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)


def test_guidance_moves_away_from_what_is_likely_without_the_text() -> None:
    told = torch.tensor([0.5, 0.3, 0.2]).log()
    bare = torch.tensor([0.5, 0.1, 0.4]).log()
    torch.testing.assert_close(guided_log_probs(told, bare, 0.0), told)
    weights = torch.tensor([0.5**3 / 0.5**2, 0.3**3 / 0.1**2, 0.2**3 / 0.4**2])
    wanted = (weights / weights.sum()).log()
    torch.testing.assert_close(guided_log_probs(told, bare, 2.0), wanted)


def test_the_loss_is_zero_where_the_student_is_guided() -> None:
    generator = torch.Generator().manual_seed(0)

    def logits() -> FrameLogits:
        first = torch.randn(5, 8, generator=generator)
        depth = torch.randn(5, 3, 8, generator=generator)
        return FrameLogits(first, depth, torch.tensor([False, True, False, False, True]))

    told, bare = logits(), logits()
    depth = guided_log_probs(told.depth, bare.depth, 1.0)
    depth[told.is_end] = 0.0  # nobody looks there
    student = FrameLogits(guided_log_probs(told.first, bare.first, 1.0) + 3, depth, told.is_end)
    first, deep = guidance_loss(student, told, bare, 1.0)
    assert first.item() == pytest.approx(0, abs=1e-6)
    assert deep.item() == pytest.approx(0, abs=1e-6)
    worse, _ = guidance_loss(told, told, bare, 1.0)
    assert worse.item() > 0.01


def config(**changes: float) -> GuidanceConfig:
    return GuidanceConfig(**{"total_steps": 30, "scale": 1.0, "muon_rate": 0.01, **changes})


def guidance(**changes: float) -> GuidanceTrainer:
    return GuidanceTrainer(tiny.llm(), tiny.llm(), tiny.llm(seed=3), config(**changes))


def test_a_student_comes_to_say_what_two_models_say_together() -> None:
    trainer = guidance(code_noise=0.0)
    kept = copy.deepcopy([trainer.told.state_dict(), trainer.bare.state_dict()])
    rows = [trainer.step(batch()) for _ in range(30)]
    assert rows[-1]["first_code"] < 0.3 * rows[0]["first_code"]
    assert rows[-1]["depth"] < 0.5 * rows[0]["depth"]
    for model, before in zip((trainer.told, trainer.bare), kept, strict=True):
        assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())


def test_a_bare_model_learns_to_go_on() -> None:
    trainer = BareTrainer(tiny.llm(), config())
    rows = [trainer.step(batch()) for _ in range(30)]
    assert rows[-1]["first_code"] < 0.7 * rows[0]["first_code"]


def test_a_run_that_was_cut_equals_one_that_was_not() -> None:
    whole = guidance()
    for _ in range(5):
        whole.step(batch())
    first = guidance()
    for _ in range(2):
        first.step(batch())
    second = guidance()
    second.load(copy.deepcopy(first.state()))
    for _ in range(3):
        second.step(batch())
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_batches_are_drawn_as_the_model_itself_learnt() -> None:
    clips = [turn(n, 4 + n % 5, speaker)[1] for n in range(4) for speaker in ("a", "b")]
    composer, mixture = Composer(clips, MARKS), Mixture()
    drawn = guided_batches(composer, 160, 80, mixture, seed=1)
    again = guided_batches(composer, 160, 80, mixture, seed=1)
    for _ in range(20):
        made, same = next(drawn), next(again)
        assert torch.equal(made.tokens, same.tokens)
        assert made.tokens.shape[0] * made.tokens.shape[1] <= 160
        whole = frames_of(made.tokens, made.mask)
        assert torch.equal(whole, frames_of(made.bare_tokens, made.bare_mask))
