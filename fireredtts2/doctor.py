"""Is everything well: packages, devices, model, does it speak; and how to mend what is not."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fireredtts2.playback import INSTALL_HINT, PLAYERS, available_players

Status = Literal["ok", "note", "fault"]

#: Distribution and the module it brings, of all that the core needs.
CORE_PACKAGES = {
    "torch": "torch",
    "numpy": "numpy",
    "safetensors": "safetensors",
    "tokenizers": "tokenizers",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "av": "av",
    "typer": "typer",
    "rich": "rich",
}
EVALUATION_PACKAGES = ("faster-whisper", "whisper-normalizer", "resemblyzer", "speechmos")
#: What speeds bfloat16 and float32 up, as Linux names it.
CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
TRIAL_TEXT = "Hello there."
SILENCE_PEAK = 0.01


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: what was looked at.
        status: "ok", "note" (it works, but less well), or "fault".
        detail: what was found.
        remedy: how to mend it; empty where there is nothing to mend.
    """

    subject: str
    status: Status
    detail: str
    remedy: str = ""


def examine(model: str = "mini", device: str = "auto", speak: bool = True) -> Iterator[Finding]:
    """Looks at one thing after another; a fault never ends the examination.

    Args:
        model: "mini" or a checkpoint folder.
        device: as for `FireRedTTS2`.
        speak: load the model and say two words.

    Example:
        >>> [finding.subject for finding in examine(speak=False)]  # doctest: +SKIP
    """
    yield from examine_packages()
    yield _guarded("processor", examine_processor)
    yield _guarded("graphics card", examine_graphics)
    yield _guarded("players", examine_players)
    yield _guarded("evaluation", examine_evaluation)
    found = _guarded("model", lambda: examine_model(model))
    yield found
    if found.status == "fault":
        return  # one fault, told once: voices and speech would only repeat it
    yield _guarded("voices", lambda: examine_voices(model))
    if speak:
        yield _guarded("speech", lambda: examine_speech(model, device))


def _guarded(subject: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # whatever it is, it is what the doctor was called for
        return Finding(subject, "fault", " ".join(str(error).split()), _remedy(error))


def examine_packages() -> Iterator[Finding]:
    """Python and every package of the core: there, and importable."""
    version = platform.python_version()
    yield Finding("python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    for distribution, module in CORE_PACKAGES.items():
        try:
            importlib.import_module(module)
            yield Finding(distribution, "ok", importlib.metadata.version(distribution))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(distribution, "ok", "of unknown version")
        except Exception as error:  # a missing system library shows itself as OSError
            remedy = f"pip install --force-reinstall {distribution}"
            yield Finding(distribution, "fault", f"cannot be imported: {error}", remedy)


def examine_processor() -> Finding:
    """Threads, and the instructions that speed the model up."""
    import torch

    features = ", ".join(cpu_features()) or "none of " + ", ".join(CPU_FEATURES)
    return Finding("processor", "ok", f"{torch.get_num_threads()} threads; {features}")


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Those of `CPU_FEATURES` that Linux reports; elsewhere torch's one word for them."""
    import torch

    if not cpuinfo.exists():
        return [torch.backends.cpu.get_cpu_capability().lower()]
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [feature for feature in CPU_FEATURES if feature in flags]


def examine_graphics() -> Finding:
    """A card that torch can use, or one that lies idle."""
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Finding(
            "graphics card", "ok", ", ".join(f"cuda:{i} {c}" for i, c in enumerate(cards))
        )
    if torch.backends.mps.is_available():
        return Finding("graphics card", "ok", "mps (Apple)")
    if shutil.which("nvidia-smi") is None:
        return Finding("graphics card", "ok", "none; the processor is used")
    if torch.version.cuda is None:
        detail = f"an NVIDIA driver is there, but torch {torch.__version__} is built without CUDA"
        remedy = "pip install --force-reinstall torch (from an index with the CUDA build)"
    else:
        detail = f"an NVIDIA driver is there, but torch (CUDA {torch.version.cuda}) finds no card"
        remedy = "see whether `nvidia-smi` lists a card; a newer driver may be needed"
    return Finding("graphics card", "note", detail, remedy)


def examine_model(model: str) -> Finding:
    """Every part of the checkpoint folder; shapes are checked when it is loaded."""
    from fireredtts2.checkpoint import CheckpointFolder

    folder = CheckpointFolder(model)
    config = folder.llm_config
    kinds = folder.gen_types
    paths = [folder.llm_path(kinds[0]), folder.codec_path, folder.tokenizer_path]
    _ = (folder.codec_config, folder.text_config, folder.pronunciations_path)
    megabytes = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
    flavors = f"{config.backbone_flavor} + {config.decoder_flavor}"
    only = f", for {kinds[0]} only" if len(kinds) == 1 else ""
    about = f"{flavors}, {megabytes:.0f} MB of weights{only}"
    return Finding("model", "ok", f"{folder.path} ({about})")


def examine_voices(model: str) -> Finding:
    """The voices that can be named; each file is read."""
    from fireredtts2.checkpoint import CheckpointFolder
    from fireredtts2.voices import VoiceLibrary, user_voices_path

    library = VoiceLibrary([user_voices_path(), CheckpointFolder(model).voices_path])
    names = library.list()
    for name in names:
        library.get(name)
    if names:
        return Finding("voices", "ok", f"{len(names)}: {', '.join(names)}")
    remedy = 'fireredtts2 voices add NAME CLIP.wav --text "What is said in the clip."'
    return Finding("voices", "note", "none: every speaker gets a random voice", remedy)


def examine_players() -> Finding:
    """Programs for `--play`."""
    names = [player.name for player in available_players()]
    if names:
        return Finding("players", "ok", ", ".join(names))
    looked_for = ", ".join(player.name for player in PLAYERS)
    return Finding("players", "note", f"none of {looked_for}; --play will not work", INSTALL_HINT)


def examine_evaluation() -> Finding:
    """What `fireredtts2 evaluate` needs."""
    missing = [name for name in EVALUATION_PACKAGES if not _is_installed(name)]
    if not missing:
        return Finding("evaluation", "ok", "its packages are installed")
    detail = f"not installed: {', '.join(missing)} (only `fireredtts2 evaluate` needs them)"
    return Finding("evaluation", "note", detail, "pip install 'fireredtts2[evaluation]'")


def examine_speech(model: str, device: str) -> Finding:
    """Loads the model and says two words."""
    from fireredtts2.checkpoint import CheckpointFolder
    from fireredtts2.fireredtts2 import FireRedTTS2

    start = time.perf_counter()
    tts = FireRedTTS2(model, CheckpointFolder(model).gen_types[0], device)
    loaded = time.perf_counter()
    speech = tts.say(TRIAL_TEXT, seed=0)
    took_s = time.perf_counter() - loaded
    if speech.audio.abs().max() < SILENCE_PEAK:
        remedy = "try another --seed or voice; if it stays silent, the weights may be damaged"
        return Finding("speech", "fault", f"{speech.duration_s:.1f} s of silence", remedy)
    detail = (
        f"{speech.duration_s:.1f} s of audio in {took_s:.1f} s, "
        f"after {loaded - start:.1f} s of loading"
    )
    return Finding("speech", "ok", detail)


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _remedy(error: Exception) -> str:
    """Most errors of this package say themselves what to do."""
    if isinstance(error, ValueError | OSError):
        return ""
    return "`fireredtts2 --debug say hello -o hello.wav` shows where it fails"
