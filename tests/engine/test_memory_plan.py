"""Slots and windows from given numbers, and where the numbers come from."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fireredtts2.config import FLAVORS, MAX_CONTEXT_ROWS, DecoderConfig
from fireredtts2.engine.loading import build_engine
from fireredtts2.engine.memory_plan import (
    MAX_AUTO_SLOTS,
    MIN_WINDOW_ROWS,
    RESERVED_SHARE,
    Costs,
    codec_bytes,
    free_bytes,
    host_free_bytes,
    plan_memory,
    row_bytes,
)
from tests import tiny

GB = 10**9
COSTS = Costs(row_bytes=28_672, codec_bytes=100_000_000, weight_bytes=4 * GB)


def test_row_bytes_are_those_of_the_cache():
    assert row_bytes(FLAVORS["qwen-1.5b"], itemsize=2) == 28_672
    config = tiny.llm_config().backbone
    cache = tiny.llm().new_cache(3, 50)
    held = sum(layer.nbytes for layer in (*cache.keys, *cache.values))
    assert 3 * 51 * row_bytes(config, cache.dtype.itemsize) == held


def test_codec_bytes_are_nearly_those_of_the_state():
    codec = tiny.codec()
    state = codec.initial_state(1, 300)
    attention = sum(layer.keys.nbytes + layer.values.nbytes for layer in state.attention)
    config = codec.config.acoustic_decoder
    assert codec_bytes(config, 300) == attention
    tails = [*state.upsample, *state.convolutions, state.overlap]
    assert sum(tail.tail.nbytes for tail in tails) < 0.03 * attention
    assert codec_bytes(DecoderConfig(1024, 12, 16, causal=False), 300) == 0


def test_auto_gives_whole_windows_for_as_many_slots_as_fit():
    plan = plan_memory(10 * GB, COSTS, 3_100)
    assert (plan.num_slots, plan.window_rows) == (27, 3_100)
    assert plan.summary == (
        "27 slots of 3,100 rows: 5.1 GB beside 4.0 GB of weights, of 10.0 GB that is free"
    )
    assert plan_memory(80 * GB, COSTS, 3_100).num_slots == MAX_AUTO_SLOTS
    assert plan_memory(80 * GB, COSTS, 3_100, max_slots=5).num_slots == 5


def test_what_is_asked_for_is_given():
    plan = plan_memory(10 * GB, COSTS, 3_100, num_slots=2, window_rows=900)
    assert (plan.num_slots, plan.window_rows) == (2, 900)
    assert plan_memory(80 * GB, COSTS, 3_100, num_slots=200).num_slots == 200
    plan = plan_memory(10 * GB, COSTS, 3_100, window_rows=1_000)
    assert (plan.num_slots, plan.window_rows) == (40, 1_000)


def test_a_window_that_nobody_asked_for_shrinks():
    plan = plan_memory(10 * GB, COSTS, 3_100, num_slots=32)
    assert (plan.num_slots, plan.window_rows) == (32, 2_178)
    alone = plan_memory(int(4.5 * GB), Costs(28_672, 100_000_000, 4 * GB), 3_100)
    assert (alone.num_slots, alone.window_rows) == (1, 1_394)


def test_a_plan_of_one():
    plan = plan_memory(10**8, Costs(64, 0), 300, num_slots=1)
    assert plan.summary == "1 slot of 300 rows: 0.0 MB, of 0.1 GB that is free"


def test_too_many_slots_are_refused_with_what_would_fit():
    with pytest.raises(ValueError, match="40 slots of 3,100 rows") as refused:
        plan_memory(10 * GB, COSTS, 3_100, num_slots=40, window_rows=3_100)
    assert str(refused.value) == (
        "40 slots of 3,100 rows take 7.6 GB, but 10.0 GB are free, 0.8 GB of it in reserve; the "
        "weights take 4.0 GB. What would fit: num_slots=27 or window_rows=1045. Weights of a "
        "smaller dtype or a device with more memory leave more room"
    )


def test_slots_that_do_not_even_get_short_windows_are_refused():
    with pytest.raises(ValueError, match=f"100 slots of {MIN_WINDOW_ROWS} rows.*num_slots=42") as e:
        plan_memory(10 * GB, COSTS, 3_100, num_slots=100)
    assert "window_rows" not in str(e.value)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"weights take 4\.0 GB\. Weights of a smaller dtype"):
        plan_memory(3 * GB, COSTS, 3_100)


def test_where_nothing_is_known_nothing_is_refused():
    plan = plan_memory(None, COSTS, 3_100)
    assert (plan.num_slots, plan.window_rows) == (1, 3_100)
    assert plan.summary.endswith("of an unknown amount that is free")
    assert plan_memory(None, COSTS, 3_100, num_slots=500).num_slots == 500


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "many"])
def test_numbers_must_make_sense(value: object):
    with pytest.raises(ValueError, match=r"num_slots .* from 1$"):
        plan_memory(GB, COSTS, 3_100, num_slots=value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"window_rows .* from 1, at most 3100$"):
        plan_memory(GB, COSTS, 3_100, window_rows=value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="window_rows 3101: must be"):
        plan_memory(GB, COSTS, 3_100, window_rows=3_101)


@given(
    free=st.integers(0, 10**11),
    costs=st.builds(
        Costs, st.integers(1, 10**5), st.integers(0, 3 * 10**8), st.integers(0, 10**10)
    ),
    longest=st.integers(1, 4_096),
    num_slots=st.just("auto") | st.integers(1, 300),
    window=st.just("auto") | st.integers(1, 4_096),
)
def test_a_plan_fits_and_a_refusal_is_true(free, costs, longest, num_slots, window):
    if window != "auto":
        window = min(window, longest)
    room = free * (1 - RESERVED_SHARE) - costs.weight_bytes
    least = costs.slot_bytes(min(MIN_WINDOW_ROWS, longest) if window == "auto" else window)
    try:
        plan = plan_memory(free, costs, longest, num_slots, window)
    except ValueError:
        assert (1 if num_slots == "auto" else num_slots) * least > room - 1
        return
    assert plan.num_slots * plan.slot_bytes <= room
    assert plan.slot_bytes == costs.slot_bytes(plan.window_rows)
    assert 1 <= plan.window_rows <= longest
    assert num_slots in ("auto", plan.num_slots)
    assert window in ("auto", plan.window_rows)


# --- An engine ----------------------------------------------------------------------------------


def test_an_engine_gets_what_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO", logger="fireredtts2.engine")
    monkeypatch.setattr("fireredtts2.engine.loading.free_bytes", lambda device: 10**7)
    engine = build_engine(tiny.llm(), tiny.codec(), "auto")
    assert len(engine.scheduler.slots) == 5
    assert engine.model_runner.max_rows == MAX_CONTEXT_ROWS
    assert "cpu: 5 slots of 3,100 rows: " in caplog.text
    assert build_engine(tiny.llm(), tiny.codec(), 7).model_runner.max_rows < MAX_CONTEXT_ROWS
    with pytest.raises(ValueError, match="40 slots of 768 rows take"):
        build_engine(tiny.llm(), tiny.codec(), 40)


# --- What is free -------------------------------------------------------------------------------


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


MEMINFO = {"proc/meminfo": "MemTotal: 2000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\n"}


def group(name: str, limit: str, current: int = 0, inactive_file: int = 0) -> dict[str, str]:
    folder = f"sys/fs/cgroup/{name}".rstrip("/")
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{current}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {inactive_file}\n",
    }


def test_without_limits_it_is_what_the_system_could_give(tmp_path: Path):
    assert host_free_bytes(write(tmp_path, MEMINFO)) == 1_024_000
    groups = {"proc/self/cgroup": "4:memory:/old/way\n0::/user/job\n", **group("user", "max")}
    assert host_free_bytes(write(tmp_path, groups)) == 1_024_000


def test_the_closest_limit_counts(tmp_path: Path):
    write(tmp_path, {**MEMINFO, "proc/self/cgroup": "0::/user/job\n"})
    write(tmp_path, group("user/job", "900000", current=200_000, inactive_file=50_000))
    assert host_free_bytes(tmp_path) == 750_000
    write(tmp_path, group("user", "600000", current=500_000))
    assert host_free_bytes(tmp_path) == 100_000
    write(tmp_path, group("user", "600000", current=700_000))
    assert host_free_bytes(tmp_path) == 0


@pytest.mark.parametrize("path", ["/", "/../outside"])
def test_in_a_container_the_limit_is_at_the_top(tmp_path: Path, path: str):
    write(tmp_path, {**MEMINFO, "proc/self/cgroup": f"0::{path}\n"})
    write(tmp_path, group("", "500000"))
    assert host_free_bytes(tmp_path) == 500_000


def test_without_proc_it_is_all_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert (host_free_bytes(tmp_path) or 0) > 10**8
    monkeypatch.delattr("os.sysconf")
    assert host_free_bytes(tmp_path) is None


def test_this_machine_has_memory_free():
    free = free_bytes(torch.device("cpu"))
    assert free is not None
    assert 10**7 < free < 10**14


@pytest.mark.cuda
def test_a_device_has_memory_free():
    device = torch.device("cuda", 0)
    before = free_bytes(device)
    assert before is not None
    held = torch.zeros(1 << 28, device=device)
    after = free_bytes(device)
    assert after is not None
    assert before - after >= held.nbytes
    del held
    assert abs((free_bytes(device) or 0) - before) < 1 << 26
