"""The evaluation around the real classes: a tiny model of random weights, which speaks noise."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fireredtts2.checkpoint import MINI_FOLDER
from fireredtts2.codec import RedCodec
from fireredtts2.config import CodecConfig, LLMConfig
from fireredtts2.evaluation.run import Evaluation, EvaluationConfig
from fireredtts2.evaluation.speed import SpeedRequest, run_probe, speed_part
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.voices import Voice
from tests.evaluation.fakes import FakeQuality, FakeSpeaker, fake_judges, simple_form
from tests.evaluation.test_corpus import write_shard

TURN_LIMIT_MS = 800
CODEC = {
    "ssl": {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "num_mels": 80},
    "ssl_adaptor": {"in_dim": 16, "embed_dim": 8, "out_dim": 8, "num_layers": 1, "num_heads": 2},
    "acoustic_encoder": {"embed_dim": 16, "num_layers": 1, "num_heads": 2, "num_mels": 80},
    "downsample": {"embed_dim": 24},
    "rvq": {
        "input_dim": 24, "rvq_dim": 8, "output_dim": 32, "num_quantizers": 2,
        "codebook_size": 16, "codebook_dim": 4,
    },
    "upsample": {"embed_dim": 32},
    "semantic_decoder": {
        "in_dim": 32, "embed_dim": 8, "out_dim": 16, "num_layers": 1, "num_heads": 2,
    },
    "acoustic_decoder": {"embed_dim": 32, "num_layers": 1, "num_heads": 2},
}  # fmt: skip
SIZES = {
    "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "embed_dim": 16, "intermediate_dim": 32,
}  # fmt: skip
LLM = {
    "backbone_flavor": "tiny",
    "decoder_flavor": "tiny",
    "text_vocab_size": 4_096,
    "audio_vocab_size": 19,
    "audio_num_codebooks": 2,
    "decoder_loss_weight": 0.6,
    "flavors": {"tiny": SIZES},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    codec = RedCodec(CodecConfig.from_dict(CODEC))
    llm = DualTransformer(LLMConfig.from_dict(LLM))
    for name, module in {"codec": codec, "llm": llm}.items():
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        state = {key: value.contiguous() for key, value in module.state_dict().items()}
        save_file(state, folder / f"{name}.safetensors")
    (folder / "config_codec.json").write_text(json.dumps({"codec": CODEC}), encoding="utf-8")
    (folder / "config_llm.json").write_text(json.dumps({"llm_models": LLM}), encoding="utf-8")
    shutil.copytree(MINI_FOLDER / "tokenizer", folder / "tokenizer")
    (folder / "voices").mkdir()
    for name in ("anna", "ben"):
        voice = Voice(name, torch.randint(0, 16, (2, 10)), "A prompt.")
        voice.save(folder / "voices" / f"{name}.safetensors")
    return folder


class ShortTTS(FireRedTTS2):
    """Random weights never end a turn: it is cut, soon, and kept."""

    def say(self, text, voice=None, **options):
        return super().say(text, voice, **self._short(options))

    def dialogue(self, script, voices=None, **options):
        return super().dialogue(script, voices, **self._short(options))

    @staticmethod
    def _short(options):
        return {**options, "turn_limit_ms": TURN_LIMIT_MS, "on_runaway": "accept"}


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
    judges = fake_judges([])
    judges = type(judges)(MumblingTranscriber(), simple_form, FakeSpeaker(), FakeQuality())
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
    run = {"script": ["[S1]Hello."], "voices": {"S1": "anna"}, "seed": 0}
    measured = run_probe(str(model), SpeedRequest([run, run], cores=1))
    assert measured["cores"] >= 1
    assert measured["peak_memory_mb"] >= measured["loaded_memory_mb"] > 50
    assert all(r["audio_s"] > 0 and r["first_audio_s"] < r["wall_s"] for r in measured["runs"])
    figures = {figure.key: figure for figure in speed_part(measured).figures}
    assert figures["speed.load"].value > 0
