"""Every step of the recipe after the fetching, on a corpus of noise and with tiny sizes."""

import copy
import io
import json
import shutil
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from fireredtts2 import FireRedTTS2
from fireredtts2.codec import RedCodec
from fireredtts2.codec.encoder import WhisperEncoder
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ, EncoderConfig
from fireredtts2.evaluation.judges import Judges
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.training.corpus import read_codes
from fireredtts2.training.train_codec import StageOne
from fireredtts2.training.train_decoder import StageTwo
from fireredtts2.training.train_guidance import BareTrainer, GuidanceTrainer
from fireredtts2.training.train_llm import LlmTrainer
from fireredtts2.training.train_speakers import SpeakerTrainer
from fireredtts2.voices import Voice
from recipes.mini import (
    align,
    choose_voices,
    decode_corpus,
    export,
    guide,
    renew_codec,
    semantic_features,
    tokenise,
    train_codec,
    train_decoder,
    train_listener,
    train_llm,
    train_speakers,
)
from recipes.mini.settings import SETTINGS_ENV, settings
from recipes.mini.speak_lines import add_file
from tests.evaluation.fakes import FakeTranscriber

RATE_HZ = 24_000
TEXTS = ("Good morning to you.", "The kettle is on, Mr. Hill.", "We shall see.")
SETTINGS = """
[codec]
ssl = { embed_dim = 384, num_layers = 1, num_heads = 6, num_mels = 16 }
ssl_adaptor = { in_dim = 384, embed_dim = 16, out_dim = 16, num_layers = 1, num_heads = 2 }
acoustic_encoder = { embed_dim = 16, num_layers = 1, num_heads = 2, num_mels = 16 }
downsample = { embed_dim = 32 }
upsample = { embed_dim = 32 }
semantic_decoder = { in_dim = 32, embed_dim = 16, out_dim = 384, num_layers = 1, num_heads = 2 }
acoustic_decoder = { embed_dim = 32, num_layers = 1, num_heads = 2 }

[codec.rvq]
input_dim = 32
rvq_dim = 16
output_dim = 32
num_quantizers = 4
codebook_size = 16
codebook_dim = 4

[train_codec]
chunks_per_step = 2
crop_frames = 8
total_steps = 4
quantize_after_steps = 1
few_codebooks = 3

[train_speakers]
width = 16
seconds_per_step = 3
total_steps = 3

[train_decoder]
frames_per_step = 24
codebooks = [3, 4]
adversarial_frames = 4
total_steps = 2
adversarial_from_step = 1

[llm]
backbone_flavor = "b"
decoder_flavor = "d"
audio_vocab_size = 16
audio_num_codebooks = 3
decoder_loss_weight = 0.6
flavors.b = { num_layers = 2, num_heads = 2, num_kv_heads = 1, embed_dim = 32, intermediate_dim = 48 }
flavors.d = { num_layers = 1, num_heads = 2, num_kv_heads = 1, embed_dim = 16, intermediate_dim = 24 }

[train_llm]
rows_per_step = 512
rows_per_sequence = 256
total_steps = 4
conversation_from = 0.5
guide_layers = [1]
prompt_layers = [1]

[guide]
rows_per_step = 1024
total_steps = 2

[guide_bare]
total_steps = 3

[text]
normalize = true
phonemes = "pronunciations.txt.gz"
"""  # noqa: E501


def write_corpus(folder: Path) -> None:
    """Two shards of two voices; ids 0 to 3 and 100 are held out."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for shard in range(2):
        rows = []
        with tarfile.open(folder / f"shard_{shard:03d}.tar", "w") as tar:
            for number in range(8):
                clip = 100 * shard + number
                audio = 0.1 * rng.standard_normal(int(RATE_HZ * rng.uniform(3.1, 4.0)))
                rows.append(
                    {
                        "id": clip, "speaker": ("af_one", "bm_two")[number % 2], "style": "a",
                        "speed": 1.0, "kind": "talk", "text": TEXTS[number % len(TEXTS)],
                    }
                )  # fmt: skip
                data = io.BytesIO()
                soundfile.write(data, audio, RATE_HZ, format="OGG", subtype="OPUS")
                add_file(tar, f"{clip:05d}.opus", data.getvalue())
            add_file(tar, "metadata.jsonl", "\n".join(map(json.dumps, rows)).encode())


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the fetching has been done: a random encoder stands for Whisper's."""
    (tmp_path / "config.toml").write_text(SETTINGS)
    monkeypatch.setenv(SETTINGS_ENV, str(tmp_path / "config.toml"))
    monkeypatch.setattr(align, "CTC_STEPS", 2)
    monkeypatch.setattr(align, "BORDER_STEPS", 1)
    monkeypatch.setattr(align, "MIN_CONFIDENCE", 0.0)
    monkeypatch.setattr(train_listener, "NUM_STEPS", 2)
    work = tmp_path / "work"
    work.mkdir()
    torch.manual_seed(0)
    encoder = WhisperEncoder(EncoderConfig(**settings()["codec"]["ssl"]))
    save_file(encoder.state_dict(), work / "ssl.safetensors")
    return work


