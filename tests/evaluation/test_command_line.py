import json
from pathlib import Path

import pytest

from fireredtts2.evaluation.__main__ import main
from fireredtts2.evaluation.clone_sets import SET_KINDS, SetSource
from fireredtts2.evaluation.command_line import EXAMPLES, Command, CompareCommand, parse
from fireredtts2.evaluation.report import Part, write_report
from fireredtts2.evaluation.run import Evaluation
from fireredtts2.evaluation.settings import PARTS, EvaluationConfig


def command(line: str) -> Command:
    parsed = parse(line.split())
    assert isinstance(parsed, Command)
    return parsed


def test_without_options_everything_is_measured() -> None:
    parsed = command("--out report")
    assert parsed == Command(EvaluationConfig("mini", Path("report")))
    assert tuple(parsed.config.parts) == PARTS


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--part speed --part wer", ("speed", "wer")),
        ("--set jsonl:a.jsonl", ()),
        ("--set jsonl:a.jsonl --part wer", ("wer",)),
        ("--choose a b", ("wer",)),
        ("--choose a b --part dialogue", ("dialogue",)),
        ("--choose a b --set jsonl:a.jsonl", ()),
    ],
)
def test_which_parts_are_measured(line: str, parts: tuple[str, ...]) -> None:
    assert tuple(command(f"--out report {line}").config.parts) == parts


def test_every_option_arrives() -> None:
    line = (
        "--model m --out o --part wer --sentences 3 --dialogues 2 --codec-clips 4 --seed 7 "
        "--runaway-turns 5 --corpus c --asr-model w --device cuda --threads 2 --set-items 0 "
        "--set librispeech:l --set jsonl:~/j.jsonl --language zh --page-items 6 --compare old "
        "--long-minutes 3 --adapt"
    )
    jsonl = SetSource("jsonl", Path.home() / "j.jsonl", adapt=True)
    sets = (SetSource("librispeech", Path("l"), adapt=True), jsonl)
    expected = EvaluationConfig(
        "m",
        Path("o"),
        ("wer",),
        3,
        2,
        4,
        5,
        Path("c"),
        Path("w"),
        "cuda",
        2,
        7,
        sets,
        0,
        "zh",
        6,
        3.0,
    )
    assert command(line) == Command(expected, "old")
    assert command("--out o --choose a b c").choose == ["a", "b", "c"]


def test_the_examples_of_the_help_can_be_parsed() -> None:
    program = "python -m fireredtts2.evaluation"
    lines = [x.strip().removeprefix(program) for x in EXAMPLES.splitlines() if program in x]
    assert len(lines) == 7
    for line in lines:
        parse(line.split())


def test_the_examples_of_the_documentation_can_be_parsed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    program = "python -m fireredtts2.evaluation "
    lines = [x.removeprefix(program) for x in page.splitlines() if x.startswith(program)]
    assert len(lines) >= 12
    parsed = [parse(line.partition("#")[0].split()) for line in lines]
    assert sum(isinstance(p, CompareCommand) for p in parsed) == 1
    assert {s.kind for p in parsed if isinstance(p, Command) for s in p.config.sets} == set(
        SET_KINDS
    )


def test_compare_takes_two_reports() -> None:
    assert parse(["compare", "a", "b", "--out", "c", "--page-items", "3"]) == CompareCommand(
        Path("a"), Path("b"), Path("c"), 3
    )


@pytest.mark.parametrize(
    "line",
    ["", "--out", "--out o --part tea", "--out o --sentences many", "--out o --tea",
     "--out o --choose", "compare a --out c", "compare a b", "compare a b c --out d"],
)  # fmt: skip
def test_what_cannot_be_parsed_ends_with_usage(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(line.split())
    assert end.value.code == 2
    assert "usage: python -m fireredtts2.evaluation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--set tea:x", "set 'tea:x'; allowed: seed-tts-eval:PATH"),
        ("--set jsonl:a/x.jsonl --set jsonl:b/x.jsonl", "two have one name"),
        ("--compare a --choose b c", "only one of them"),
        ("--choose a", "two different checkpoints"),
        ("--choose a b --part speed", "choosing needs the part wer or dialogue"),
        ("--set-items -1", "at least 0; got -1"),
        ("--threads 0", "at least 1"),
        ("--compare {out}", "this is the report's own folder"),
        ("--compare nowhere", "nowhere: no such folder"),
        ("--model nowhere", "nowhere: no such folder"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    line: str, message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "report"
    arguments = line.replace("{out}", str(out)).split()
    assert main(["--out", str(out), *arguments]) == 1
    assert message in caplog.text
    assert "Traceback" not in caplog.text
    assert not out.exists()  # nothing was measured before it was said


def test_compare_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    rows = [
        {"id": f"s_{n}", "text": "Any.", "heard": "any", "words": 1, "word_errors": 0}
        for n in range(20)
    ]
    for name in ("a", "b"):
        write_report(tmp_path / name, {"model": name}, [Part("sentences", [], rows)])
    folders = [str(tmp_path / name) for name in ("a", "b", "out")]
    assert main(["compare", *folders[:2], "--out", folders[2]]) == 0
    assert "| sentences | Word error rate | 0.00 % | 0.00 % |" in capsys.readouterr().out
    values = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert values["differences"][0]["outcome"] == "not distinguishable"
    assert main(["compare", folders[0], str(tmp_path), "--out", folders[2]]) == 1
    assert "it is not a report" in caplog.text


def test_a_run_that_is_stopped_says_how_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(self: Evaluation) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluation, "run", stopped)
    assert main(["--out", str(tmp_path)]) == 130
    assert "the same command goes on where it was" in caplog.text
