"""The examples of the README and of docs/ work."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fireredtts2.training.codec.voice_adaptation import Adaptation
from tests.shell import Shell
from tests.training.prepare.speech import write_clip

pytest_plugins = ("tests.speaking",)
ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/api.md", "docs/cli.md")
MORE_PAGES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/benchmarks.md")
MINI = ROOT / "fireredtts2" / "models" / "mini"
HELLO = ROOT / "examples" / "hello.txt"


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def python_blocks() -> list[object]:
    return [
        pytest.param(block, id=f"{page}-{index}")
        for page in PAGES
        for index, block in enumerate(blocks(page, "python"))
    ]


def shell_lines(page: str) -> list[str]:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    # Installing and cloning are not commands of this program; playing has tests of its own.
    return [line for line in lines if "fireredtts2 " in line and not _is_of_others(line)]


def _is_of_others(line: str) -> bool:
    return line.startswith(("git ", "make ", "pip ", ".venv/")) or "evaluate" in line


@pytest.fixture
def workplace(
    shell: Shell,
    voiced_checkpoint: Path,
    quick_adaptation: Adaptation,
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    """A folder with what the examples name."""
    (shell.folder / "examples").mkdir()
    shutil.copy(HELLO, shell.folder / "examples")
    noise = 0.1 * np.random.default_rng(0).standard_normal(16_000)
    soundfile.write(shell.folder / "clip.wav", noise, 16_000)
    shutil.copytree(voiced_checkpoint, shell.folder / "FireRedTTS2")
    texts = ("This is the first.", "And that is another.", "Here is the last one.")
    for number, text in enumerate(texts):
        write_clip(shell.folder / "recordings" / "anna" / f"{number}.wav", 1.5, number, text)
    rows = [
        {"audio": f"recordings/anna/{n}.wav", "text": text, "speaker": "Anna"}
        for n, text in enumerate(texts)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (shell.folder / "talks.jsonl").write_text(lines, encoding="utf-8")

    def fetch(target: Path, *_: object, **__: object) -> Path:
        return target

    monkeypatch.setattr("fireredtts2.download.download", fetch)
    return shell


@pytest.mark.parametrize("block", python_blocks())
def test_python_examples(workplace: Shell, voiced_checkpoint: Path, block: str) -> None:
    shutil.copytree(voiced_checkpoint, workplace.folder / "FireRedTTS2-bf16")
    exec(compile(block, "example", "exec"), {"__name__": "example"})
    for name in re.findall(r'save\("([^"]+)"\)', block):
        assert soundfile.info(workplace.folder / name).duration > 0.5


@pytest.mark.skipif(not (MINI / "config_llm.json").exists(), reason="no embedded model yet")
def test_the_first_python_example_speaks_with_the_embedded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("README.md", "python")[0], "example", "exec"), {"__name__": "example"})
    audio, rate_hz = soundfile.read(tmp_path / "dialogue.wav")
    assert rate_hz == 24_000
    assert 1.0 < len(audio) / rate_hz < 15.0
    assert np.abs(audio).max() > 0.05


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_shell_examples(workplace: Shell, page: str) -> None:
    lines = shell_lines(page)
    assert len(lines) >= 5
    for line in lines:
        result = workplace.line(line)
        assert result.code == 0, (line, result.errors)


def test_the_doctor_of_the_readme_is_there() -> None:
    assert "fireredtts2 doctor" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [*PAGES, *MORE_PAGES])
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [
        target
        for target in targets
        if not target.startswith("http") and not (path.parent / target).exists()
    ]
    assert missing == []
