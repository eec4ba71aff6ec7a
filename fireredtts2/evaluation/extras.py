"""The optional packages of the evaluation: imported on use, named with their cure when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

#: Module to import -> what pip calls it.
PACKAGES = {
    "faster_whisper": "faster-whisper",
    "whisper_normalizer.english": "whisper-normalizer",
    "whisper_normalizer.basic": "whisper-normalizer",
    "resemblyzer": "resemblyzer",
    "speechmos.dnsmos": "speechmos",
    "webrtcvad": "webrtcvad-wheels",
    "librosa": "librosa",
    "jiwer": "jiwer",
    "pystoi": "pystoi",
    "pesq": "pesq",
}
INSTALL = 'pip install "fireredtts2[evaluation]" && pip install --no-deps resemblyzer==0.1.4'


class MissingPackageError(ImportError):
    """A package of the `evaluation` extra is not installed."""


def load_extra(module: str) -> ModuleType:
    """Imports a module of `PACKAGES`.

    Raises:
        MissingPackageError: it, or a package that it needs, is not installed; the message names
            the package and the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        wanted = PACKAGES.get(missing, PACKAGES[module])
        because = "" if missing in module else f" ({PACKAGES[module]} needs module {missing!r})"
        raise MissingPackageError(
            f"the evaluation needs the package {wanted!r}{because}; install it with: {INSTALL}"
        ) from error
