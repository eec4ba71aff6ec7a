"""How Whisper is asked; what it hears is no matter here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from fireredtts2.evaluation import asr
from fireredtts2.evaluation.asr import WhisperTranscriber


class FakeWhisper:
    """Remembers what it was asked."""

    supported_languages = ("en", "zh")
    asked: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, *arguments: object, **options: object) -> None:
        self.asked.clear()

    def transcribe(self, audio: np.ndarray, **options: Any) -> tuple[list[Any], None]:
        self.asked.append(options)
        return [SimpleNamespace(text=" One. "), SimpleNamespace(text=" Two.")], None


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(asr, "load_extra", lambda name: SimpleNamespace(WhisperModel=FakeWhisper))
    return tmp_path


@pytest.mark.parametrize(("seconds", "keeps_time"), [(1.0, False), (30.0, False), (30.1, True)])
def test_what_is_longer_than_whisper_hears_at_once_is_heard_to_its_end(
    folder: Path, seconds: float, keeps_time: bool
) -> None:
    heard = WhisperTranscriber(folder).transcribe(np.zeros(round(seconds * 16_000), np.float32))
    assert heard == "One. Two."
    assert FakeWhisper.asked[0]["without_timestamps"] is not keeps_time


def test_a_language_that_whisper_does_not_know_is_refused_at_once(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"language 'zh-CN'; .* knows: en, zh"):
        WhisperTranscriber(folder, language="zh-CN")
