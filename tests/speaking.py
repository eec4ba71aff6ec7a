"""Fixtures of the command line's tests: a model that speaks and stops, a shell to command it."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.training.codec import voice_adaptation
from fireredtts2.training.codec.voice_adaptation import Adaptation
from fireredtts2.voices import Voice
from tests import tiny
from tests.shell import FRAMES_PER_TURN, Shell

LOADED: dict[str, object] = {}
VOICE_NAMES = ("af_heart", "am_michael")


@pytest.fixture(scope="session")
def voiced_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with two voices; do not write into it."""
    folder = tmp_path_factory.mktemp("voiced") / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    codec_id = CheckpointFolder(folder).codec_id
    (folder / "voices").mkdir()
    for seed, name in enumerate(VOICE_NAMES):
        generator = torch.Generator().manual_seed(seed)
        codes = torch.randint(tiny.CODEBOOK_SIZE, (tiny.NUM_CODEBOOKS, 12), generator=generator)
        voice = Voice(name, codes, "This is how I sound.", codec_id=codec_id)
        voice.save(folder / "voices" / f"{name}.safetensors")
    return folder


def loaded_once(load: Callable[..., object]) -> Callable[..., object]:
    """A model has no state of its own, so commands may share it, which saves most of the time."""

    def load_or_remember(folder: CheckpointFolder, *args: object) -> object:
        named = [str(arg) for arg in args if not isinstance(arg, dict)]
        key = " ".join([load.__name__, str(folder.path.resolve()), *named])
        if key not in LOADED:
            LOADED[key] = load(folder, *args)
        return LOADED[key]

    return load_or_remember


@pytest.fixture
def quick_adaptation(monkeypatch: pytest.MonkeyPatch) -> Adaptation:
    """How voices are adapted to: in two updates."""
    quick = partial(Adaptation, steps=2)
    monkeypatch.setattr(voice_adaptation, "Adaptation", quick)
    return quick()


@pytest.fixture
def turn_lengths(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Frames of each turn of every model loaded from now on; a test may change the list.

    A model with random weights does not know when to stop.
    """
    from fireredtts2.narration import prompter, studio

    lengths: list[int | None] = [FRAMES_PER_TURN] * 200
    build = studio.build_engine

    def build_scripted(*args: object, **kwargs: object) -> object:
        engine = build(*args, **kwargs)  # type: ignore[arg-type]
        tiny.script_turns(engine, *lengths)
        return engine

    monkeypatch.setattr(studio, "build_engine", build_scripted)
    monkeypatch.setattr(studio, "load_fused_llm", loaded_once(studio.load_fused_llm))
    monkeypatch.setattr(prompter, "load_codec", loaded_once(prompter.load_codec))
    return lengths


@pytest.fixture
def tiny_mini(
    voiced_checkpoint: Path,
    turn_lengths: list[int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Makes "mini" the tiny checkpoint, in a folder of its own without the user's voices."""
    monkeypatch.setattr("fireredtts2.checkpoint.MINI_FOLDER", voiced_checkpoint)
    for name in ("FIREREDTTS2_MODEL", "FIREREDTTS2_DEVICE", "FIREREDTTS2_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIREREDTTS2_VOICES", str(tmp_path / "own_voices"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def shell(tiny_mini: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell in an empty folder, whose `fireredtts2` speaks with the tiny model."""
    return Shell(tiny_mini, monkeypatch)
