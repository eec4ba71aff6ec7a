"""Stand-ins for the model and the judges: each tells from the sound alone what it is.

A fake voice speaks a text as a tone: its pitch is the voice, and the text's number is written into
the first sample, so that the fake transcriber really reads the audio that came through the files.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from fireredtts2.audio import read_audio
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.sets import load_dialogues, load_sentences
from fireredtts2.evaluation.settings import EvaluationConfig, PartName
from fireredtts2.narration.errors import SpeechError
from fireredtts2.speech import Speech, Turn
from fireredtts2.voices import Voice

PITCH_HZ = {"anna": 200.0, "ben": 400.0, "cleo": 800.0}
SECONDS = 1.0
TEXTS = [*load_sentences(4), *(line.text for d in load_dialogues(2) for line in d.lines)]


def tone(hz: float, seconds: float = SECONDS, rate_hz: int = OUTPUT_RATE_HZ) -> np.ndarray:
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def pitch_of(audio: np.ndarray) -> float:
    """Loudest frequency of audio (samples,) at 16 kHz, in Hz."""
    return float(np.abs(np.fft.rfft(audio)).argmax() * INPUT_RATE_HZ / len(audio))


class FakeTranscriber:
    """Knows a text by how long its audio is: text number n lasts 1 + n / 100 seconds."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.calls = 0

    def transcribe(self, audio: np.ndarray) -> str:
        self.calls += 1
        return self.texts[round((len(audio) / INPUT_RATE_HZ - SECONDS) * 100)]


class FakeSpeaker:
    """An embedding with a one at the voice's pitch."""

    def embed(self, audio: np.ndarray) -> np.ndarray:
        distances = [abs(pitch_of(audio) - hz) for hz in PITCH_HZ.values()]
        return np.eye(len(PITCH_HZ))[int(np.argmin(distances))]


class FakeQuality:
    def score(self, audio: np.ndarray) -> float:
        return 1.0 + 8.0 * float(np.abs(audio).mean())


class FakeCodec:
    """Decodes a prompt's codes to its voice's tone, and audio to itself at 24 kHz."""

    def encode(self, audio: torch.Tensor, lengths: object = None) -> tuple[torch.Tensor, object]:
        return audio, lengths

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        if not codes.is_floating_point():
            return torch.from_numpy(tone(float(codes[0, 0, 0])))[None]
        size = codes.shape[-1] * OUTPUT_RATE_HZ // INPUT_RATE_HZ
        return torch.nn.functional.interpolate(codes[None], size=size, mode="linear")[0]


class FakeTTS:
    """Speaks each text as a tone whose length says which text it is; counts its calls."""

    codec = FakeCodec()
    device = torch.device("cpu")

    def __init__(self, texts: list[str], fails: str = "", wrong: str = "") -> None:
        self.texts = texts
        self.fails = fails
        self.wrong = wrong
        self.calls = 0
        self.adapted: list[bool] = []  # of each voice that was made

    def make_voice(self, name: str, wav: Path, text: str, adapt: bool = False) -> Voice:
        """A voice whose codes are the pitch of the clip; refuses a clip of over 2 s."""
        self.adapted.append(adapt)
        audio = read_audio(wav, INPUT_RATE_HZ).numpy()
        if len(audio) > 2 * INPUT_RATE_HZ:
            raise ValueError("a voice prompt is of at most 2 s")
        return Voice(name, torch.full((2, 5), round(pitch_of(audio))), text)

    def say(self, text: str, voice: Voice, *, seed: int) -> Speech:
        return self.dialogue([f"[S1]{text}"], {"S1": voice}, seed=seed)

    def dialogue(self, script: list[str], voices: dict[str, Voice], *, seed: int) -> Speech:
        self.calls += 1
        turns: list[Turn] = []
        for index, line in enumerate(script):
            speaker, text = line[1:3], line[4:]
            if text == self.fails:
                raise SpeechError(index, speaker, text, "no end", turns)
            pitch_hz = float(voices[speaker].codes[0, 0])
            hz = PITCH_HZ["cleo"] if text == self.wrong else pitch_hz
            sound = torch.from_numpy(tone(hz, SECONDS + self.texts.index(text) / 100))
            turns.append(Turn(speaker, text, 0.0, 1.0, torch.zeros(2, 3), sound))
        return Speech(torch.cat([turn.audio for turn in turns]), OUTPUT_RATE_HZ, turns, seed)


def fake_voice(name: str) -> Voice:
    return Voice(name, torch.full((2, 5), round(PITCH_HZ[name])), "A prompt.")


def make_checkpoint(folder: Path) -> Path:
    """A checkpoint folder with three voices and no weights."""
    (folder / "voices").mkdir(parents=True)
    (folder / "config_llm.json").write_text('{"llm_models": {}}', encoding="utf-8")
    for name in PITCH_HZ:
        fake_voice(name).save(folder / "voices" / f"{name}.safetensors")
    return folder


def make_config(tmp_path: Path, *parts: PartName, **options: Any) -> EvaluationConfig:
    """Settings for `TEXTS`, of a checkpoint that is made in `tmp_path` unless it is there."""
    model = tmp_path / "model"
    if not model.exists():
        make_checkpoint(model)
    out = options.pop("out", tmp_path / "out")
    settings = {"sentences": 4, "dialogues": 2, "runaway_turns": 20, "device": "cpu", **options}
    return EvaluationConfig(str(model), out, parts, **settings)


def simple_form(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c == " ").split())


def fake_judges(texts: list[str]) -> Judges:
    return Judges(FakeTranscriber(texts), simple_form, FakeSpeaker(), FakeQuality(), "a fake")
