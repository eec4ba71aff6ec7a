"""The files of a work: what is in them, and what is not read from them."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.exports import export, placed, read_project
from fireredtts2.ui.work import Sound, Turn, Work
from fireredtts2.ui.work_file import work_values

RATE_HZ = 24_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def work(folder: Path) -> Work:
    """Three turns of 1, 2 and 1 s: constant, so that what lies where is seen."""
    turns = []
    for n, (speaker, seconds, level) in enumerate(
        [("S1", 1, 1000), ("S2", 2, 2000), ("S1", 1, 3000)]
    ):
        np.full(seconds * RATE_HZ, level, "<i2").tofile(folder / f"s{n}.pcm")
        sound = Sound(f"s{n}", seconds * RATE_HZ, f"Turn {n}.", "a")
        turns.append(Turn(n + 1, speaker, f"Turn {n}.", 0.5 if n == 2 else 0.0, None, sound))
    return Work("Show", names={"S1": "Anna"}, voices={"S1": "a", "S2": "a"}, turns=turns,
                next_id=4, gap_s=0.25)  # fmt: skip


def read(path: Path) -> np.ndarray:
    samples, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    return samples


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_the_mix_has_every_turn_at_its_time(
    work: Work, folder: Path, tmp_path: Path, suffix
) -> None:
    export(work, folder, f"mix.{suffix}", tmp_path / f"m.{suffix}")
    samples = read(tmp_path / f"m.{suffix}")
    assert len(samples) == (1 + 0.25 + 2 + 0.5 + 1) * RATE_HZ
    starts = [round(turn.start_s * RATE_HZ) for turn in placed(work)]
    assert [samples[at + 10] for at in starts] == [1000, 2000, 3000]
    assert samples[RATE_HZ + 100] == 0  # between the first two


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_packed_mixes_are_as_long(work: Work, folder: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"m.{suffix}"
    export(work, folder, f"mix.{suffix}", target)
    info = soundfile.info(target)
    assert info.frames / info.samplerate == pytest.approx(4.75, abs=0.15)


def test_stems_are_silent_where_others_speak(work: Work, folder: Path, tmp_path: Path) -> None:
    export(work, folder, "stems.zip", tmp_path / "stems.zip")
    with zipfile.ZipFile(tmp_path / "stems.zip") as file:
        assert file.namelist() == ["S1-Anna.flac", "S2.flac"]
        stems = [
            soundfile.read(io.BytesIO(file.read(n)), dtype="int16")[0] for n in file.namelist()
        ]
    export(work, folder, "mix.wav", tmp_path / "m.wav")
    np.testing.assert_array_equal(stems[0] + stems[1], read(tmp_path / "m.wav"))
    assert set(np.unique(stems[1])) == {0, 2000}
    assert [path.name for path in tmp_path.glob("*.flac")] == []


def test_subtitles_name_who_speaks_and_when(work: Work, folder: Path, tmp_path: Path) -> None:
    export(work, folder, "subtitles.vtt", tmp_path / "s.vtt")
    text = (tmp_path / "s.vtt").read_text()
    assert "<v Anna>Turn 0." in text
    assert "00:00:01.250 --> 00:00:03.250" in text
    export(work, folder, "subtitles.srt", tmp_path / "s.srt")
    assert "00:00:03,750 --> 00:00:04,750" in (tmp_path / "s.srt").read_text()


def test_a_project_is_opened_as_it_was_saved(work: Work, folder: Path, tmp_path: Path) -> None:
    export(work, folder, "project.firered", tmp_path / "p.firered")
    other = tmp_path / "other"
    other.mkdir()
    assert read_project(tmp_path / "p.firered", other) == work
    for turn in work.turns:
        name = f"{turn.sound.name}.pcm"
        assert (other / name).read_bytes() == (folder / name).read_bytes()


def test_a_project_without_sound_can_be_saved(folder: Path, tmp_path: Path) -> None:
    export(Work("Empty"), folder, "project.firered", tmp_path / "p.firered")
    assert read_project(tmp_path / "p.firered", tmp_path).title == "Empty"


@pytest.mark.parametrize("name", ["mix.wav", "stems.zip", "subtitles.srt"])
def test_nothing_is_made_of_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(StudioError, match="nothing has been made"):
        export(Work(), folder, name, tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["mix.exe", "../work.json", "mix.", "work.json", "stems.tar"])
def test_other_files_are_not_there(work: Work, folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(StudioError, match="no file") as told:
        export(work, folder, name, tmp_path / "x")
    assert told.value.status == 404


def flac(num_samples: int, rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((num_samples, channels), np.int16), rate_hz, format="FLAC")
    return file.getvalue()


def project(path: Path, work: Work, sounds: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("project.json", json.dumps(work_values(work)))
        for name, data in sounds.items():
            file.writestr(name, data)
    return path


def one_turn(num_samples: int = 100, name: str = "s1") -> Work:
    sound = Sound(name, num_samples, "One.", "a")
    return Work(turns=[Turn(1, "S1", "One.", sound=sound)], next_id=2)


@pytest.mark.parametrize(
    ("work", "sounds"),
    [
        (one_turn(), {}),
        (one_turn(), {"sound/s1.flac": b"not flac"}),
        (one_turn(), {"sound/s1.flac": flac(100)[:40]}),
        (one_turn(), {"sound/s1.flac": flac(100, 48_000)}),
        (one_turn(), {"sound/s1.flac": flac(100, channels=2)}),
        (one_turn(), {"sound/s1.flac": flac(5_000)}),
        (one_turn(24_000 * 4_000), {"sound/s1.flac": flac(100)}),
        (replace(one_turn(), seed=-4), {"sound/s1.flac": flac(100)}),
        (one_turn(name="../../x"), {"sound/../../x.flac": flac(100)}),
    ],
    ids=["missing", "noise", "cut", "rate", "stereo", "longer", "hours", "seed", "path"],
)
def test_a_bad_project_leaves_nothing_behind(
    folder: Path, tmp_path: Path, work: Work, sounds: dict[str, bytes]
) -> None:
    path = project(tmp_path / "p.firered", work, sounds)
    with pytest.raises(StudioError, match="project"):
        read_project(path, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"x" * 1000])
def test_what_is_no_zip_is_refused(folder: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p").write_bytes(data)
    with pytest.raises(StudioError, match="no project"):
        read_project(tmp_path / "p", folder)


def test_a_bomb_is_not_unpacked(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.firered"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("project.json", b" " * 60_000_000)
    assert path.stat().st_size < 100_000
    with pytest.raises(StudioError, match="too large"):
        read_project(path, folder)
