"""The training loss equals the published one, without its faults, packed or not."""

import pytest
import torch
from torch import Tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.prompt import PADDING_SEGMENT, Segment, context_rows, pad_rows
from fireredtts2.training.losses import (
    DualTransformerLosses,
    draw_depth_indices,
    dual_transformer_loss,
)
from tests.llm import golden
from tests.reference import needs_reference

GOLDENS = [golden.sharp, pytest.param(golden.init, marks=needs_reference)]


def as_tensor(losses: DualTransformerLosses) -> Tensor:
    return torch.stack((losses.total, losses.text, losses.first_code, losses.depth))


@pytest.mark.parametrize("load", GOLDENS)
def test_losses_equal_published_with_given_frames(load) -> None:
    model, numbers, _ = load()
    losses = dual_transformer_loss(
        model,
        numbers["train_tokens"],
        numbers["train_mask"],
        depth_indices=numbers["train_subset_indices"],
    )
    assert (as_tensor(losses) - numbers["train_losses"]).abs().max() < 1e-4


@pytest.mark.parametrize("load", GOLDENS)
def test_seeded_losses_and_gradients_equal_published(load) -> None:
    model, numbers, facts = load()
    model.requires_grad_(True)
    torch.manual_seed(1234)
    losses = dual_transformer_loss(model, numbers["train_tokens"], numbers["train_mask"])
    losses.total.backward()
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    model.requires_grad_(False)
    model.zero_grad(set_to_none=True)
    assert (as_tensor(losses).detach() - numbers["train_losses"]).abs().max() < 1e-4
    assert norms == pytest.approx(facts["train"]["grad_norms"], abs=1e-4)


def test_a_generator_of_ones_own_gives_the_same_draw() -> None:
    _, numbers, _ = golden.sharp()
    indices = draw_depth_indices(57, 1 / 8, torch.Generator().manual_seed(1234))
    assert torch.equal(indices, numbers["train_subset_indices"])


def sample(seed: int, num_text: int, num_frames: int) -> Segment:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(1, 40, (num_text,), generator=generator).tolist()
    return Segment(text, torch.randint(1, 16, (5, num_frames), generator=generator))


SAMPLES = [sample(0, 4, 9), sample(1, 6, 3), sample(2, 2, 5)]


def loss_alone(model: DualTransformer, segment: Segment) -> DualTransformerLosses:
    rows = context_rows([segment], 5)
    return dual_transformer_loss(model, rows.tokens[None], rows.mask[None], depth_fraction=1.0)


def test_packed_samples_equal_samples_alone() -> None:
    """Neither attention nor targets cross from one sample into another."""
    model = golden.tiny_model()
    packed = context_rows(SAMPLES, 5)
    ids = torch.cat([torch.full((len(context_rows([s], 5)),), i) for i, s in enumerate(SAMPLES)])
    tokens = torch.nn.functional.pad(packed.tokens, (0, 0, 0, 3))[None]
    mask = torch.nn.functional.pad(packed.mask, (0, 0, 0, 3))[None]
    ids = torch.nn.functional.pad(ids, (0, 3), value=PADDING_SEGMENT)[None]
    losses = dual_transformer_loss(model, tokens, mask, segment_ids=ids, depth_fraction=1.0)
    alone = [loss_alone(model, segment) for segment in SAMPLES]
    frames = torch.tensor([10.0, 4.0, 6.0])
    texts = torch.tensor([3.0, 5.0, 1.0])
    for name, weights in (("first_code", frames), ("depth", frames), ("text", texts)):
        parts = torch.stack([getattr(loss, name) for loss in alone])
        expected = (parts * weights).sum() / weights.sum()
        torch.testing.assert_close(getattr(losses, name), expected, atol=1e-4, rtol=1e-5)


