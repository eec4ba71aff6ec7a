"""Lhotse's manifests and Hugging Face's folders, as their own libraries write them."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fireredtts2.training.prepare.audio_reading import AudioReader
from fireredtts2.training.prepare.checks import RefusedError
from fireredtts2.training.prepare.recordings import AudioPlace, SourceError
from fireredtts2.training.prepare.sources.detect import read_source
from tests.training.prepare.speech import write_clip


def pack(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def recording(name: str, audio: Path, **more: Any) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": str(audio)}
    return {"id": name, "sources": [source], "sampling_rate": 16_000, "num_samples": 64_000,
            "duration": 4.0, "channel_ids": [0], **more}  # fmt: skip


def supervision(name: str, of: str, start: float, speaker: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "recording_id": of, "start": start, "duration": 1.0, "channel": 0,
            "text": f"Said in {name}.", "language": "English", "speaker": speaker,
            "gender": "female", **more}  # fmt: skip


@pytest.fixture
def lhotse(tmp_path: Path) -> Path:
    write_clip(tmp_path / "audio/talk.wav", 4.0)
    stereo = {"type": "file", "channels": [0, 1], "source": "audio/two.wav"}
    rows = [
        recording("talk", Path("audio/talk.wav")),
        recording("alone", tmp_path / "audio/talk.wav"),
        recording("two", Path("."), sources=[stereo]),
    ]
    pack(tmp_path / "my_recordings_train.jsonl.gz", rows)
    said = [
        supervision("t2", "talk", 1.5, "Bob"),
        supervision("t1", "talk", 0.0, "Ann"),
        supervision("a1", "alone", 0.0, "Ann"),
        supervision("a2", "alone", 1.0, "Ann", language="fr"),
        supervision("c1", "two", 0.0, "Eve", channel=1),
        supervision("c2", "two", 2.0, "Eve", channel=[0]),
    ]
    pack(tmp_path / "my_supervisions_train.jsonl.gz", said)
    return tmp_path


def test_lhotse(lhotse: Path) -> None:
    layout, found = read_source(lhotse)
    assert layout == "lhotse"
    talk, *clips = found
    assert (talk.id, talk.language) == ("talk", "en")
    assert [(t.speaker, t.text) for t in talk.turns] == [
        ("Ann", "Said in t1."),
        ("Bob", "Said in t2."),
    ]
    assert talk.turns[1].audio == AudioPlace(lhotse / "audio/talk.wav", 1.5, 2.5)
    assert [(c.id, c.language) for c in clips] == [
        ("a1", "en"), ("a2", "fr"), ("c1", "en"), ("c2", "en"),
    ]  # fmt: skip
    assert [c.turns[0].audio.channel for c in clips] == [0, 0, 1, 0]


def test_lhotse_names_bad_lines(lhotse: Path) -> None:
    rows = [supervision("x", "nowhere", 0.0, "Ann"), {**supervision("y", "talk", 0.0, "A"),
            "duration": 0}]  # fmt: skip
    pack(lhotse / "my_supervisions_train.jsonl.gz", rows)
    with pytest.raises(SourceError, match=r"line 1: no recording 'nowhere'.*line 2: duration is 0"):
        read_source(lhotse)
    source = {"type": "url", "channels": [0], "source": "http://localhost"}
    pack(lhotse / "my_recordings_train.jsonl.gz", [{"id": "talk", "sources": [source]}])
    with pytest.raises(SourceError, match="line 1: a source of type 'url'; only files are read"):
        read_source(lhotse)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_tables_of_huggingface(tmp_path: Path, kind: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="tables need pyarrow")
    import pyarrow.parquet

    clips = [write_clip(tmp_path / f"clips/{n}.flac", 0.5 + n, n) for n in range(3)]
    rows = [
        {"audio": {"bytes": clip.read_bytes(), "path": clip.name}, "sentence": f"Text  {n}.",
         "speaker_id": 7 + n, "locale": "en" if n else None}
        for n, clip in enumerate(clips)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows)
    root = tmp_path / "set"
    (root / "data").mkdir(parents=True)
    path = root / "data" / f"train-00000-of-00001.{kind}"
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path, row_group_size=2)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    layout, found = read_source(root, language="de")
    assert layout == "huggingface"
    assert [(r.turns[0].text, r.turns[0].speaker, r.language) for r in found] == [
        ("Text 0.", "7", "de"), ("Text 1.", "8", "en"), ("Text 2.", "9", "en"),
    ]  # fmt: skip
    assert found[2].id == f"data/{path.name}:2"
    for number, one in enumerate(found):
        audio, rate_hz = AudioReader(10.0).read(one.turns[0].audio)
        assert audio.size == (0.5 + number) * rate_hz
    pyarrow.parquet.write_table(table.drop_columns(["sentence"]), root / "data/x.parquet")
    with pytest.raises(SourceError, match=r"no column of text; known are text, .*it has audio"):
        read_source(root / "data/x.parquet")


def test_a_table_may_hold_names_of_files_beside_it(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="tables need pyarrow")
    import pyarrow.parquet

    write_clip(tmp_path / "clips/0.flac", 0.5, 0)
    rows = [{"audio": name, "text": "Said."} for name in ("clips/0.flac", "clips/gone.flac")]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    first, gone = (one.turns[0].audio for one in read_source(tmp_path)[1])
    audio, rate_hz = AudioReader(10.0).read(first)
    assert audio.size == 0.5 * rate_hz
    assert (first.path, first.row) == (tmp_path / "clips/0.flac", None), "its digest is the file's"
    with pytest.raises(RefusedError, match=r"gone\.flac: no such file"):
        AudioReader(10.0).read(gone)


def test_without_pyarrow_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SourceError, match="pip install pyarrow"):
        read_source(tmp_path)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_audio_folder_with_metadata(tmp_path: Path, kind: str) -> None:
    write_clip(tmp_path / "train/a.wav")
    rows = [{"file_name": "a.wav", "transcription": "One, two."}]
    lines = {"csv": 'file_name,transcription\na.wav,"One, two."\n', "jsonl": json.dumps(rows[0])}
    (tmp_path / f"train/metadata.{kind}").write_text(lines[kind])
    layout, (clip,) = read_source(tmp_path, speaker="Ann")
    assert (layout, clip.id, clip.turns[0].text) == ("huggingface", "train/a.wav", "One, two.")
    assert clip.turns[0].audio == AudioPlace(tmp_path / "train/a.wav")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "metadata.jsonl",
            '{"file_name": "a.wav"}\n',
            "line 1: no column of text; known are text,",
        ),
        (
            "metadata.jsonl",
            '\n{"file_name": "a.wav", "text": "A"}\n{"text": "B"}',
            "line 3: no file_",
        ),
        (
            "metadata.jsonl",
            '{"file_name": "a.wav", "text": "A"}\n[1]',
            "line 2: expected an object",
        ),
        ("metadata.jsonl", '{"file_name": "a.wav", "text": "A"}\n{"fil', "line 2: not JSON"),
        (
            "metadata.jsonl",
            '{"file_name": [1], "text": "A"}',
            "line 1: file_name is [1], not a text",
        ),
        ("metadata.csv", "text,file_name\nA,a.wav\nB\n", "line 3: no file_name"),
        (
            "metadata.csv",
            "file_name,text\na.wav,One, two.\n",
            "line 2: 3 columns, the header has 2",
        ),
        ("metadata.csv", "text,file_name\n\nB,\n", "line 3: no file_name"),
        ("metadata.csv", f'file_name,text\na.wav,"{"x" * 200_000}\n', "line 2: field larger than"),
    ],
)
def test_metadata_names_bad_lines(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError) as caught:
        read_source(tmp_path, "huggingface")
    assert f"{name}: {message}" in str(caught.value)


def test_cells_that_spreadsheets_add_or_leave_out_are_empty_ones(tmp_path: Path) -> None:
    lines = ["file_name,text,speaker_id", "a.wav,A.,Ann,,", "b.wav,B."]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    found = [one.turns[0] for one in read_source(tmp_path, "huggingface")[1]]
    assert [(turn.text, turn.speaker) for turn in found] == [("A.", "Ann"), ("B.", tmp_path.name)]


def test_empty_lines_of_metadata_are_passed_over(tmp_path: Path) -> None:
    row = json.dumps({"file_name": "a.wav", "text": "A."})
    for name, text in (("jsonl", f"\n{row}\n\n"), ("csv", "\nfile_name,text\n\na.wav,A.\n\n")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"metadata.{name}").write_text(text)
        layout, (clip,) = read_source(folder)
        assert (layout, clip.id, clip.turns[0].text) == ("huggingface", "a.wav", "A.")


def test_empty_lines_of_lhotse_are_passed_over(lhotse: Path) -> None:
    path = lhotse / "my_supervisions_train.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n" + gzip.decompress(path.read_bytes()) + b"\n"))
    assert len(read_source(lhotse)[1]) == 5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metadata.csv", "file_name,text\na.wav,caf\u00e9\n"),
        ("metadata.jsonl", '{"file_name": "b.wav", "text": "b"}\n{"text": "caf\u00e9"}'),
    ],
)
def test_metadata_that_is_not_utf8_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=rf"{name}: line 2: the byte 0xE9 is not UTF-8"):
        read_source(tmp_path, "huggingface")
