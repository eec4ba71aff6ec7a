"""The evaluation around the real classes: a tiny model of random weights, which speaks noise."""

import json
from pathlib import Path

import pytest
import torch

from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.run import Evaluation, EvaluationConfig
from fireredtts2.evaluation.speed import SpeedRequest, run_probe, speed_part
from fireredtts2.evaluation.streams import HeardAsStreams
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.narration.errors import SpeechError
from fireredtts2.proofing.listener import Listener
from fireredtts2.script import ScriptTurn
from fireredtts2.voices import Voice
from tests import tiny
from tests.evaluation.fakes import FakeQuality, FakeSpeaker, simple_form
from tests.evaluation.test_corpus import write_shard

TURN_LIMIT_MS = 800
SHORT = {"turn_limit_ms": TURN_LIMIT_MS, "on_runaway": "accept"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.write_checkpoint(tmp_path_factory.mktemp("tiny"))
    (folder / "voices").mkdir()
    for name in ("anna", "ben"):
        codes = torch.randint(tiny.CODEBOOK_SIZE, (tiny.NUM_CODEBOOKS, 10))
        Voice(name, codes, "A prompt.").save(folder / "voices" / f"{name}.safetensors")
    return folder


class ShortTTS(FireRedTTS2):
    """Random weights never end a turn: it is cut, soon, and kept."""

    def say(self, text, voice=None, **options):
        return super().say(text, voice, **options, **SHORT)

    def dialogue(self, script, voices=None, **options):
        return super().dialogue(script, voices, **options, **SHORT)


@pytest.fixture
def listening(tmp_path: Path) -> HeardAsStreams:
    folder = tiny.write_listener(tiny.write_checkpoint(tmp_path / "listening"))
    return HeardAsStreams(folder, device="cpu")


def test_streams_are_judged_as_far_as_there_is_time(
    listening: HeardAsStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    clearness = iter([-3.0, -0.5])
    monkeypatch.setattr(Listener, "clearness", lambda self, audio, units: next(clearness))
    tiny.script_turns(listening.studio.engine, 5, 6, 7, 8)
    script = [ScriptTurn("S1", "Hello."), ScriptTurn("S2", "Yes?", pause_s=60.0)]
    assert [turn.codes.shape[1] for turn in listening.dialogue(script, seed=1).turns] == [5, 7]
    assert [turn.codes.shape[1] for turn in listening.say("Hello.", seed=1).turns] == [8]


def test_a_stream_that_fails_keeps_what_was_heard(listening: HeardAsStreams) -> None:
    tiny.script_turns(listening.studio.engine, 5, None)
    with pytest.raises(SpeechError) as caught:
        listening.dialogue(["[S1]Hello.", "[S2]Yes?"], seed=1, turn_limit_ms=TURN_LIMIT_MS)
    assert [turn.text for turn in caught.value.turns] == ["Hello."]


class MumblingTranscriber:
    def transcribe(self, audio) -> str:
        return "mumble"


def test_a_report_of_a_model_that_cannot_speak(model: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_shard(corpus / "shard_000.tar", [0, 1])
    parts = ("wer", "dialogue", "runaways", "codec")
    config = EvaluationConfig(
        str(model), tmp_path / "out", parts, 2, 1, 1, runaway_turns=9, corpus=corpus, device="cpu"
    )
    judges = Judges(MumblingTranscriber(), simple_form, FakeSpeaker(), FakeQuality())
    Evaluation(config, lambda: ShortTTS(str(model), device="cpu"), lambda: judges).run()
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    figures = {figure["key"]: figure for figure in report["figures"]}
    assert figures["sentences.wer"]["value"] >= 90
    assert figures["dialogue.wer"]["count"] == 6
    assert figures["codec.wer_cost"]["value"] == 0  # it mumbles before and after the codec
    assert figures["codec.mel"]["value"] > 0
    assert figures["runaways.returned"]["count"] == 9
    assert figures["runaways.returned"]["value"] == 9  # each was cut at its limit
    rows = report["parts"]["sentences"]["rows"]
    assert all(row["seconds"] == pytest.approx(TURN_LIMIT_MS / 1000, abs=0.1) for row in rows)


def test_speed_in_a_process_of_its_own(model: Path) -> None:
    options = {"seed": 0, **SHORT}
    run = {"script": ["[S1]Hello."], "voices": {"S1": "anna"}, "options": options}
    measured = run_probe(str(model), SpeedRequest([run, run]))
    assert measured["cores"] >= 1
    assert measured["peak_memory_mb"] >= measured["loaded_memory_mb"] > 50
    assert all(r["audio_s"] > 0 and r["first_audio_s"] < r["wall_s"] for r in measured["runs"])
    figures = {figure.key: figure for figure in speed_part(measured).figures}
    assert figures["speed.load"].value > 0
