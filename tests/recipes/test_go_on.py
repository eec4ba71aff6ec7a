"""Training that goes on from a shipped model begins with its weights."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from recipes.mini import go_on
from recipes.mini.export import stored
from tests import tiny


def test_the_shipped_weights_become_the_start(tmp_path):
    model, work = tmp_path / "model", tmp_path / "work"
    model.mkdir()
    work.mkdir()
    parts = {"codec": tiny.codec(), "llm": tiny.llm()}
    for name, module in parts.items():
        save_file(stored(module.state_dict()), model / f"{name}.safetensors")
    go_on.main(str(work), str(model))
    starts = {"codec": "codec_frozen", "llm": "llm_start"}
    for name, module in parts.items():
        state = load_file(work / f"{starts[name]}.safetensors")
        assert set(state) == set(module.state_dict())
        for key, value in module.state_dict().items():
            assert state[key].dtype == value.dtype
            if value.is_floating_point():
                assert torch.equal(state[key], value.half().float())
        module.load_state_dict(state)
    with pytest.raises(SystemExit, match="choose an empty folder"):
        go_on.main(str(work), str(model))
    (work / "codec_frozen.safetensors").unlink()
    with pytest.raises(SystemExit, match="llm_start"):
        go_on.main(str(work), str(model))
    assert [path.name for path in work.iterdir()] == ["llm_start.safetensors"]
