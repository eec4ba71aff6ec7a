"""Parts of files come out as they went in, whatever the format, also of files of unknown length."""

import io
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from fireredtts2.training.prepare import audio_reading
from fireredtts2.training.prepare.audio_reading import AudioReader
from fireredtts2.training.prepare.checks import Reason, RefusedError
from fireredtts2.training.prepare.file_length import is_cut
from fireredtts2.training.prepare.recordings import AudioPlace
from tests.training.prepare.speech import RATE_HZ, burst


def write_with_av(
    path: Path, codec: str, audio: np.ndarray, rate_hz: int = RATE_HZ, **options: str
) -> None:
    """(samples,) as one channel, or (channels, samples)."""
    audio = np.atleast_2d(audio)
    layout = "stereo" if len(audio) == 2 else "mono"
    with av.open(str(path), "w", options={"write_xing": options.pop("write_xing", "1")}) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout=layout)
        stream.options = options
        stream.bit_rate = 32_000
        for begin in range(0, audio.shape[1], 1_152):
            part = np.ascontiguousarray(audio[:, begin : begin + 1_152])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate_hz, begin
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
def test_a_part_is_that_part(tmp_path: Path, suffix: str) -> None:
    loud, soft = burst(1.0, 1, -15.0), burst(1.0, 2, -35.0)
    path = tmp_path / f"clip{suffix}"
    audio = np.concatenate([loud, soft, loud])
    if suffix == ".m4a":
        write_with_av(path, "aac", audio)
    else:
        soundfile.write(path, audio, RATE_HZ)
    reader = AudioReader(5.0)
    for begin_s, level_dbfs in ((0.1, -15.0), (1.1, -35.0), (2.1, -15.0)):
        part, rate_hz = reader.read(AudioPlace(path, begin_s, begin_s + 0.8))
        assert (rate_hz, part.size) == (RATE_HZ, 0.8 * RATE_HZ)
        # An encoder takes some of what is above its band.
        assert 10 * np.log10((part**2).mean()) == pytest.approx(level_dbfs, abs=1.5)
    whole, _ = reader.read(AudioPlace(path))
    assert whole.size == pytest.approx(3 * RATE_HZ, abs=3_000)


