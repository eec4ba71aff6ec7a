"""Imports point downward only (docs/architecture.md)."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
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
    "proofing": 2,
    "training": 2,
    "narration": 3,
    "published_calls": 4,
    "fireredtts2": 4,
    "evaluation": 5,
    "serving": 5,
    "ui": 5,
    "doctor": 5,
    "cli": 6,
    "__main__": 7,
}
#: Beyond the order: parts that stand side by side and must not know each other.
STRANGERS = {
    ("codec", "llm"),
    ("training", "engine"),
    ("training", "narration"),
    ("evaluation", "doctor"),
    ("serving", "evaluation"),
    # The studio is a client of the API: it knows no model and no server.
    ("ui", "serving"),
    ("ui", "evaluation"),
    ("ui", "engine"),
    ("ui", "narration"),
    ("ui", "training"),
    ("ui", "fireredtts2"),
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part_of(module: str) -> str:
    """The part that a dotted name below the package belongs to."""
    head = module.split(".")[0]
    return head if head in LAYERS else "base"


def imported(source: str, at_once: bool = False) -> Iterator[tuple[int, str]]:
    """Line and dotted name, without the package's own, of every import of this package.

    `at_once`: only of those that are done when the module is imported.
    """
    tree = ast.parse(source)
    for node in tree.body if at_once else ast.walk(tree):
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


def test_no_imports_go_round_in_circles() -> None:
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in MODULES}
    graph = {
        name: {target for _, target in imported(path.read_text(encoding="utf-8"), at_once=True)}
        for name, path in names.items()
    }
    sorter = TopologicalSorter()
    for name, targets in graph.items():
        # `from a.b import c` names the module a.b where c is no module.
        known = {t if t in names else t.rpartition(".")[0] for t in targets}
        sorter.add(name, *(known & names.keys()) - {name})
    sorter.prepare()  # raises CycleError, which names the circle


def test_the_scheduler_knows_no_tensors() -> None:
    for name in ("scheduler", "slot", "kept_work"):
        source = (PACKAGE / "engine" / f"{name}.py").read_text(encoding="utf-8")
        assert "import torch" not in source
        assert "from torch" not in source


@pytest.mark.parametrize("module", ["fireredtts2", "fireredtts2.cli.main", "fireredtts2.doctor"])
def test_importing_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
