"""From a folder of recordings to two steps of training, by the command line alone."""

import json
import re
import shutil
from pathlib import Path

import pytest

from fireredtts2.cli.errors import ExitCode
from fireredtts2.cli.main import main
from fireredtts2.training.shards import Dataset
from tests.training.prepare.speech import write_clip

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs" / "finetune.md"
FEW_STEPS = [
    "optim.total_steps=2", "run.validate_every=1", "run.save_every=1", "data.rows_per_batch=96",
    "run.device=cpu",
]  # fmt: skip


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    for number in range(8):
        write_clip(root / "anna" / f"{number}.wav", 1.2, number, text=f"Sentence number {number}.")
    write_clip(root / "anna" / "without.wav")
    return root


def prepared(*arguments: object) -> int:
    return main(["prepare", *map(str, arguments)])


def test_the_tutorial_leads_to_training(
    recordings: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("accelerate", reason="fine-tuning needs the training extra")
    pytest.importorskip("peft", reason="adapters need the training extra")
    monkeypatch.setattr("fireredtts2.checkpoint.MINI_FOLDER", tiny_checkpoint)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes" / "finetune", "recipes/finetune")
    page = TUTORIAL.read_text(encoding="utf-8")
    commands = re.findall(r"^ *fireredtts2 (prepare .*)$", page, re.MULTILINE)
    assert commands
    for command in commands:
        assert main(command.split()) == 0
    dataset = Dataset.open("dataset")
    assert sorted(dataset.splits) == ["train", "validation"]
    assert sum(len(dataset.split(name)) for name in dataset.splits) == 8
    assert {one.segments[0].voice for one in dataset.split("train")} == {"anna"}
    few = [word for change in FEW_STEPS for word in ("--set", change)]
    arguments = ["recipes/finetune/mini-lora.yaml", "--set", "data.folder=dataset", *few]
    assert main(["train", *arguments]) == 0
    rows = [
        json.loads(line) for line in Path("runs/mini-lora/metrics.jsonl").read_text().splitlines()
    ]
    assert {"train", "validation"} <= {row["part"] for row in rows}


def test_the_summary_and_the_second_run(
    recordings: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [recordings, tmp_path / "set", "--model", tiny_checkpoint]
    assert prepared(*command, "--language", "klingon") == 0
    line = "--language klingon: its script is not known, texts are not checked\n"
    assert capsys.readouterr().err.startswith(line)
    shutil.rmtree(tmp_path / "set")
    assert prepared(*command) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"set: written: 8 samples, 0:1\d minutes \(train 7, validation 1\)", err)
    assert "refused: empty_text 1; see" in err
    refused = (tmp_path / "set" / "refused.jsonl").read_text(encoding="utf-8")
    assert '"detail": "no .txt or .lab beside it"' in refused
    assert prepared(*command) == 0
    assert "set: there already: 8 samples" in capsys.readouterr().err
    assert prepared(*command, "--quiet") == 0
    assert capsys.readouterr().err == ""


def test_mistakes_are_one_line(
    recordings: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(*arguments: object) -> str:
        assert prepared(*arguments, "--model", tiny_checkpoint) == ExitCode.USAGE
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "nowhere: no such file or folder" in fault(tmp_path / "nowhere", tmp_path / "set")
    assert "seconds from 9 to 3" in fault(
        recordings, tmp_path / "set", "--min-seconds", 9, "--max-seconds", 3
    )
    assert "--asr-model whisper: nobody listens without --asr" in fault(
        recordings, tmp_path / "set", "--asr-model", "whisper"
    )
    assert "--max-wer 0.1: nobody listens without --asr" in fault(
        recordings, tmp_path / "set", "--max-wer", 0.1
    )
    assert "nothing in it can be learnt from" in fault(
        recordings, tmp_path / "set", "--min-level", -3
    )
    assert prepared(recordings, tmp_path / "set", "--model", tiny_checkpoint) == 0
    capsys.readouterr()
    assert "begun otherwise: level_dbfs was -23.0, is None" in fault(
        recordings, tmp_path / "set", "--keep-level"
    )
    manifest = tmp_path / "bad.jsonl"
    manifest.write_text('{"audio": "a.wav", "text": "Fine.", "speaker": "A"}\n{"audio": 1}\n')
    assert "bad.jsonl: line 2: no speaker" in fault(manifest, tmp_path / "other")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("", None),
        ("codec.safetensors", None),
        ("codec.safetensors", b"cut"),
        ("config_codec.json", b"{"),
        ("config_text.json", b'{"tea": 1}'),
        ("tokenizer/tokenizer.json", None),
        ("tokenizer/tokenizer.json", b"{}"),
    ],
)
def test_what_is_wrong_with_the_model_has_its_own_code(
    name: str, damage: bytes | None, recordings: Path, tiny_checkpoint: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    model = tmp_path / "model"
    if name:
        shutil.copytree(tiny_checkpoint, model)
        (model / name).unlink(missing_ok=True)
    if damage is not None:
        (model / name).write_bytes(damage)
    assert prepared(recordings, tmp_path / "set", "--model", model) == ExitCode.MODEL
    error = capsys.readouterr().err
    assert error.startswith("fireredtts2: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "set").exists()
