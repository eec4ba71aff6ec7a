"""The systemd unit: valid, and as closed as the server can live with."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fireredtts2.serving.address import DRAIN_S
from fireredtts2.serving.environment import API_KEYS_FILE, variables

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
#: Of ten; systemd calls up to 2.0 "OK".
MOST_EXPOSURE = 2.0


def settings(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if re.match(r"[A-Z]\w*=", line)]
    return [(name, value) for name, _, value in pairs]


def analyzed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """systemd-analyze over the unit, with a program that is there."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze")
    text = (FOLDER / "fireredtts2.service").read_text(encoding="utf-8")
    unit = folder / "fireredtts2.service"
    unit.write_text(text.replace("/opt/fireredtts2/bin/fireredtts2", sys.executable), "utf-8")
    return subprocess.run([program, *arguments, unit], capture_output=True, text=True, check=False)


def test_it_is_valid(tmp_path: Path):
    done = analyzed(tmp_path, "verify", "--man=no")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_valid_with_what_a_card_needs(tmp_path: Path):
    extra = tmp_path / "fireredtts2.service.d"
    extra.mkdir()
    shutil.copy2(FOLDER / "cuda.conf", extra)
    done = analyzed(tmp_path, "verify", "--man=no")
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_closed(tmp_path: Path):
    done = analyzed(tmp_path, "security", "--offline=true", "--no-pager")
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure is not None, done.stderr
    assert float(exposure[1]) <= MOST_EXPOSURE


def test_it_sets_only_what_is_read_and_lets_listeners_hear_the_end():
    found = settings(FOLDER / "fireredtts2.service")
    names = {value.split("=")[0] for name, value in found if name == "Environment"}
    assert names - {"HOME"} <= {*variables().values(), API_KEYS_FILE}
    values = dict(found)
    assert int(values["TimeoutStopSec"]) > DRAIN_S
    assert values["DynamicUser"] == "yes"
    assert "MemoryDenyWriteExecute" not in values  # torch compiles while it runs
