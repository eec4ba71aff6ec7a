"""Reading any audio, writing it whole or as a stream, and files that appear whole or not at all."""

import errno
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from fireredtts2.atomic_file import atomic_folder, atomic_path
from fireredtts2.audio import MAX_PROMPT_S, check_prompt, read_audio, read_prompt, resample
from fireredtts2.audio_encoders import AvEncoder
from fireredtts2.audio_writer import (
    AudioStreamWriter,
    audio_format,
    open_audio_writer,
    write_audio,
)
from fireredtts2.config import DEFAULT_TURN_LIMIT_MS, FRAME_RATE_HZ, MAX_CONTEXT_ROWS

RATE_HZ = 24_000
FORMATS = ["wav", "wav_float", "flac", "mp3", "opus", "aac"]


def tone(duration_s: float = 0.8, rate_hz: int = RATE_HZ, frequency_hz: float = 440) -> np.ndarray:
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (0.5 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def as_file(samples: np.ndarray, rate_hz: int, format: str = "WAV", **kwargs: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=format, **kwargs)
    return file.getvalue()


def as_m4a(samples: np.ndarray, rate_hz: int, codec: str = "aac") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.stack([samples, 0 * samples]), "fltp", "stereo")
        frame.sample_rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def loudness_of_tone(audio: torch.Tensor, rate_hz: int, frequency_hz: float = 440) -> float:
    """The tone's amplitude, found by projecting on it."""
    phase = 2 * torch.pi * frequency_hz * torch.arange(audio.numel()) / rate_hz
    parts = torch.stack([audio * phase.cos(), audio * phase.sin()]).mean(1)
    return float(2 * parts.norm())


# --- Reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]
)
def test_rates_are_resampled(rate_hz):
    audio = read_audio(as_file(tone(1.0, rate_hz), rate_hz))
    assert audio.dtype == torch.float32
    assert audio.ndim == 1
    assert abs(audio.numel() - 16_000) <= 2
    assert abs(loudness_of_tone(audio[800:-800], 16_000) - 0.5) < 0.01


def test_first_channel_is_taken():
    both = np.stack([tone(), np.ones_like(tone()) * 0.9], axis=1)
    audio = read_audio(as_file(both, RATE_HZ, subtype="FLOAT"), RATE_HZ)
    assert torch.equal(audio, torch.from_numpy(tone()))


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_formats_from_path_bytes_and_file(tmp_path, format):
    data = as_file(tone(), RATE_HZ, format)
    path = tmp_path / "clip.bin"
    path.write_bytes(data)
    with open(path, "rb") as file:
        clips = [read_audio(path), read_audio(str(path)), read_audio(data), read_audio(file)]
    assert all(torch.equal(clip, clips[0]) for clip in clips)
    assert abs(loudness_of_tone(clips[0][800:-800], 16_000) - 0.5) < 0.02


def test_m4a_is_read_by_the_second_decoder():
    audio = read_audio(as_m4a(tone(1.0, 44_100), 44_100))
    assert abs(audio.numel() - 16_000) < 1_200
    assert abs(loudness_of_tone(audio[2_000:14_000], 16_000) - 0.5) < 0.02


