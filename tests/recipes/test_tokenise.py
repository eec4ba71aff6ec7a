"""The rarest entries move to index 0, and codes follow."""

from pathlib import Path

import pytest
import torch

from recipes.mini import tokenise
from recipes.mini.tokenise import clip_codes, rarest_entries_first
from tests import tiny


def test_index_zero_goes_to_the_least_used_entry():
    codec = tiny.codec()
    for number, quantizer in enumerate(codec.rvq.quantizers):
        quantizer.cluster_size.copy_(torch.arange(16.0).roll(number + 3))
    before = {k: v.clone() for k, v in codec.state_dict().items()}
    codec.load_state_dict(rarest_entries_first(before))
    for number, quantizer in enumerate(codec.rvq.quantizers):
        rarest = number + 3
        old = before[f"rvq.quantizers.{number}.codebook"]
        assert quantizer.cluster_size[0] == 0
        assert torch.equal(quantizer.codebook[0], old[rarest])
        assert torch.equal(quantizer.codebook[rarest], old[0])


def test_chunks_of_a_clip_join_and_end_with_it():
    codes = torch.arange(3 * 2 * 75).reshape(3, 2, 75).numpy()
    clips = torch.tensor([4, 4, 9]).numpy()
    result = clip_codes(codes, clips, {4: 144_000 + 1920 * 5 + 1, 9: 1920 * 10})
    assert result["clip"].tolist() == [4, 9]
    assert result["frames"].tolist() == [81, 10]
    assert (result["codes"][:, 75:81] == codes[1, :, :6]).all()
    assert (result["codes"][:, 81:] == codes[2, :, :10]).all()


def test_a_cut_leaves_no_half_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The next step would take it for whole."""
    torch.save({"average": tiny.codec().state_dict()}, tmp_path / "codec_stage1.pt")

    def cut(path: Path, state: dict) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(tokenise, "write_state", cut)
    with pytest.raises(KeyboardInterrupt):
        tokenise.frozen_codec(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["codec_stage1.pt"]
