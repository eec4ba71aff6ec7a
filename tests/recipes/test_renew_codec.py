"""Decoder and language model are carried over to new codes as far as counting can do it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fireredtts2.codec import RedCodec
from recipes.mini.renew_codec import (
    carried_codec,
    carried_llm,
    check_folder,
    fitted_projection,
    paired_codes,
    stands_for,
)
from tests import tiny

SIZE, LEVELS = tiny.CODEBOOK_SIZE, tiny.NUM_CODEBOOKS


def shuffled(codec: RedCodec, orders: list[torch.Tensor]) -> RedCodec:
    """The same codec with its entries in other places: entry n of each is now at order's n."""
    other = tiny.codec()
    other.load_state_dict(codec.state_dict())
    for quantizer, order in zip(other.rvq.levels, orders, strict=True):
        quantizer.codebook[order] = quantizer.codebook.clone()
    return other


@pytest.fixture
def orders() -> list[torch.Tensor]:
    """Permutations that leave index 0 where it is."""
    generator = torch.Generator().manual_seed(3)
    drawn = [1 + torch.randperm(SIZE - 1, generator=generator) for _ in range(LEVELS)]
    return [torch.cat([torch.tensor([0]), order]) for order in drawn]


def random_codes(count: int) -> torch.Tensor:
    return torch.randint(SIZE, (count, LEVELS), generator=torch.Generator().manual_seed(1))


def test_a_codec_whose_entries_moved_decodes_as_before(orders: list[torch.Tensor]):
    old = tiny.codec()
    new = shuffled(old, orders)
    before = random_codes(4000)
    after = torch.stack([order[codes] for order, codes in zip(orders, before.mT, strict=True)], 1)
    with torch.no_grad():  # another projection, other decoder: they are not what ships
        new.rvq.output_proj.bias.add_(1.0)
        for p in new.acoustic_decoder.parameters():
            p.add_(0.1)
    fit = fitted_projection(old.rvq, new.rvq, (before, after), [LEVELS, 2])
    assert fit.r2 > 0.999
    new.load_state_dict(carried_codec(old, new, fit))
    for count in (2, LEVELS):
        codes = [one[:9, :count].mT[None] for one in (before, after)]
        again, wanted = new.eval().decode(codes[1]), old.eval().decode(codes[0])
        assert float((again - wanted).square().mean()) < 1e-4 * float(wanted.square().mean())


def test_a_folder_where_something_else_began_is_refused(tmp_path: Path):
    begun = tmp_path / "renewed_from.txt"
    check_folder(tmp_path, begun, "one")
    (tmp_path / "llm.pt").touch()  # a later step's, of this codec
    check_folder(tmp_path, begun, "one")
    with pytest.raises(SystemExit, match="another codec's renewal began"):
        check_folder(tmp_path, begun, "two")
    begun.unlink()
    with pytest.raises(SystemExit, match=r"there is llm\.pt, so training has begun"):
        check_folder(tmp_path, begun, "one")
    assert not begun.exists()


def test_codes_that_say_nothing_of_the_old_ones_fit_badly():
    old, new = tiny.codec(), tiny.codec(seed=5)
    pairs = random_codes(4000), random_codes(4001)[1:]
    assert fitted_projection(old.rvq, new.rvq, pairs, [LEVELS]).r2 < 0.1


def test_a_language_model_reads_and_writes_moved_codes_as_before(orders: list[torch.Tensor]):
    state = tiny.llm().state_dict()
    before = random_codes(400 * SIZE)
    after = torch.stack([order[codes] for order, codes in zip(orders, before.mT, strict=True)], 1)
    found = carried_llm(state, (before, after))
    assert set(found) == set(state)
    for level, order in enumerate(orders):
        rows = slice(level * tiny.AUDIO_VOCAB, level * tiny.AUDIO_VOCAB + SIZE)
        old = state["audio_embeddings.weight"][rows]
        close(found["audio_embeddings.weight"][rows][order], old)
    close(found["codebook0_head.weight"][orders[0]], state["codebook0_head.weight"][:SIZE])
    for level, order in enumerate(orders[1:]):
        close(found["audio_head"][level][:, order], state["audio_head"][level][:, :SIZE])
    changed = ("audio_embeddings.weight", "codebook0_head.weight", "audio_head")
    assert all(torch.equal(found[name], state[name]) for name in state if name not in changed)


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    """But for the two frames of any code that are counted in."""
    torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * float(other.abs().max()))


def test_a_code_stands_for_those_it_was_seen_with():
    before, after = torch.tensor([1, 1, 2, 3, 0]), torch.tensor([2, 2, 2, 1, 3])
    shares = stands_for(before, after, 5)
    torch.testing.assert_close(shares.sum(1), torch.ones(5))
    assert shares[0].tolist() == [1, 0, 0, 0, 0]
    assert shares[2].tolist() == pytest.approx([0, 3 / 5, 1.5 / 5, 0.5 / 5, 0])
    assert shares[4].tolist() == pytest.approx([0, 1 / 2, 1 / 4, 1 / 4, 0])  # never seen
    assert shares[3].tolist() == shares[4].tolist()  # the end of a turn is no sound


def test_codes_are_compared_in_the_frames_that_are_speech(tmp_path: Path):
    rng = np.random.default_rng(0)
    rows = [
        {"id": 4, "offset": 0, "samples": 144_000 + 1920 * 5 + 1},
        {"id": 9, "offset": 200_000, "samples": 1920 * 10},
        {"id": 103, "offset": 300_000, "samples": 1920 * 10},  # held out
    ]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mel = rng.standard_normal((4, 16, 600)).astype(np.float16)
    semantic = rng.standard_normal((4, 300, 16)).astype(np.float16)
    places = {"clip": [4, 4, 103, 9], "chunk": [0, 1, 0, 0]}
    np.savez(tmp_path / "features_000.npz", mel=mel, semantic=semantic, **places)
    old, new = tiny.codec().eval(), tiny.codec(seed=5).eval()
    before, after = paired_codes(old, new, tmp_path)
    assert before.shape == after.shape == (75 + 6 + 10, LEVELS)
    for codec, codes in ((old, before), (new, after)):
        with torch.inference_mode():
            latents = codec.encoded(torch.tensor(mel).float(), torch.tensor(semantic).float())
            wanted = codec.rvq.encode(latents.mT)
        assert torch.equal(codes[75:81], wanted[1, :, :6].mT)
        assert torch.equal(codes[81:], wanted[3, :, :10].mT)