def test_pipe_is_read(tmp_path):
    read_end, write_end = os.pipe()
    data = as_file(tone(0.1), RATE_HZ)
    with os.fdopen(write_end, "wb") as out:
        out.write(data)
    with os.fdopen(read_end, "rb") as pipe:
        assert torch.equal(read_audio(pipe), read_audio(data))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty file"),
        (b"this is a text file about nothing at all. " * 50, "not audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "not audio"),
        (bytes(5_000), "not audio"),
        (as_file(tone(), RATE_HZ)[:20], "not audio"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///tmp/other.wav\n", "not audio"),
        (as_file(tone(1, 4_000), 4_000), "4000 Hz; allowed: 8000 to 192000"),
        (as_file(np.full(20_000, np.nan, np.float32), 16_000, subtype="FLOAT"), "NaN"),
    ],
)
def test_what_is_not_audio_is_refused_by_name(tmp_path, data, says):
    path = tmp_path / "clip.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"clip\.wav: .*{says}"):
        read_audio(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_audio(tmp_path / "absent.wav")
    with pytest.raises(ValueError, match="a folder, not audio"):
        read_audio(tmp_path)


def test_flac_cut_short_is_refused():
    data = as_file(tone(2.0), RATE_HZ, "FLAC")
    with pytest.raises(ValueError, match="audio bytes: damaged"):
        read_audio(data[: len(data) // 2], RATE_HZ)


# --- Voice prompts ----------------------------------------------------------------------------


def test_good_prompt_passes():
    assert read_prompt(as_file(tone(3.0), RATE_HZ)).numel() == 48_000


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (np.zeros(0, np.float32), r"0\.0 s long; a voice prompt is 0\.4 to 40 s"),
        (tone(0.2, 16_000), r"0\.2 s long; a voice prompt is 0\.4 to 40 s"),
        (np.zeros(32_000, np.float32), r"2\.0 s of silence"),
        (tone(600, 16_000), "longer than 40 s; a voice prompt is"),
    ],
    ids=["empty", "short", "silent", "ten minutes"],
)
def test_bad_prompts(tmp_path, samples, says):
    path = tmp_path / "me.wav"
    path.write_bytes(as_file(samples, 16_000))
    with pytest.raises(ValueError, match=rf"me\.wav: {says}"):
        read_prompt(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_prompt_with_samples_that_are_no_numbers(value):
    audio = torch.ones(16_000)
    audio[9] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        check_prompt(audio)


def test_audio_of_four_longest_prompts_and_a_turn_fits_in_the_window():
    seconds = 4 * MAX_PROMPT_S + DEFAULT_TURN_LIMIT_MS / 1_000
    assert seconds * FRAME_RATE_HZ < MAX_CONTEXT_ROWS


def test_long_prompt_as_samples():
    with pytest.raises(ValueError, match=r"600\.0 s long; a voice prompt is 0\.4 to 40 s"):
        check_prompt(torch.ones(16_000 * 600))
    check_prompt(torch.ones(int(16_000 * MAX_PROMPT_S)))
    with pytest.raises(ValueError, match=r"\(1, 16000\)"):
        check_prompt(torch.ones(1, 16_000))


def test_long_file_is_not_read_to_its_end(monkeypatch):
    data = as_file(tone(100, 16_000), 16_000)
    read_samples = 0
    plain_read = soundfile.SoundFile.read

    def counting(self, frames=-1, *args, **kwargs):
        nonlocal read_samples
        block = plain_read(self, frames, *args, **kwargs)
        read_samples += len(block)
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    with pytest.raises(ValueError, match="longer than 1 s"):
        read_audio(data, max_s=1.0)
    assert read_samples < 16_000 * 10


def test_resample_leaves_the_same_rate_alone():
    audio = torch.rand(100)
    assert resample(audio, 16_000, 16_000) is audio


# --- Writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 24_000, 48_000])
@pytest.mark.parametrize("format", FORMATS)
def test_written_files_read_back(tmp_path, format, rate_hz):
    audio = torch.from_numpy(tone(0.8, rate_hz))
    path = tmp_path / "speech.out"
    write_audio(path, audio, rate_hz, format)
    back = read_audio(path, rate_hz)
    assert abs(back.numel() - audio.numel()) <= (2_400 if format in ("mp3", "aac") else 1)
    assert abs(loudness_of_tone(back[2_000:-2_400], rate_hz) - 0.5) < 0.03
    tolerance = {"wav": 2e-5, "wav_float": 0, "flac": 5e-5}.get(format)
    if tolerance is not None:
        assert (back - audio).abs().max() <= tolerance
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.wav", "wav"),
        ("a.FLAC", "flac"),
        ("a.mp3", "mp3"),
        ("a.opus", "opus"),
        ("a.ogg", "opus"),
        ("a.aac", "aac"),
    ],
)
def test_extension_chooses_the_format(name, format):
    assert audio_format(name) == format
    assert audio_format(name, "pcm") == "pcm"
    assert audio_format("-") == audio_format(io.BytesIO()) == "wav"


def test_a_pipe_is_wav_unless_its_name_means_another(tmp_path):
    for name, format in (("pipe", "wav"), ("to.player", "wav"), ("to.mp3", "mp3")):
        os.mkfifo(tmp_path / name)
        assert audio_format(tmp_path / name) == format


def test_unknown_formats_list_the_known():
    with pytest.raises(ValueError, match=r"'\.xyz'; known: \.wav, \.flac"):
        audio_format("a.xyz")
    with pytest.raises(
        ValueError, match="'wma'; allowed: wav, wav_float, flac, mp3, opus, aac, pcm"
    ):
        audio_format("a.wav", "wma")


def test_published_shape_clipping_and_types(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, torch.tensor([[0.0, 2.0, -2.0, 0.5]]).to(torch.bfloat16))
    samples, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == RATE_HZ
    assert samples.tolist() == [0, 32767, -32768, 16384]


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (torch.zeros(0), "0 samples"),
        (torch.zeros(2, 50), r"\(2, 50\)"),
        (torch.zeros(50, dtype=torch.int16).numpy(), "int16"),
        (torch.tensor([0.0, float("nan")]), "NaN"),
    ],
)
def test_bad_audio_is_not_written(tmp_path, audio, says):
    with pytest.raises(ValueError, match=says):
        write_audio(tmp_path / "a.wav", audio)
    assert not list(tmp_path.iterdir())


