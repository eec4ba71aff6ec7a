"""Every benchmark runs in its quick form, and its report holds what docs/benchmarks.md promises."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

HEAD = {"benchmark", "date", "device_name", "threads", "cores", "torch", "python", "settings"}
FIELDS = {
    "frame": {
        "batch", "prompt_rows", "variant", "kind", "ms", "ms_low", "ms_high", "times_plain",
        "limit_ms", "of_limit", "audio_s_per_s", "frame_mb", "copy_gb_s",
    },
    "first_audio": {
        "case", "ms", "ms_low", "ms_high", "times_kept", "stage_ms", "text_share", "encode_share",
        "prefill_share", "frame_share", "codec_share", "other_share",
    },
    "listeners": {
        "listeners", "turns", "first_p50_ms", "first_p99_ms", "gap_p50_ms", "gap_p99_ms",
        "late_p99_ms", "late_max_ms", "underruns", "failed", "busy", "is_good",
    },
    "long": {"minute", "turns", "slides", "cost", "first_max_ms", "rows_read", "process_mb"},
    "codec": {
        "what", "batch", "chunk_frames", "cost", "cost_low", "cost_high", "ms_per_call",
        "times_whole",
    },
    "judged_streams": {
        "readers", "takes", "round", "first_p50_ms", "first_max_ms", "late_max_ms", "underruns",
        "per_s", "times_single",
    },
}  # fmt: skip
STAGES = ("encode", "prefill")
SUMMARIES = {
    "frame": set(),
    "first_audio": {"first_call_ms"},
    "listeners": {"largest", "smallest_failed"},
    "long": {"cost", "process_mb"},
    "codec": set(),
    "judged_streams": {"late_max_ms", "underruns"},
}


def run(name: str, checkpoint: Path, out: Path, *options: str) -> dict[str, Any]:
    module = importlib.import_module(f"benchmarks.{name}")
    shared = ["--model", str(checkpoint), "--device", "cpu", "--quick", "--out", str(out)]
    module.main([*shared, *options])
    report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return report


@pytest.mark.parametrize("name", FIELDS)
def test_a_quick_run_reports_what_it_promises(
    name: str, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(name, tiny_checkpoint, tmp_path / "new" / "report.json")
    assert set(report) >= HEAD
    assert report["benchmark"] == name
    assert report["settings"]["model"] == str(tiny_checkpoint)
    assert report["settings"]["quick"]
    assert report["rows"]
    for row in report["rows"]:
        assert set(row) >= FIELDS[name]
    assert set(report["summary"]) >= SUMMARIES[name]
    assert report["skipped"] == []
    table = capsys.readouterr().out.splitlines()
    assert len(table) >= 3 + len(report["rows"])


def test_frames_are_compared_with_the_plain_loop(tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = ["--variants", "plain,engine,bfloat16", "--batches", "2", "--prompt-rows", "30"]
    rows = run("frame", tiny_checkpoint, tmp_path / "r.json", *options)["rows"]
    assert [(row["variant"], row["kind"]) for row in rows] == [
        ("plain", "float32"),
        ("engine", "float32"),
        ("bfloat16", "bfloat16"),
    ]
    assert rows[0]["times_plain"] == 1.0
    assert rows[2]["frame_mb"] < rows[1]["frame_mb"]


def test_an_unknown_variant_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run("frame", tiny_checkpoint, tmp_path / "r.json", "--variants", "plain,warp")
    assert "known: plain, engine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--init-random", "qwen-9b/qwen-200m"], "qwen-1.5b"),
        (["--init-random", "mini", "--model", "mini"], "not allowed with"),
        (["--device", "abacus"], "unknown device"),
        (["--threads", "0"], "at least 1"),
        (["--batches", "1,x"], "whole numbers"),
    ],
)
def test_wrong_options_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import frame

    with pytest.raises(SystemExit):
        frame.main(options)
    assert message in capsys.readouterr().err


def test_what_the_budget_does_not_allow_is_named(tiny_checkpoint: Path, tmp_path: Path) -> None:
    for name in ("frame", "listeners", "long"):
        report = run(name, tiny_checkpoint, tmp_path / f"{name}.json", "--budget", "0")
        assert report["rows"] == []
        assert "out of time" in report["skipped"][0]


def test_long_slides_its_window_and_judges_flatness(tiny_checkpoint: Path, tmp_path: Path) -> None:
    report = run("long", tiny_checkpoint, tmp_path / "r.json", "--minutes", "0.06")
    assert [row["minute"] for row in report["rows"]] == list(range(1, len(report["rows"]) + 1))
    for field in ("cost", "process_mb"):
        assert set(report["summary"][field]) == {
            "from_minute",
            "first_third",
            "last_third",
            "change_percent",
            "is_flat",
        }


def test_shares_of_the_stages_are_the_whole(tiny_checkpoint: Path, tmp_path: Path) -> None:
    rows = run("first_audio", tiny_checkpoint, tmp_path / "r.json")["rows"]
    assert [row["case"] for row in rows] == ["clip", "cold", "kept"]
    for row in rows:
        shares = [value for key, value in row.items() if key.endswith("_share")]
        assert sum(shares) == pytest.approx(1.0, abs=0.3)  # medians of each: not exactly 1
    encode_ms, prefill_ms = ([row["stage_ms"][stage] for row in rows] for stage in STAGES)
    assert encode_ms[0] > 0 == encode_ms[1] == encode_ms[2]
    assert all(ms > 0 for ms in prefill_ms)


def test_random_weights_speak(tmp_path: Path) -> None:
    from benchmarks import long

    out = tmp_path / "r.json"
    shared = ["--init-random", "mini", "--device", "cpu", "--quick", "--out", str(out)]
    report = long.main([*shared, "--minutes", "0.02"])
    assert report["settings"]["model"] is None
    assert report["settings"]["init_random"] == "mini"
    assert report["rows"][0]["audio_s"] > 0
