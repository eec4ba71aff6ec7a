"""FireRedTTS-2: long conversational speech, streamed while it is made."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fireredtts2.fireredtts2 import (
        AudioChunk,
        FireRedTTS2,
        FireRedTTS2_Stream,
        Progress,
        Segment,
        Speech,
        SpeechError,
        Turn,
        Voice,
        VoiceLibrary,
        clean_text,
        process_text_list,
        split_text,
    )

__all__ = [
    "AudioChunk",
    "FireRedTTS2",
    "FireRedTTS2_Stream",
    "Progress",
    "Segment",
    "Speech",
    "SpeechError",
    "Turn",
    "Voice",
    "VoiceLibrary",
    "clean_text",
    "process_text_list",
    "split_text",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: `import fireredtts2` alone loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module("fireredtts2.fireredtts2"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