class Pipe:
    """Takes bytes in order; cannot seek."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> int:
        self.data += bytes(data)
        return len(data)

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("format", FORMATS)
def test_stream_in_a_pipe_is_valid_and_comes_at_once(format):
    audio, pipe = tone(2.0), Pipe()
    with AudioStreamWriter(format, RATE_HZ, pipe) as writer:
        sizes = []
        for start in range(0, audio.size, 1_920):
            writer.write(audio[start : start + 1_920])
            sizes.append(len(pipe.data))
    assert writer.num_samples == audio.size
    grown = np.diff(sizes)
    assert (grown[2:] > 0).mean() > 0.8, "audio must come out while it is made"
    back = read_audio(pipe.data, RATE_HZ)
    assert abs(back.numel() - audio.size) <= (2_400 if format in ("mp3", "aac") else 1)
    assert abs(loudness_of_tone(back[2_400:-2_400], RATE_HZ) - 0.5) < 0.03


@pytest.mark.parametrize("format", FORMATS)
def test_any_chunking_gives_the_same_sound(format):
    audio = tone(0.5)
    whole, parts = io.BytesIO(), io.BytesIO()
    write_audio(whole, audio, RATE_HZ, format)
    with AudioStreamWriter(format, RATE_HZ, parts) as writer:
        for chunk in np.split(audio, [1, 7, 500, 501, 6_000]):
            writer.write(chunk)
        writer.write(audio[:0])
    assert torch.equal(read_audio(whole.getvalue()), read_audio(parts.getvalue()))


def test_16_bit_samples_come_back_the_same():
    levels = (torch.arange(-32_768, 32_768) / 32_768).to(torch.float32)
    for format in ("wav", "flac"):
        file = io.BytesIO()
        write_audio(file, levels, RATE_HZ, format)
        assert torch.equal(read_audio(file.getvalue(), RATE_HZ), levels)


def test_pcm_is_bare_samples():
    pipe = Pipe()
    write_audio(pipe, np.array([0.0, 1.0, -1.0], np.float32), RATE_HZ, "pcm")
    assert np.frombuffer(pipe.data, "<i2").tolist() == [0, 32767, -32768]


def test_standard_output_of_a_program():
    program = (
        "import numpy as np\nfrom fireredtts2.audio_writer import open_audio_writer\n"
        "with open_audio_writer('-', 24000, 'mp3') as writer:\n"
        "    for _ in range(10): writer.write(np.full(1920, 0.1, np.float32))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert abs(read_audio(ran.stdout, RATE_HZ).numel() - 19_200) < 2_400
    assert ran.stderr == b""


def test_closed_writer_refuses():
    writer = AudioStreamWriter("wav", RATE_HZ, io.BytesIO())
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(tone())


@pytest.mark.parametrize("format", [*FORMATS, "pcm"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_device_is_an_error(format):
    with (
        open("/dev/full", "wb", buffering=0) as full,
        pytest.raises(OSError, match="No space") as caught,
    ):
        write_audio(full, tone(), RATE_HZ, format)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("format", FORMATS)
def test_reader_that_goes_away(format):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb", buffering=0) as pipe, pytest.raises(BrokenPipeError):
        write_audio(pipe, tone(), RATE_HZ, format)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("model")])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_interrupted_file_keeps_the_older_one(tmp_path, name, error):
    path = tmp_path / name
    path.write_bytes(b"older")

    def speak() -> None:
        with open_audio_writer(path) as writer:
            writer.write(tone())
            raise error

    with pytest.raises(type(error)):
        speak()
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, name):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fireredtts2.audio_encoders.WavEncoder.write", full)
    monkeypatch.setattr(AvEncoder, "write", full)
    with pytest.raises(OSError, match=r"disk is full; nothing was left behind.*a\.") as caught:
        write_audio(tmp_path / name, tone())
    assert caught.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


# --- Files whole or not at all ----------------------------------------------------------------


def test_atomic_path_appears_at_the_end(tmp_path):
    path = tmp_path / "a.json"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".json"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_path_keeps_permissions_and_links(tmp_path):
    plain, real, link = tmp_path / "plain", tmp_path / "real", tmp_path / "link"
    plain.touch()
    real.touch(mode=0o640)
    real.chmod(0o640)
    link.symlink_to(real)
    with atomic_path(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    with atomic_path(tmp_path / "fresh"):
        pass
    assert (tmp_path / "fresh").stat().st_mode == plain.stat().st_mode


def test_atomic_path_does_not_replace_a_device():
    with atomic_path("/dev/null") as target:
        assert target == Path("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_atomic_path_writes_through_a_pipe_that_is_named_by_its_number():
    reader, writer = os.pipe()
    try:
        with atomic_path(f"/dev/fd/{writer}") as target:
            target.write_bytes(b"speech")
        assert os.read(reader, 99) == b"speech"
        assert audio_format(f"/dev/fd/{writer}") == "wav"
    finally:
        os.close(reader)
        os.close(writer)


def test_atomic_path_into_no_folder(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="folder to write into"),
        atomic_path(tmp_path / "absent" / "a.wav"),
    ):
        pass
    with pytest.raises(OSError, match="directory"), atomic_path(tmp_path):
        pass


def test_atomic_folder_is_removed_on_error(tmp_path):
    def fill() -> None:
        with atomic_folder(tmp_path / "new") as temporary:
            (temporary / "a").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fill()
    assert not list(tmp_path.iterdir())
