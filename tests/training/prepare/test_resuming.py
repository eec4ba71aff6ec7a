"""A run cut anywhere, or made by several processes, gives what one that was never cut gives."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireredtts2.training.prepare import block, workers
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.preparation import prepare
from fireredtts2.training.shards import Dataset
from tests.training.prepare.speech import write_clip

MakeOptions = Callable[..., PrepareOptions]


class CutError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block, "BLOCK_TURNS", 3)


def contents(folder: Path) -> dict[str, Any]:
    """All that a finished folder has, in a form that can be compared."""
    dataset = Dataset.open(folder)
    splits = {
        name: [
            (one.id, one.language, one.source,
             [(s.speaker, s.voice, s.text, s.codes.tolist()) for s in one.segments])
            for one in dataset.split(name)
        ]
        for name in dataset.splits
    }  # fmt: skip
    texts = {name: (folder / name).read_text() for name in
             ("dataset.json", "report.json", "report.html", "refused.jsonl")}  # fmt: skip
    return {"files": sorted(path.name for path in folder.iterdir()), "splits": splits, **texts}


@pytest.mark.usefixtures("small_blocks")
def test_a_run_cut_anywhere_equals_the_uncut_one(
    make_options: MakeOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(make_options(out=tmp_path / "whole"))
    whole = contents(tmp_path / "whole")
    replace = os.replace
    for cut_after in range(12):  # plan, blocks, shards, reports, index: every file that is written
        out = tmp_path / f"cut{cut_after}"
        count = 0

        def counted(source: Any, target: Any, cut_after: int = cut_after) -> None:
            nonlocal count
            if count == cut_after:
                raise CutError
            count += 1
            replace(source, target)

        monkeypatch.setattr(os, "replace", counted)
        with pytest.raises(CutError):
            prepare(make_options(out=out))
        monkeypatch.setattr(os, "replace", replace)
        assert not (out / "dataset.json").exists()
        prepare(make_options(out=out))
        assert contents(out) == whole
    assert prepare(make_options(out=out)).was_there


PROGRAM = """
import sys
from pathlib import Path
from fireredtts2.training.prepare import block
block.BLOCK_TURNS = 3
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.preparation import prepare
source, out, model = sys.argv[1:]
prepare(PrepareOptions(Path(source), Path(out), model, validation=0.2, shard_samples=3))
"""


def test_a_killed_process_leaves_what_the_next_goes_on_with(
    make_options: MakeOptions, source: Path, tiny_checkpoint: Path, tmp_path: Path,
    small_blocks: None,
) -> None:  # fmt: skip
    options = make_options(out=tmp_path / "whole")
    prepare(options)
    out = tmp_path / "killed"
    command = [sys.executable, "-c", PROGRAM, str(source), str(out), str(tiny_checkpoint)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not list(out.glob(".prepare/block-*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "dataset.json").exists()
    num_made = len(list(out.glob(".prepare/block-*")))
    assert 0 < num_made < 5
    (out / ".prepare" / ".block-000004.abcd1234.part.safetensors").write_bytes(b"half")
    kept = {path: path.stat().st_mtime_ns for path in out.glob(".prepare/block-*")}
    assert subprocess.run(command, check=False).returncode == 0
    assert contents(out) == contents(tmp_path / "whole")
    assert len(kept) == num_made


@pytest.mark.usefixtures("small_blocks")
def test_what_was_made_is_not_made_again(
    make_options: MakeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = workers.make_block, []

    def cut(recordings: Any, judge: Any, codec: Any, path: Path) -> None:
        if len(made) == 2:
            raise CutError
        made.append(path.name)
        make(recordings, judge, codec, path)

    monkeypatch.setattr(workers, "make_block", cut)
    with pytest.raises(CutError):
        prepare(make_options())
    monkeypatch.setattr(workers, "make_block", lambda *a: (made.append(a[3].name), make(*a)))
    prepare(make_options())
    assert len(made) == len(set(made)) == 5


@pytest.mark.slow
def test_several_processes_make_the_same(make_options: MakeOptions, tmp_path: Path) -> None:
    # NOTE: 64 turns a block: two blocks need more clips than the fixture has.
    for number in range(70):
        write_clip(tmp_path / "clips" / f"{number}.wav", 0.6, number, text=f"Number {number}.")
    made = []
    for count in (1, 2):
        out = tmp_path / f"by{count}"
        prepare(make_options(source=tmp_path / "clips", out=out, workers=count))
        made.append(contents(out))
    assert made[0] == made[1]
