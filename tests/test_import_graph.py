"""Imports point downward only (docs/architecture.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fireredtts2"

#: From the lowest to the highest; a part may use its own layer's modules and all below.
#: What is not named here is "base": text, audio, config, weights, voices, script and the like.
LAYERS = {
    "base": 0,
    "codec": 1,
    "llm": 1,
    "engine": 2,
    "training": 2,
    "fireredtts2": 3,
    "evaluation": 4,
    "serving": 4,
    "ui": 4,
    "doctor": 4,
    "cli": 5,
    "__main__": 6,
}
#: Beyond the order: parts that stand side by side and must not know each other.
STRANGERS = {
    ("codec", "llm"),
    ("training", "engine"),
    ("training", "fireredtts2"),
    ("evaluation", "doctor"),
    ("serving", "evaluation"),
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(module: str) -> str:
    """The part that a dotted name below the package belongs to."""
    head = module.split(".")[0]
    return head if head in LAYERS else "base"


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name, without the package's own, of every import of this package."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            # `from fireredtts2 import x` names the module x.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("fireredtts2."):
                yield node.lineno, name.removeprefix("fireredtts2.")


def faults(module: str, source: str) -> list[str]:
    """Every import of a module that points upward or sideways."""
    part = part_of(module)
    found = []
    for line, name in imported(source):
        target = part_of(name)
        is_stranger = (part, target) in STRANGERS or (target, part) in STRANGERS
        if LAYERS[target] > LAYERS[part] or is_stranger:
            found.append(f"{module}:{line} ({part}) imports {name} ({target})")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path: Path) -> None:
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    assert faults(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("text", "from fireredtts2.engine.engine import Engine"),
        ("codec.rvq", "import fireredtts2.llm.sampling"),
        ("training.losses", "def f():\n    from fireredtts2.engine import engine"),
        ("engine.engine", "from fireredtts2 import cli"),
    ],
)
def test_the_check_sees_a_wrong_import(module: str, source: str) -> None:
    assert len(faults(module, source)) == 1


def test_the_scheduler_knows_no_tensors() -> None:
    source = (PACKAGE / "engine" / "scheduler.py").read_text(encoding="utf-8")
    assert "import torch" not in source
    assert "from torch" not in source


@pytest.mark.parametrize("module", ["fireredtts2", "fireredtts2.cli.main", "fireredtts2.doctor"])
def test_importing_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