def test_padded_batch_equals_packed_batch() -> None:
    model = golden.tiny_model()
    tokens, mask, _ = pad_rows([context_rows([s], 5) for s in SAMPLES])
    padded = dual_transformer_loss(model, tokens, mask, depth_fraction=1.0)
    packed = context_rows(SAMPLES, 5)
    ids = torch.cat([torch.full((len(context_rows([s], 5)),), i) for i, s in enumerate(SAMPLES)])
    together = dual_transformer_loss(
        model, packed.tokens[None], packed.mask[None], segment_ids=ids[None], depth_fraction=1.0
    )
    torch.testing.assert_close(as_tensor(padded), as_tensor(together), atol=1e-4, rtol=1e-5)


def test_a_row_that_begins_with_audio_does_not_wrap_around() -> None:
    """Its first frame has nothing before it, so it is no target; nor is row 0 of row T-1."""
    model = golden.tiny_model()
    rows = context_rows([SAMPLES[0]], 5)
    tokens, mask = rows.tokens[4:][None], rows.mask[4:][None]
    losses = dual_transformer_loss(model, tokens, mask, depth_fraction=1.0)
    hidden = model(tokens, mask)[0, :-1]
    expected = torch.nn.functional.cross_entropy(model.codebook0_head(hidden), tokens[0, 1:, 0])
    torch.testing.assert_close(losses.first_code, expected)
    assert float(losses.text) == 0


@pytest.mark.parametrize("num_frames", [0, 1, 7])
def test_few_frames_give_no_nan(num_frames: int) -> None:
    """The row of zeros counts as a frame: n + 1 of them, fewer than eight or just eight."""
    model = golden.tiny_model().requires_grad_(True)
    rows = context_rows([sample(3, 4, num_frames)], 5)
    losses = dual_transformer_loss(model, rows.tokens[None], rows.mask[None])
    losses.total.backward()
    assert torch.isfinite(as_tensor(losses).detach()).all()
    assert float(losses.depth.detach()) > 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_text_alone_and_nothing_at_all() -> None:
    model = golden.tiny_model().requires_grad_(True)
    rows = context_rows([Segment([3, 4, 5])], 5)
    losses = dual_transformer_loss(model, rows.tokens[None], rows.mask[None])
    losses.total.backward()
    assert as_tensor(losses)[2:].tolist() == [0, 0]
    assert float(losses.text.detach()) > 0
    empty = dual_transformer_loss(model, rows.tokens[None], torch.zeros_like(rows.mask[None]))
    assert as_tensor(empty).tolist() == [0, 0, 0, 0]


def test_prompt_frames_can_be_left_out() -> None:
    """A loss mask drops frames from the audio losses, and only from them."""
    model = golden.tiny_model()
    rows = context_rows(SAMPLES[:2], 5)
    tokens, mask = rows.tokens[None], rows.mask[None]
    learnt = torch.zeros(1, len(rows), dtype=torch.bool)
    learnt[:, 14:] = True  # the first segment is a prompt of 4 + 10 rows
    losses = dual_transformer_loss(model, tokens, mask, audio_loss_mask=learnt, depth_fraction=1.0)
    whole = dual_transformer_loss(model, tokens, mask, depth_fraction=1.0)
    hidden = model(tokens, mask)[0, 19:-1]
    frames = tokens[0, 20:]
    expected = torch.nn.functional.cross_entropy(model.codebook0_head(hidden), frames[:, 0])
    torch.testing.assert_close(losses.first_code, expected)
    logits = model.depth_logits(hidden, frames[:, :-1]).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, frames[:, 1:-1].flatten())
    torch.testing.assert_close(losses.depth, expected)
    torch.testing.assert_close(losses.text, whole.text)


@pytest.mark.parametrize("fraction", [0.0, -1.0, 1.5])
def test_bad_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="depth_fraction"):
        dual_transformer_loss(
            golden.tiny_model(),
            torch.zeros(1, 2, 6, dtype=torch.int64),
            torch.ones(1, 2, 6, dtype=torch.bool),
            depth_fraction=fraction,
        )
