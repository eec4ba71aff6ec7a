"""One decoder of several runs: the mean of what they trained, and nothing else."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from recipes.mini.average_decoders import main
from tests import tiny

DECODER, ENCODER = (
    "acoustic_decoder.backbone.in_proj.weight",
    "acoustic_encoder.layers.0.fc1.weight",
)


def write_run(path: Path, key: str, change: float) -> dict[str, Tensor]:
    state = {name: value.clone() for name, value in tiny.codec().state_dict().items()}
    state[key] += change
    torch.save({"average": state, "step": 3}, path)
    return state


def test_the_decoders_are_averaged_and_the_rest_is_kept(tmp_path: Path) -> None:
    runs = [tmp_path / f"{number}.pt" for number in range(2)]
    one, other = (
        write_run(path, DECODER, change) for path, change in zip(runs, (0, 1), strict=True)
    )
    main(str(tmp_path / "out.pt"), *map(str, runs))
    found = torch.load(tmp_path / "out.pt", weights_only=True)["average"]
    assert found.keys() == one.keys()
    assert torch.allclose(found[DECODER], (one[DECODER] + other[DECODER]) / 2)
    assert all(torch.allclose(found[key], one[key]) for key in one if key != DECODER)


def test_runs_of_other_codes_are_refused(tmp_path: Path) -> None:
    runs = [tmp_path / f"{number}.pt" for number in range(2)]
    for path, change in zip(runs, (0, 1), strict=True):
        write_run(path, ENCODER, change)
    with pytest.raises(ValueError, match=rf"1\.pt: {ENCODER} differs"):
        main(str(tmp_path / "out.pt"), *map(str, runs))
    assert not (tmp_path / "out.pt").exists()
    with pytest.raises(SystemExit, match="1 runs given"):
        main(str(tmp_path / "out.pt"), str(runs[0]), str(runs[0]))
