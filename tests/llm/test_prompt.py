"""The (Q+1)-column layout."""

import pytest
import torch

from fireredtts2.llm.prompt import (
    PADDING_SEGMENT,
    Segment,
    audio_rows,
    context_rows,
    frame_rows,
    packed_attention,
    packed_positions,
    pad_rows,
    segment_rows,
    text_rows,
)
from tests.llm import golden


def test_layout_equals_published_prompt() -> None:
    _, numbers, _ = golden.sharp()
    tokens, mask = numbers["prompt_tokens"], numbers["prompt_mask"]
    text = tokens[:, -1].tolist()
    # Eleven text rows, thirteen frames, their end row, eight text rows of the turn to come.
    spoken = Segment(text[:11], tokens[11:24, :-1].T)
    rows = context_rows([spoken, Segment(text[25:])], num_codebooks=16)
    assert torch.equal(rows.tokens, tokens)
    assert torch.equal(rows.mask, mask)


def test_text_rows() -> None:
    rows = text_rows([5, 6], num_codebooks=3)
    assert rows.tokens.tolist() == [[0, 0, 0, 5], [0, 0, 0, 6]]
    assert rows.mask.tolist() == [[False, False, False, True]] * 2
    assert len(text_rows([], num_codebooks=3)) == 0


def test_audio_rows_end_with_live_zeros() -> None:
    codes = torch.tensor([[1, 2], [3, 4], [5, 6]])
    rows = audio_rows(codes)
    assert rows.tokens.tolist() == [[1, 3, 5, 0], [2, 4, 6, 0], [0, 0, 0, 0]]
    assert rows.mask.tolist() == [[True, True, True, False]] * 3
    assert audio_rows(codes, end=False).tokens.tolist() == rows.tokens[:2].tolist()


def test_frame_rows_are_audio_rows() -> None:
    codes = torch.tensor([[1, 3, 5], [2, 4, 6]])
    tokens, mask = frame_rows(codes)
    expected = audio_rows(codes.T, end=False)
    assert torch.equal(tokens[:, 0], expected.tokens)
    assert torch.equal(mask[:, 0], expected.mask)


def test_pad_rows_are_dead() -> None:
    tokens, mask, counts = pad_rows([text_rows([1, 2], 2), text_rows([3], 2)])
    assert tokens[:, :, -1].tolist() == [[1, 2], [3, 0]]
    assert mask.any(-1).tolist() == [[True, True], [True, False]]
    assert counts == [2, 1]


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(Q, frames\)"):
        audio_rows(torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"expected \(4, frames\)"):
        segment_rows(Segment([1], torch.zeros(3, 5, dtype=torch.int64)), num_codebooks=4)
    with pytest.raises(ValueError, match="at least one segment"):
        context_rows([], num_codebooks=4)


def test_packed_samples_see_only_their_own_past() -> None:
    ids = torch.tensor([[3, 3, 8, 8, 8, PADDING_SEGMENT, PADDING_SEGMENT]])
    seen = [[j for j in range(7) if row[j]] for row in packed_attention(ids)[0]]
    assert seen == [[0], [0, 1], [2], [2, 3], [2, 3, 4], [5], [6]]
    assert packed_positions(ids).tolist() == [[0, 1, 0, 1, 2, 0, 1]]
