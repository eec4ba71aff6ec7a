"""Parts of files come out as they went in, whatever the format, also of files of unknown length."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from fireredtts2.training.prepare.audio_reading import AudioReader
from fireredtts2.training.prepare.checks import RefusedError
from fireredtts2.training.prepare.recordings import AudioPlace
from tests.training.prepare.speech import RATE_HZ, burst


def write_aac(path: Path, audio: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        frame = av.AudioFrame.from_ndarray(audio[None], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
def test_a_part_is_that_part(tmp_path: Path, suffix: str) -> None:
    loud, soft = burst(1.0, 1, -15.0), burst(1.0, 2, -35.0)
    path = tmp_path / f"clip{suffix}"
    audio = np.concatenate([loud, soft, loud])
    if suffix == ".m4a":
        write_aac(path, audio)
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


def test_long_parts_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, burst(3.0), RATE_HZ)
    with pytest.raises(RefusedError, match=r"3\.00 s; read are 2 s"):
        AudioReader(2.0).read(AudioPlace(path))
    assert AudioReader(2.0).read(AudioPlace(path, 1.0, 2.0))[0].size == RATE_HZ