def run_all(corpus: Path, work: Path, model: Path) -> None:
    decode_corpus.main(str(corpus), str(work))
    semantic_features.main(str(work), "not read")
    align.main(str(work))
    train_codec.main(str(work))
    tokenise.main(str(work))
    train_speakers.main(str(work))
    train_decoder.main(str(work))
    train_listener.main(str(work))
    train_llm.main(str(work))
    export.main(str(work), str(model))


def test_the_steps_fit_together_and_their_model_speaks(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_corpus(tmp_path / "corpus")
    model = tmp_path / "model"
    shutil.copytree(train_llm.MODEL / "tokenizer", model / "tokenizer")
    shutil.copy(train_llm.MODEL / "pronunciations.txt.gz", model)
    steps = count_steps(monkeypatch)
    run_all(tmp_path / "corpus", work, model)
    tts = FireRedTTS2(model, device="cpu")
    assert tts.voices.list() == ["af_one", "bm_two"]
    speech = tts.say(
        "We see.", voice="bm_two", seed=0, turn_limit_ms=400, on_runaway="accept", max_attempts=9
    )
    assert 0 < len(speech.audio) <= 5 * 1920
    assert torch.isfinite(speech.audio).all()
    made = {path: path.stat().st_mtime_ns for path in work.glob("codes_*.npz")}
    run_all(tmp_path / "corpus", work, model)  # all is done: a second run changes nothing
    assert {path: path.stat().st_mtime_ns for path in work.glob("codes_*.npz")} == made
    assert torch.load(work / "llm.pt", weights_only=True)["step"] == 4
    assert steps == {"StageOne": 4, "SpeakerTrainer": 3, "StageTwo": 2, "LlmTrainer": 4}
    check_clips_that_count_oftener(work)
    with monkeypatch.context() as patch:
        check_spelt_copies(work, patch)
    check_chosen_voices(work, model, monkeypatch)
    steps.clear()
    check_guided(work, model)
    assert steps == {"BareTrainer": 3, "GuidanceTrainer": 2}
    check_guided_once_more(work, model, monkeypatch)
    check_a_new_export_is_not_replaced(work, model)
    steps.clear()
    check_renewed_codec(work, model, tmp_path, monkeypatch)
    assert steps == {"StageOne": 4, "SpeakerTrainer": 3, "StageTwo": 2, "LlmTrainer": 4}


def check_renewed_codec(
    work: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new encoder begins with the shipped one; what is carried over fits together and speaks."""
    anew = tmp_path / "anew"
    anew.mkdir()
    for path in work.iterdir():
        if path.name.startswith(("index", "audio", "features", "align", "ssl")):
            (anew / path.name).symlink_to(path)
    shipped = load_file(model / "codec.safetensors")
    began = []
    build = StageOne.__init__

    def watched(stage: StageOne, codec: RedCodec, *rest: Any) -> None:
        began.append({name: value.clone() for name, value in codec.state_dict().items()})
        build(stage, codec, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(StageOne, "__init__", watched)
        renew_codec.main(str(anew), "0", str(model))
        assert not (anew / "codec_frozen.safetensors").exists()  # cut before its end
        renew_codec.main(str(anew), None, str(model))
        renew_codec.main(str(anew), None, str(model))  # all is done
    assert len(began) == 2
    for name, value in shipped.items():
        assert torch.equal(began[0][name], value.float() if value.is_floating_point() else value)
    carried = load_file(anew / "codec_frozen.safetensors")
    for name, value in shipped.items():
        if name.startswith(("upsample.", "acoustic_decoder.")):
            assert torch.equal(carried[name], value.float())
    llm, shipped_llm = (
        load_file(path) for path in (anew / "llm_start.safetensors", model / "llm.safetensors")
    )
    for name, value in shipped_llm.items():
        is_carried = name in ("audio_embeddings.weight", "codebook0_head.weight", "audio_head")
        assert torch.equal(llm[name], value.float()) != is_carried
    learnt = torch.load(anew / "codec_stage1.pt", weights_only=True)["average"]
    name = "acoustic_encoder.layers.0.fc1.weight"
    assert torch.equal(carried[name], learnt[name])
    assert not torch.equal(carried[name], shipped[name].float())
    tokenise.main(str(anew))
    train_speakers.main(str(anew))
    train_decoder.main(str(anew))
    train_listener.main(str(anew))
    train_llm.main(str(anew))
    export.main(str(anew), str(model))
    speech = FireRedTTS2(model, device="cpu").say(
        "We see.", "af_one", seed=0, turn_limit_ms=400, on_runaway="accept", max_attempts=9
    )
    assert 0 < len(speech.audio) <= 5 * 1920
    assert torch.isfinite(speech.audio).all()


def count_steps(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many steps the trainers take from now on, by name."""
    counts: Counter[str] = Counter()

    def watch(kind: type) -> None:
        step = kind.step

        def counted(trainer: Any, *batch: Any) -> dict[str, float]:
            counts[kind.__name__] += 1
            return step(trainer, *batch)

        monkeypatch.setattr(kind, "step", counted)

    for kind in (StageOne, SpeakerTrainer, StageTwo, LlmTrainer, BareTrainer, GuidanceTrainer):
        watch(kind)
    return counts


def check_chosen_voices(work: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clip that ships is the one that the judges like best, whichever that is."""
    liked = 105  # a clip of bm_two

    class Listener:
        def embed(self, audio: np.ndarray) -> np.ndarray:
            return np.ones(4, np.float32)

    def score(chooser: choose_voices.Chooser, voice: Voice, profile: object) -> float:
        # NOTE: by length: after so little training several clips have the same codes.
        samples = {row["id"]: row["samples"] for row in chooser.rows[voice.name]}.get(liked, 0)
        return float(voice.source_samples == samples * INPUT_RATE_HZ // OUTPUT_RATE_HZ)

    judges = Judges(FakeTranscriber([]), str.lower, Listener())
    monkeypatch.setattr(Judges, "load", lambda: judges)
    monkeypatch.setattr(choose_voices, "RECORDINGS_PER_VOICE", 2)  # of four
    monkeypatch.setattr(choose_voices.Chooser, "_score", score)
    choose_voices.main(str(work), str(model))
    voice = FireRedTTS2(model, device="cpu").voices.get("bm_two")
    wanted = dict(read_codes(work))[liked]
    assert np.array_equal(voice.codes.numpy(), wanted)
    assert voice.text == TEXTS[5 % len(TEXTS)]


def check_guided(work: Path, model: Path) -> None:
    """What the student learnt is what ships; a second run begins from where the first did."""
    before = load_file(model / "llm.safetensors")
    for _ in range(2):
        guide.main(str(work), str(model))
        after = load_file(model / "llm.safetensors")
        learnt = torch.load(work / "guided.pt", weights_only=True)
        assert learnt["step"] == 2
        assert all(torch.equal(learnt["average"][n].half(), value) for n, value in after.items())
        assert any(not torch.equal(value, after[name]) for name, value in before.items())
    assert torch.load(work / "bare.pt", weights_only=True)["step"] == 3
    kept = load_file(work / "unguided.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in before.items())


def check_guided_once_more(work: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new run learns on from what ships, and is still told by what was there before any."""
    began = []

    class Watched(guide.GuidanceTrainer):
        def __init__(self, student: DualTransformer, told: DualTransformer, *rest: Any) -> None:
            began.append((copy.deepcopy(student.state_dict()), copy.deepcopy(told.state_dict())))
            super().__init__(student, told, *rest)

    monkeypatch.setattr(guide, "GuidanceTrainer", Watched)
    (work / "guided.pt").unlink()
    shipped, unguided = (
        load_file(path) for path in (model / "llm.safetensors", work / "unguided.safetensors")
    )
    guide.main(str(work), str(model))
    for found, wanted in zip(began[0], (shipped, unguided), strict=True):
        assert all(torch.equal(found[name], value.float()) for name, value in wanted.items())
    assert any(not torch.equal(shipped[name], value) for name, value in unguided.items())


def check_a_new_export_is_not_replaced(work: Path, model: Path) -> None:
    """Runs that began with another model do not write theirs over it."""
    export.main(str(work), str(model))
    exported = {name: value + 1 for name, value in load_file(model / "llm.safetensors").items()}
    save_file(exported, model / "llm.safetensors")
    with pytest.raises(ValueError, match=r"guided\.pt.*another llm\.safetensors"):
        guide.main(str(work), str(model))
    (work / "unguided.safetensors").unlink()
    with pytest.raises(ValueError, match=r"bare\.pt.*another unguided\.safetensors"):
        guide.main(str(work), str(model))
    kept = load_file(model / "llm.safetensors")
    assert all(torch.equal(value, kept[name]) for name, value in exported.items())


def check_clips_that_count_oftener(work: Path) -> None:
    """Those of a kind that is named, as they are spoken, not their spelt copies."""
    tokenizer = TextTokenizer.from_folder(train_llm.MODEL / "tokenizer")
    once = train_llm.load_clips(work, tokenizer)
    assert len(train_llm.load_clips(work, tokenizer, times={"list": 3})) == len(once)
    thrice = train_llm.load_clips(work, tokenizer, times={"talk": 3})
    spoken = [clip for clip in once if clip.spoken is not None]
    assert len(thrice) == len(once) + 2 * len(spoken)


def check_spelt_copies(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no word spelt, a copy reads what its clip does: "Mr." is read out in both."""
    monkeypatch.setattr(train_llm, "SPELT_CLIPS", 1.0)
    monkeypatch.setattr(train_llm, "SPELT_WORDS", 0.0)
    clips = train_llm.load_clips(work, TextTokenizer.from_folder(train_llm.MODEL / "tokenizer"))
    for clip, copied in zip(clips[::2], clips[1::2], strict=True):
        assert copied.spoken is None
        assert copied.text_ids == clip.text_ids