def test_a_streamed_file_does_not_know_its_length(tmp_path: Path) -> None:
    path = tmp_path / "streamed.wav"
    soundfile.write(path, burst(1.0), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    audio, _ = AudioReader(5.0).read(AudioPlace(path))
    assert audio.size == RATE_HZ


def unreadable(path: Path, **place: Any) -> str:
    """Why a file is refused."""
    with pytest.raises(RefusedError) as caught:
        AudioReader(200.0).read(AudioPlace(path, **place))
    assert caught.value.reason == Reason.UNREADABLE
    return caught.value.detail


@pytest.mark.parametrize("kind", ["WAV", "RF64", "OGG", "MP3", "FLAC"])
def test_a_cut_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"cut.{kind.lower()}"
    soundfile.write(path, burst(4.0), RATE_HZ, format=kind)
    assert AudioReader(5.0).read(AudioPlace(path))[0].size == 4 * RATE_HZ
    data = path.read_bytes()
    path.write_bytes(data[: round(0.55 * len(data))])
    assert re.match(rf"{path.name}: (cut off|damaged)", unreadable(path))
    unreadable(path, start_s=2.0, end_s=3.9)
    assert AudioReader(5.0).read(AudioPlace(path, 0.1, 0.6))[0].size == RATE_HZ // 2


@pytest.mark.parametrize(
    "size", [0x7FFF_F000, 0x7FFF_FFFF, 0xFFFF_FFFF, None],
    ids=["of SoX", "the most with a sign", "the most", "with its header counted in"],
)  # fmt: skip
def test_sizes_that_programs_write_without_meaning_them_promise_nothing(
    tmp_path: Path, size: int | None
) -> None:
    path = tmp_path / "odd.wav"
    soundfile.write(path, burst(1.0), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[40:44] = (size or len(data)).to_bytes(4, "little")
    path.write_bytes(data)
    assert AudioReader(5.0).read(AudioPlace(path))[0].size == RATE_HZ


def test_ogg_without_a_flag_for_its_end_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "live.ogg"
    soundfile.write(path, burst(1.0), RATE_HZ)
    data = bytearray(path.read_bytes())
    data[data.rfind(b"OggS") + 5] &= ~4  # libsndfile does not look at the page's checksum here
    path.write_bytes(data)
    assert not is_cut(io.BytesIO(data))


def test_flac_of_unknown_length_is_read(tmp_path: Path) -> None:
    path, audio = tmp_path / "piped.flac", np.stack([burst(2.0, 1), burst(2.0, 2)], axis=1)
    soundfile.write(path, audio, RATE_HZ)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # 36 bits for the number of samples; 0 is unknown
    data[22:26] = bytes(4)
    path.write_bytes(data)
    reader = AudioReader(5.0)
    for channel in (0, 1):
        whole, rate_hz = reader.read(AudioPlace(path, channel=channel))
        assert rate_hz == RATE_HZ
        assert np.allclose(whole, audio[:, channel], atol=1e-4)
    part, _ = reader.read(AudioPlace(path, 0.5, 1.0))
    assert np.allclose(part, audio[RATE_HZ // 2 : RATE_HZ, 0], atol=1e-4)
    assert "channel 2; it has 2" in unreadable(path, channel=2)


def test_mp3_that_does_not_state_its_length_is_read_whole(tmp_path: Path) -> None:
    # Its length is guessed by the rate of the first frame: too long by half, or too short.
    loud = burst(10.0)
    audio = np.concatenate([loud[: RATE_HZ // 2], 0 * loud, loud])
    for name, sound in (("a.mp3", audio), ("b.mp3", audio[::-1])):
        path = tmp_path / name
        write_with_av(path, "mp3", sound, write_xing="0", abr="1")
        whole, _ = AudioReader(200.0).read(AudioPlace(path))
        assert whole.size == pytest.approx(audio.size, abs=3_000)
    write_with_av(path, "mp3", np.stack([loud, 0.1 * loud]), write_xing="0")
    left, right = (AudioReader(20.0).read(AudioPlace(path, channel=n))[0].std() for n in (0, 1))
    assert right < 0.3 * left


@pytest.mark.parametrize("behind", [b"\0", b"\r\n", bytes(32), b"said by Ann"])
def test_mp3_with_junk_behind_it_is_read(tmp_path: Path, behind: bytes) -> None:
    path, audio = tmp_path / "a.mp3", burst(3.0)
    write_with_av(path, "mp3", audio, write_xing="0")
    path.write_bytes(path.read_bytes() + behind)
    whole, _ = AudioReader(20.0).read(AudioPlace(path))
    assert whole.size == pytest.approx(audio.size, abs=3_000)


def test_of_mp3_only_what_may_be_short_enough_is_decoded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp3"
    write_with_av(path, "mp3", burst(6.0), write_xing="0")
    monkeypatch.delattr(audio_reading, "decode_with_av")
    part, _ = AudioReader(20.0).read(AudioPlace(path, 1.0, 3.0))
    assert part.size == 2 * RATE_HZ, "a turn with an end is looked for"
    with pytest.raises(RefusedError) as caught:
        AudioReader(0.5).read(AudioPlace(path))
    assert caught.value.reason is Reason.TOO_LONG


def test_what_a_decoder_does_not_allow_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "slow.m4a"
    write_with_av(path, "aac", burst(1.0), 7_350)
    assert unreadable(path) == "slow.m4a: 7350 Hz; allowed: 8000 to 192000 Hz"
    path = tmp_path / "x.raw"
    path.write_bytes(bytes(1_000))
    assert unreadable(path).startswith("x.raw: bare samples, without a header")
    assert unreadable(tmp_path / "a\0b.wav") == "a\0b.wav: embedded null byte"


def test_long_parts_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, burst(3.0), RATE_HZ)
    with pytest.raises(RefusedError, match=r"3\.00 s; read are 2 s"):
        AudioReader(2.0).read(AudioPlace(path))
    assert AudioReader(2.0).read(AudioPlace(path, 1.0, 2.0))[0].size == RATE_HZ
