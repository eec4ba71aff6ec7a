"""Every layout is found and read; what is not right says where."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from fireredtts2.training.prepare.recordings import (
    AudioPlace,
    Recording,
    SourceError,
    Turn,
    digest,
)
from fireredtts2.training.prepare.sources.detect import detect, read_source
from tests.training.prepare.speech import write_clip


def write_lines(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_folder_of_audio_with_texts(tmp_path: Path) -> None:
    write_clip(tmp_path / "anna/b.wav", text="Second  one.\n")
    write_clip(tmp_path / "anna/a.flac", text="First one.")
    write_clip(tmp_path / "ben/c.wav").with_suffix(".lab").write_text("\ufeffThird.", "utf-8")
    write_clip(tmp_path / "ben/d.wav")
    layout, found = read_source(tmp_path, language="en")
    assert layout == "folder"
    assert [(r.id, r.turns[0].text, r.turns[0].speaker, r.language) for r in found] == [
        ("anna/a.flac", "First one.", "anna", "en"),
        ("anna/b.wav", "Second one.", "anna", "en"),
        ("ben/c.wav", "Third.", "ben", "en"),
        ("ben/d.wav", "", "ben", "en"),
    ]
    assert [r.turns[0].missing for r in found] == ["", "", "", "no .txt or .lab beside it"]
    _, named = read_source(tmp_path, speaker="everybody")
    assert {r.turns[0].speaker for r in named} == {"everybody"}


def test_suffixes_of_texts_are_looked_at_without_case(tmp_path: Path) -> None:
    write_clip(tmp_path / "UPPER.WAV").with_suffix(".TXT").write_text("Upper.")
    write_clip(tmp_path / "b.wav", text="Small.").with_suffix(".TXT").write_text("Large.")
    write_clip(tmp_path / "c.1.wav").with_name("c.1.Normalized.txt").write_text("Normalized.")
    layout, found = read_source(tmp_path)
    assert layout == "folder"
    texts = {recording.id: recording.turns[0].text for recording in found}
    assert texts in (
        {"UPPER.WAV": "Upper.", "b.wav": "Small.", "c.1.wav": "Normalized."},
        {"UPPER.WAV": "Upper.", "b.wav": "Large.", "c.1.wav": "Normalized."},  # one file
    )


@pytest.mark.parametrize(
    ("given", "code"),
    [("English", "en"), ("en-US", "en"), ("EN_gb", "en"), ("zh-Hant-TW", "zh"), ("yue", "yue"),
     ("Klingon", "klingon"), ("", "")],
)  # fmt: skip
def test_languages_have_one_code_whatever_they_are_called(
    tmp_path: Path, given: str, code: str
) -> None:
    rows = [
        {"audio": "a.wav", "text": "T", "speaker": "A", "language": given},
        {"audio": "b.wav", "text": "T", "speaker": "A"},
    ]
    _, found = read_source(write_lines(tmp_path / "set.jsonl", rows), language=given)
    assert [recording.language for recording in found] == [code] * 2


def test_a_speaker_tag_before_a_text_is_left_out(tmp_path: Path) -> None:
    texts = ["[S1] Her day begins.", " [S12]So  does [S2] his.", "[S1][S2]Both.", "[s1] Lower."]
    rows = [{"audio": f"{n}.wav", "text": t, "speaker": "A"} for n, t in enumerate(texts)]
    _, found = read_source(write_lines(tmp_path / "set.jsonl", rows))
    assert [recording.turns[0].text for recording in found] == [
        "Her day begins.", "So does [S2] his.", "[S2]Both.", "[s1] Lower.",
    ]  # fmt: skip


def test_ljspeech(tmp_path: Path) -> None:
    root = tmp_path / "LJ"
    write_clip(root / "wavs/LJ001-0001.wav")
    lines = ['LJ001-0001|Written "1".|Written "one".', "LJ001-0002|Only one text.|", ""]
    (root / "metadata.csv").write_text("\n".join(lines))
    layout, found = read_source(root)
    assert layout == "ljspeech"
    assert [(r.id, r.turns[0].text, r.turns[0].speaker) for r in found] == [
        ("LJ001-0001", 'Written "one".', "LJ"),
        ("LJ001-0002", "Only one text.", "LJ"),
    ]
    assert found[0].turns[0].audio == AudioPlace(root / "wavs/LJ001-0001.wav")
    (root / "metadata.csv").write_text("a|b\nno bar here\n")
    with pytest.raises(SourceError, match=r"metadata\.csv line 2: expected id\|text"):
        read_source(root)


def test_a_manifest_of_clips_and_conversations(tmp_path: Path) -> None:
    turns = [
        {"speaker": "Ben", "text": "Hello.", "start": 0, "end": 1.5},
        {"speaker": 7, "text": "Hi.", "start": 1.5, "end": 2, "audio": "other.wav", "channel": 1},
    ]
    rows = [
        {"audio": "a/x.wav", "text": " A  clip. ", "speaker": "Anna", "language": "fr"},
        "",
        {"audio": "a/x.wav", "text": "", "start": 1.25, "end": 2, "id": "named"},
        {"audio": "talk.wav", "turns": turns, "id": "talk"},
    ]
    path = write_lines(tmp_path / "set.jsonl", rows)
    layout, found = read_source(path, speaker="Somebody", language="en")
    assert layout == "manifest"
    clip, named, talk = found
    assert (clip.id, clip.language, clip.turns[0].text) == ("a/x.wav", "fr", "A clip.")
    assert (named.id, named.language, named.turns[0].speaker) == ("named", "en", "Somebody")
    assert named.turns[0].audio == AudioPlace(tmp_path / "a/x.wav", 1.25, 2.0)
    assert named.source == "set.jsonl line 3"
    assert [turn.speaker for turn in talk.turns] == ["Ben", "7"]
    assert talk.turns[1].audio == AudioPlace(tmp_path / "other.wav", 1.5, 2.0, channel=1)
    _, clips = read_source(path, speaker="Somebody", conversations=False)
    assert [clip.id for clip in clips] == ["a/x.wav", "named", "talk#0", "talk#1"]
    packed = tmp_path / "set.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [r.id for r in read_source(packed, speaker="S")[1]] == ["a/x.wav", "named", "talk"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{oops", "line 2: not JSON"),
        ("[1]", "line 2: expected an object like {...}, got list"),
        ({"text": "No audio.", "speaker": "A"}, "line 2: no audio"),
        ({"audio": "a.wav", "speaker": "A"}, "line 2: no text"),
        ({"audio": "a.wav", "text": "Who?"}, "line 2: no speaker; name one for all with --speaker"),
        ({"audio": "a.wav", "text": 1.5, "speaker": "A"}, "text is 1.5, not a text"),
        ({"audio": "a.wav", "text": "T", "speaker": "A", "ende": 1}, "unknown 'ende' in a clip"),
        ({"audio": "a.wav", "text": "T", "speaker": "A", "start": 2, "end": 1}, "end 1 is not aft"),
        ({"audio": "a.wav", "text": "T", "speaker": "A", "end": float("nan")}, "end is nan"),
        ({"turns": []}, "turns is not a list of at least one turn"),
        ({"audio": "a.wav", "turns": [{"text": "T", "speaker": "A"}, 3]}, "line 2: turn 2: expec"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: Any, message: str) -> None:
    good = {"audio": "a.wav", "text": "Good.", "speaker": "A"}
    path = write_lines(tmp_path / "set.jsonl", [good, line, "null"])
    with pytest.raises(SourceError) as caught:
        read_source(path)
    assert message in str(caught.value)
    assert "line 3: expected an object" in str(caught.value)


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"looks like no source that is known.*folder: audio"):
        read_source(tmp_path)
    with pytest.raises(SourceError, match="no recordings found in it"):
        read_source(tmp_path, "folder")
    with pytest.raises(SourceError, match="source 'tape'; allowed: auto, "):
        read_source(tmp_path, "tape")
    row = {"audio": "a.wav", "text": "T", "speaker": "A"}
    path = write_lines(tmp_path / "twice.jsonl", [row, row])
    with pytest.raises(SourceError, match=r"'a.wav' is there twice: twice.jsonl line 1 and .* 2"):
        read_source(path)


def test_the_digest_knows_texts_places_and_sizes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.wav", text="One.")
    assert detect(tmp_path) == "folder"

    def told() -> str:
        return digest(read_source(tmp_path)[1], tmp_path)

    first = told()
    assert told() == first
    clip.with_suffix(".txt").write_text("Two.")
    second = told()
    write_clip(clip, seconds=2.0)
    assert len({first, second, told()}) == 3


def test_the_digest_waits_for_no_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    place = AudioPlace(tmp_path / "a.wav")
    recording = Recording("a", (Turn(place, "One.", "Ann"),), "en", "a")
    assert digest([recording], tmp_path) == digest([recording], tmp_path)


def test_the_digest_knows_what_is_in_files_of_the_same_size(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "set/a.wav", 12.0, text="One.")  # 384 kB

    def told(root: Path) -> str:
        return digest(read_source(root)[1], root)

    plain, seen = clip.read_bytes(), {told(tmp_path / "set")}
    for at in (1_000, len(plain) // 2, len(plain) - 1_000):
        clip.write_bytes(plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :])
        seen.add(told(tmp_path / "set"))
    assert len(seen) == 4
    clip.write_bytes(plain)
    shutil.copytree(tmp_path / "set", tmp_path / "elsewhere" / "set", copy_function=shutil.copyfile)
    assert told(tmp_path / "set") == told(tmp_path / "elsewhere" / "set")
    clip.unlink()
    manifest = write_lines(tmp_path / "x.jsonl", [{"audio": "a.wav", "text": "A", "speaker": "A"}])
    assert digest(read_source(manifest)[1], tmp_path)  # what is missing is refused later


def test_lists_that_cannot_be_decoded_say_where(tmp_path: Path) -> None:
    row = {"audio": "a.wav", "text": "T", "speaker": "A"}
    path = write_lines(tmp_path / "set.jsonl", [row, row])
    path.write_bytes(path.read_bytes() + b'{"text": "caf\xe9"}\n')
    with pytest.raises(SourceError, match=r"set\.jsonl: line 3: the byte 0xE9 is not UTF-8"):
        read_source(path)
    packed = tmp_path / "set.jsonl.gz"
    whole = gzip.compress(b"\n" * 10_000)
    for data in (whole[: len(whole) // 2], b"{}", whole[:12] + b"\xff" * 20):
        packed.write_bytes(data)
        with pytest.raises(SourceError, match=r"set\.jsonl\.gz: damaged or cut"):
            read_source(packed)


def test_names_that_are_not_unicode_are_refused_at_once(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav", text="One.")
    odd = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        for suffix in (".wav", ".txt"):
            shutil.copyfile(tmp_path / f"a{suffix}", odd + suffix.encode())
    except OSError:
        pytest.skip("file names are always Unicode here")
    with pytest.raises(SourceError, match=r"must be UTF-8; not so: 'caf\\udce9\.wav'") as caught:
        read_source(tmp_path)
    str(caught.value).encode()
    row = {"audio": "a.wav", "text": "\ud800", "speaker": "A"}
    with pytest.raises(SourceError, match=r"not so: '\\ud800' \(in 'x\.jsonl line 1'\)"):
        read_source(write_lines(tmp_path / "x.jsonl", [row]))


def test_the_manifest_in_the_documentation_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    rows = [json.loads(row) for row in re.split(r"\n(?=\{)", example)]
    _, found = read_source(write_lines(tmp_path / "set.jsonl", rows))
    assert [len(recording.turns) for recording in found] == [1, 1, 2]
