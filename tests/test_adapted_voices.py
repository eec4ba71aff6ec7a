"""Voices that the decoder was adapted to, through the public face."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from fireredtts2 import FireRedTTS2, Voice
from fireredtts2.codec.voice_adapter import VoiceAdapter
from fireredtts2.training.codec.voice_adaptation import Adaptation
from tests import tiny
from tests.tiny import script_turns, write_checkpoint

pytest_plugins = ("tests.speaking",)
SCRIPT = ["[S1]Hello there.", "[S2]Hi, how are you?"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A second of noise that stands for a voice."""
    path = tmp_path / "voice.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    return path


@pytest.fixture
def adapted(tmp_path: Path, clip: Path, quick_adaptation: Adaptation):
    """A model, and a voice that its decoder was adapted to."""
    folder = write_checkpoint(tmp_path / "adapted", equalizer=1.0, prompt_frames=4)
    tts = FireRedTTS2(folder, device="cpu", gen_type="dialogue")
    told: list[tuple[int, int]] = []
    made = tts.make_voice(
        "anna", clip, "What is said.", adapt=True, on_progress=lambda *step: told.append(step)
    )
    assert told == [(1, 2), (2, 2)]
    return tts, made


def test_a_voice_is_spoken_with_its_adapter(adapted, clip: Path, tmp_path: Path):
    """By its file too, and beside others."""
    tts, made = adapted
    made.save(tmp_path / "anna.safetensors")
    kept = Voice.load(tmp_path / "anna.safetensors")
    own = VoiceAdapter.from_tensors(made.adapter, tts.codec.config.acoustic_decoder)
    gains = tts.codec.equalization(made.spectrum, made.codes, own)[None]
    prompt = made.codes[None, :, -4:]
    other = tts.make_voice("boris", clip, "What is said.")
    script_turns(tts.studio.engine, *[5] * 4)
    spoken = [
        *tts.say("Hello.", made, seed=1).turns,
        *tts.say("Hello.", kept, seed=1).turns,
        *tts.dialogue(SCRIPT, voices={"S1": made, "S2": other}, seed=1).turns,
    ]
    assert len(spoken) == 4
    for turn in spoken[:3]:
        expected = tts.codec.decode(turn.codes[None], gains, prompt, own.rows(1))[0]
        assert (turn.audio - expected).abs().max() < 1e-5
    plain = tts.codec.equalization(other.spectrum, other.codes)[None]
    expected = tts.codec.decode(spoken[3].codes[None], plain, other.codes[None, :, -4:])[0]
    assert (spoken[3].audio - expected).abs().max() < 1e-5
    unadapted = tts.codec.decode(spoken[0].codes[None], gains, prompt)[0]
    assert (spoken[0].audio - unadapted).abs().max() > 1e-3


def test_more_recordings_are_learnt_from(adapted, clip: Path, tmp_path: Path):
    tts, made = adapted
    sound = np.random.default_rng(1).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "other.wav", sound, 16_000)
    others = [tmp_path / "other.wav", (tmp_path / "other.wav").read_bytes()]
    more = tts.make_voice("anna", clip, "What is said.", adapt=True, more=others)
    assert torch.equal(more.codes, made.codes)
    assert not torch.equal(more.adapter["up"], made.adapter["up"])
    with pytest.raises(ValueError, match=r"2 more clips were given, of which only an adapter"):
        tts.make_voice("anna", clip, "What is said.", more=others)
    with pytest.raises(ValueError, match=r"a clip is a path, .* not int"):
        tts.make_voice("anna", clip, "What is said.", adapt=True, more=[3])


def test_an_adapter_of_another_decoder_is_left_out_and_said(
    adapted, caplog: pytest.LogCaptureFixture
):
    tts, made = adapted
    elsewhere = dataclasses.replace(made, decoder_id="another")
    assert tts.studio.prompter.voice_timbre(elsewhere).adapter is None
    assert "voice 'anna' was adapted to another decoder (another; this model's" in caplog.text
    damaged = dataclasses.replace(made, adapter={"down": torch.zeros(2)})
    with pytest.raises(ValueError, match=r"voice 'anna': an adapter of .*; make it again"):
        tts.say("Hello.", damaged)


def test_a_codec_that_cannot_be_adapted_says_so(adapted, clip: Path):
    tts, _ = adapted
    tts.codec = tiny.codec(causal=False)
    with pytest.raises(ValueError, match=r"decoder is not causal .*no adapters"):
        tts.make_voice("anna", clip, "What is said.", adapt=True)
