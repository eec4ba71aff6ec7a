import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fireredtts2.evaluation.speed import PROBE, SpeedError, SpeedRequest, run_probe, speed_part
from fireredtts2.evaluation.speed_probe import peak_memory_mb, time_stream
from fireredtts2.narration.errors import SpeechError

RUNS = [
    {"first_audio_s": 0.2, "wall_s": 1.0, "audio_s": 4.0, "error": ""},
    {"first_audio_s": 0.1, "wall_s": 1.0, "audio_s": 4.0, "error": ""},
    {"first_audio_s": 0.12, "wall_s": 6.0, "audio_s": 12.0, "error": ""},
]


def test_figures_by_hand() -> None:
    measured = {"cores": 2, "import_s": 1.5, "load_s": 2.0, "loaded_memory_mb": 700.0}
    part = speed_part({**measured, "peak_memory_mb": 900.0, "runs": RUNS})
    values = {figure.key: figure.value for figure in part.figures}
    assert values["speed.real_time_factor"] == pytest.approx(8 / 20)
    assert values["speed.first_audio"] == 0.2
    assert values["speed.first_audio_later"] == pytest.approx(0.11)
    assert values["speed.load"] == 2.0
    assert values["speed.cold_start"] == 3.5
    failed = [figure.key for figure in part.figures if figure.verdict not in ("pass", "")]
    assert failed == ["speed.real_time_factor"]  # 0.4 is over the bound
    assert "dialogue alone 0.500" in part.figures[0].note


def test_first_audio_is_the_first_chunk_that_has_sound() -> None:
    sizes = [0, 1_560, 1_920]
    chunks = [SimpleNamespace(audio=np.zeros(n), sample_rate=24_000) for n in sizes]
    tts = SimpleNamespace(stream_dialogue=lambda script, voices, seed: iter(chunks))
    timed = time_stream(tts, ["[S1]Hi."], {"S1": "anna"}, {"seed": 0})
    assert timed["audio_s"] == pytest.approx(3_480 / 24_000)
    assert 0 < timed["first_audio_s"] <= timed["wall_s"]


def test_a_failed_turn_ends_the_run_and_is_told() -> None:
    def stream(script, voices, seed):
        yield SimpleNamespace(audio=np.zeros(24_000), sample_rate=24_000)
        raise SpeechError(1, "S2", "Hello.", "no end")

    timed = time_stream(SimpleNamespace(stream_dialogue=stream), ["[S1]Hi."], {}, {"seed": 0})
    assert timed["audio_s"] == 1.0
    assert "no end" in timed["error"]
    silent = {"first_audio_s": None, "wall_s": 1.0, "audio_s": 0.0, "error": "no end"}
    measured = {"cores": 2, "import_s": 1.5, "load_s": 2.0, "loaded_memory_mb": 700.0}
    part = speed_part({**measured, "peak_memory_mb": 900.0, "runs": [silent, silent]})
    assert part.figures[0].verdict == "not measured"
    assert "2 runs ended" in part.figures[0].note


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_childs_peak_is_its_own() -> None:
    ballast = np.ones(40_000_000)  # 320 MB that the child must not be blamed for
    code = f"import sys; sys.path.insert(0, {str(PROBE.parent)!r}); import speed_probe as s; "
    child = subprocess.run(
        [sys.executable, "-c", code + "print(s.peak_memory_mb())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 1 < float(child.stdout) < 100
    assert peak_memory_mb() > ballast.nbytes / 1e6


def test_the_usual_request_is_plain_json() -> None:
    request = SpeedRequest.usual(["anna", "ben"], seed=3)
    assert len(request.runs[0]["script"]) == 1
    assert len(request.runs[-1]["script"]) == 6
    assert json.loads(json.dumps(list(request.runs))) == list(request.runs)


def test_a_failed_measurement_tells_why() -> None:
    with pytest.raises(SpeedError, match="nowhere"):
        run_probe("./nowhere", SpeedRequest([]))
