"""Timing, the byte limit, and what is made of the reports."""

import json
import subprocess
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from benchmarks import merge, plot
from benchmarks.byte_limit import frame_bytes, frame_weights, row_numbers, stack_weights
from benchmarks.clock import Spread, interleaved, percentile, ratio
from benchmarks.long import flatness
from benchmarks.sizes import ASSUMED_CODEC, parse_sizes
from fireredtts2.config import WHISPER_LARGE_V3
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]


def test_cases_take_turns_and_each_goes_first() -> None:
    order: list[str] = []

    def case(name: str) -> float:
        order.append(name)
        return float(len(order))

    samples = interleaved({"a": partial(case, "a"), "b": partial(case, "b")}, 2)
    assert "".join(order) == "abba"
    assert samples == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_ratios_are_made_in_pairs() -> None:
    # The second round was disturbed, for both alike.
    assert ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == 2.0


def test_spread() -> None:
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert percentile([3.0, 1.0, 2.0], 1) == 1.0
    spread = Spread.of([float(n) for n in range(1, 11)], scale=2.0)
    assert spread.named("ms") == {"ms": 11.0, "ms_low": 2.0, "ms_high": 18.0}


def test_the_byte_limit_counts_the_weights_that_are_there() -> None:
    model, config = tiny.llm(), tiny.llm_config()

    def matrices(module: nn.Module) -> int:
        return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))

    assert stack_weights(config.backbone) == matrices(model.backbone)
    assert stack_weights(config.decoder) == matrices(model.decoder)
    heads = model.codebook0_head.weight.numel() + model.audio_head.numel()
    steps = config.audio_num_codebooks - 1
    assert frame_weights(config) == (
        matrices(model.backbone)
        + steps * matrices(model.decoder)
        + model.projection.weight.numel()
        + heads
    )
    cache = model.new_cache(1, 1)
    assert (
        row_numbers(config.backbone)
        == sum(held.numel() for held in (*cache.keys, *cache.values)) // 2
    )
    cached = 3 * 50 * row_numbers(config.backbone) * 4
    assert frame_bytes(config, "int8", 4, 3, 50) == frame_weights(config) + cached


def test_official_sizes() -> None:
    llm, codec = parse_sizes("official")
    assert (llm.backbone.num_layers, llm.backbone.embed_dim) == (28, 1536)
    assert frame_weights(llm) * 2 == pytest.approx(8.3e9, rel=0.02)  # bfloat16, read in a frame
    assert codec.ssl == WHISPER_LARGE_V3
    assert parse_sizes("qwen-500m/qwen-200m")[0].backbone.embed_dim == 896
    assert ASSUMED_CODEC.ssl_adaptor.out_dim + ASSUMED_CODEC.acoustic_encoder.embed_dim == (
        ASSUMED_CODEC.downsample.embed_dim
    )


@pytest.mark.parametrize(("last", "is_flat"), [(1.05, True), (1.2, False), (0.5, True)])
def test_flatness_leaves_out_the_minutes_in_which_the_window_fills(
    last: float, is_flat: bool
) -> None:
    costs = [0.1, 0.5, 1.0, 1.0, 1.0, last, last]
    rows = [{"cost": cost, "slides": int(n >= 1)} for n, cost in enumerate(costs)]
    found = flatness(rows, "cost")
    assert found["from_minute"] == 3
    assert found["first_third"] == 1.0
    assert found["is_flat"] is is_flat
    assert flatness(rows[:2], "cost")["is_flat"] is None  # too few to say


def frame_report(device: str = "Some CPU") -> dict[str, Any]:
    rows = [
        {"variant": name, "batch": batch, "prompt_rows": 200, "ms": 4.0 * batch, "limit_ms": 2.0}
        for batch in (1, 2, 4)
        for name in ("plain", "engine")
    ]
    settings = {"model": None, "init_random": "official", "dtype": "bfloat16"}
    return {
        "benchmark": "frame",
        "device_name": device,
        "date": "2026-01-01",
        "settings": settings,
        "rows": rows,
    }


def long_report() -> dict[str, Any]:
    rows = [{"minute": minute, "cost": 0.2} for minute in (1, 2, 3)]
    return {**frame_report(), "benchmark": "long", "rows": rows}


def test_reports_are_joined_and_a_missing_one_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "frame.json", tmp_path / "long.json"
    first.write_text(json.dumps(frame_report()))
    second.write_text(json.dumps(long_report()))
    out = tmp_path / "all.json"
    merge.main([str(out), str(first), str(tmp_path / "killed.json"), str(second)])
    joined = json.loads(out.read_text())
    assert [report["benchmark"] for report in joined["benchmarks"]] == ["frame", "long"]
    assert joined["missing"] == ["killed.json"]
    assert joined["devices"] == ["Some CPU"]
    merge.main([str(tmp_path / "again.json"), str(out), str(first)])  # a joined file is a part too
    assert len(json.loads((tmp_path / "again.json").read_text())["benchmarks"]) == 3


def test_plots_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    reports = [frame_report("A & B <C>"), long_report(), frame_report()]
    path.write_text(json.dumps({"benchmarks": reports}))
    written = plot.main([str(path), "--out", str(tmp_path / "docs")])
    names = ["benchmarks-frame.svg", "benchmarks-long.svg", "benchmarks-frame-2.svg"]
    assert [found.name for found in written] == names
    root = ET.parse(written[0]).getroot()
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "plain, 200 rows" in texts
    assert any("A & B <C>" in (text or "") for text in texts)
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert len(lines) == 2 * 3  # two variants and the limit, each with its mark in the legend
    assert plot.draw([{**frame_report(), "rows": []}], tmp_path) == []


@pytest.mark.parametrize("script", ["cpu.sh", "gpu.sh"])
def test_scripts_are_whole(script: str) -> None:
    path = ROOT / "benchmarks" / script
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    text = path.read_text(encoding="utf-8")
    for name in ("frame", "first_audio", "listeners", "long", "codec"):
        assert f" {name} " in text
