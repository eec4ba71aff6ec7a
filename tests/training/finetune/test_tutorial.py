"""The commands of docs/finetune.md, as written, for a few steps."""

import collections
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("accelerate", reason="fine-tuning needs the training extra")
pytest.importorskip("peft", reason="adapters need the training extra")

from fireredtts2 import FireRedTTS2
from fireredtts2.cli.main import main

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "finetune.md"
CORPUS = Path(os.environ.get("FIREREDTTS2_CORPUS", Path(__file__).parents[4] / "shared" / "corpus"))
FEW_STEPS = [
    "optim.total_steps=2", "run.validate_every=1", "run.save_every=1", "data.rows_per_batch=96",
    "run.device=cpu",
]  # fmt: skip
#: Enough for the validation loss to fall, on two cores in a minute or two.
SOME_STEPS = ["optim.total_steps=16", "run.validate_every=8", "run.save_every=8",
              "optim.warmup_steps=4"]  # fmt: skip
NUM_CLIPS, SLOWER = 24, 0.85


def blocks() -> list[str]:
    """The commands of the page's blocks in order; blocks marked as text hold none."""
    # Between fences every second part is a block, which begins with what it is.
    parts = re.split(r"^ *```", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1::2]
    lines = [part.splitlines() for part in parts]
    return [line.strip() for kind, *block in lines if not kind for line in block if line.strip()]


def test_the_tutorial_works_as_written(
    dataset: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fireredtts2.checkpoint.MINI_FOLDER", tiny_checkpoint)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(dataset, "dataset")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    commands = re.findall(r"^ *fireredtts2 (train|adapter)( .*)$", PAGE.read_text(), re.MULTILINE)
    assert [name for name, _ in commands] == ["train"] * 3 + ["adapter"] * 2
    for name, rest in commands:
        few = [word for change in FEW_STEPS for word in ("--set", change)]
        assert main([name, *rest.split(), *(few if name == "train" else [])]) == 0
    merged = FireRedTTS2("my_model", device="cpu")
    loaded = FireRedTTS2("mini", device="cpu", adapter="runs/mini-lora/adapter")
    spoken = [t.generate_dialogue(["[S1]Hi."], seed=1, turn_limit_ms=400) for t in (merged, loaded)]
    assert spoken[0].equal(spoken[1])


def clips_of(speaker: str | None) -> Iterator[tuple[str, str, bytes]]:
    """(speaker, text, Opus bytes) of the corpus; of one speaker, or all without their bytes."""
    for path in sorted(CORPUS.glob("shard_*.tar")):
        with tarfile.open(path) as shard:
            names = {Path(name).name: name for name in shard.getnames()}
            lines = shard.extractfile(names["metadata.jsonl"])
            assert lines is not None
            for row in map(json.loads, lines.read().decode("utf-8").splitlines()):
                if speaker is None:
                    yield row["speaker"], row["text"], b""
                elif row["speaker"] == speaker:
                    clip = shard.extractfile(names[f"{row['id']:05d}.opus"])
                    assert clip is not None
                    yield speaker, row["text"], clip.read()


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Clips of a voice that the model does not know, as the page lays them out.

    The corpus has none, so one of its blends is played slower, and so lower.
    """
    if not any(CORPUS.glob("shard_*.tar")):
        pytest.skip(
            f"no recordings: {CORPUS} has no shard_*.tar (FIREREDTTS2_CORPUS names another)"
        )
    counts = collections.Counter(who for who, _, _ in clips_of(None) if who.startswith("blend"))
    speaker, _ = min(counts.most_common(), key=lambda item: (-item[1], item[0]))
    folder = tmp_path / "recordings" / "anna"
    folder.mkdir(parents=True)
    for number, (_, text, opus) in enumerate(clips_of(speaker), 1):
        if number <= NUM_CLIPS:
            audio, rate = soundfile.read(io.BytesIO(opus))
            soundfile.write(folder / f"{number:04d}.wav", audio, int(rate * SLOWER))
            (folder / f"{number:04d}.txt").write_text(text + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_from_a_folder_of_recordings_to_a_voice(recordings: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "recipes" / "finetune", tmp_path / "recipes" / "finetune")
    bin_path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": bin_path, "XDG_DATA_HOME": str(tmp_path / "home"),
                   "FIREREDTTS2_DEVICE": "cpu"}  # fmt: skip
    install, *commands = blocks()
    assert install == 'pip install "fireredtts2[training]"'
    some = "".join(f" --set {change}" for change in SOME_STEPS)
    said = {}
    for command in commands:
        assert command.startswith("fireredtts2 "), command
        full = command + (some if " train " in command else "")
        done = subprocess.run(
            full, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{full}\n{done.stderr}"
        said[command] = done.stdout + done.stderr
    assert any("dataset: written: " in text for text in said.values())
    rows = [
        json.loads(line)
        for line in (tmp_path / "runs/mini-lora/metrics.jsonl").read_text().splitlines()
    ]
    losses = [row["loss"] for row in rows if row["part"] == "validation"]
    assert losses[-1] < losses[0]
    before, after = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("before", "after"))
    assert min(len(before), len(after)) > 24_000  # a second each
    assert len(before) != len(after) or (before != after).any()
