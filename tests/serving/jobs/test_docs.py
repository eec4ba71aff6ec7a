"""The example of docs/jobs.md, as it stands there."""

import re
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

pytest_plugins = ("tests.speaking",)

PAGE = Path(__file__).resolve().parents[3] / "docs" / "jobs.md"


def test_the_example_runs(
    client: TestClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    client.base_url = "http://testserver/v1/"
    monkeypatch.setattr(httpx, "Client", lambda **_: client)
    monkeypatch.chdir(tmp_path)
    exec(compile(code[0], str(PAGE), "exec"), {})
    assert "done 4 of 4" in capsys.readouterr().out
    for name in ("audio.m4b", "subtitles.srt", "turns.json"):
        assert (tmp_path / name).stat().st_size > 0
