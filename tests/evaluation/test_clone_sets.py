from pathlib import Path

import pytest

from fireredtts2.evaluation.clone_sets import CloneItem, SetSource, check_ids


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("seed-tts-eval:sets/en", "seed-tts-eval-en"),
        ("seed-tts-eval:sets/zh/meta.lst", "seed-tts-eval-zh"),
        ("seed-tts-eval:sets/zh/hardcase.lst", "seed-tts-eval-hardcase.lst"),
        ("librispeech:LibriSpeech/test-clean", "librispeech-test-clean"),
        ("librispeech:librispeech", "librispeech"),
        ("jsonl:my set (new).jsonl", "jsonl-my-set-new-"),
    ],
)
def test_a_source_names_its_part(text: str, name: str) -> None:
    assert SetSource.parse(text).part_name == name


@pytest.mark.parametrize("text", ["", "en", "jsonl", "jsonl:", "libritts:test", ":x"])
def test_a_source_that_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: seed-tts-eval:PATH, librispeech:PATH, jsonl"):
        SetSource.parse(text)


def test_a_voice_is_named_by_recording_and_transcript(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"one")
    (tmp_path / "copy.wav").write_bytes(b"one")
    (tmp_path / "b.wav").write_bytes(b"two")

    def name(file: str, text: str) -> str:
        return CloneItem("id", "Any.", tmp_path / file, text).voice_name

    assert name("a.wav", "Hello.") == name("copy.wav", "Hello.")
    assert len({name("a.wav", "Hello."), name("b.wav", "Hello."), name("a.wav", "Bye.")}) == 3


def test_empty_sets_and_ids_that_come_twice_are_refused(tmp_path: Path) -> None:
    item = CloneItem("x", "Any.", tmp_path, "Any.")
    with pytest.raises(ValueError, match="no item"):
        check_ids([], tmp_path)
    with pytest.raises(ValueError, match="'x' comes twice"):
        check_ids([item, item], tmp_path)
    check_ids([item], tmp_path)
