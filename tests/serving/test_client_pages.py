"""The examples of docs/clients/ and docs/serving.md work as they stand there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fireredtts2.training.codec.voice_adaptation import Adaptation
from tests.serving.hosting import app_of, model, serving

pytest_plugins = ("tests.speaking",)
DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [*sorted((DOCS / "clients").glob("*.md")), DOCS / "serving.md"]
ADDRESS = "127.0.0.1:7860"  # as the pages have it


def examples() -> list[object]:
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(
            re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
        )
    ]


@pytest.fixture
def address(voiced_checkpoint: Path, tmp_path: Path) -> Iterator[str]:
    """Of a server that runs."""
    with serving(app_of(model(voiced_checkpoint), tmp_path)) as (host, port):
        yield f"{host}:{port}"


@pytest.mark.parametrize("example", examples())
def test_an_example_works(
    example: str,
    address: str,
    tmp_path: Path,
    quick_adaptation: Adaptation,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    code = example.replace(ADDRESS, address)
    exec(compile(code, "example", "exec"), {"__name__": "__main__"})
    written = [path for path in tmp_path.glob("*.*") if path.is_file()]
    assert all(path.stat().st_size > 1_000 for path in written)
