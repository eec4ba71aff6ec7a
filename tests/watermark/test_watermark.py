"""A mark is found by its key and by no other, and is heard by nobody."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from fireredtts2.audio_writer import AudioStreamWriter
from fireredtts2.cli.main import main
from fireredtts2.watermark import Marker, WatermarkKey, detect
from fireredtts2.watermark.detector import normal_quantile
from fireredtts2.watermark.pattern import NUM_BITS, SYNC, bits_of, crc8, payload_of

RATE_HZ = 24_000
KEY, OTHER = WatermarkKey("a secret of ours", 4_711), WatermarkKey("another secret", 4_711)


def speechlike(seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """Buzz with gliding pitch and formant-like bands, in syllables: as uneven as speech."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    pitch = 120 + 30 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE_HZ
    sound = sum(np.cos(n * phase) / n for n in range(1, 45))
    syllables = np.clip(np.sin(2 * np.pi * 4 * time) + 0.6, 0, 1)
    noise = 0.02 * rng.standard_normal(len(time))
    return (0.1 * (sound * syllables + noise)).astype(np.float32)


def marked(audio: np.ndarray, key: WatermarkKey = KEY) -> np.ndarray:
    marker = Marker(key)
    return np.concatenate([marker.push(audio), marker.flush()])


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return marked(speechlike())


def test_its_own_key_finds_it_and_reads_the_number(clip: np.ndarray) -> None:
    found = detect(clip, WatermarkKey(KEY.secret))
    assert found.is_marked
    assert found.payload == 4_711


def test_no_other_key_finds_it(clip: np.ndarray) -> None:
    assert not detect(clip, OTHER).is_marked
    assert not detect(speechlike(), KEY).is_marked


@pytest.mark.parametrize("sizes", [[1], [7, 1_920, 3], [480], [959, 961], [100_000]])
def test_any_pieces_give_the_same(sizes: list[int]) -> None:
    audio = speechlike(1.0)
    whole = marked(audio)
    marker, parts, at = Marker(KEY), [], 0
    step = 0
    while at < len(audio):
        size = sizes[step % len(sizes)] if sizes != [1] else 97
        parts.append(marker.push(audio[at : at + size]))
        at, step = at + size, step + 1
        given, taken = min(at, len(audio)), sum(map(len, parts))
        assert given - 960 <= taken <= given  # 40 ms at most are held back
    parts.append(marker.flush())
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)


@pytest.mark.parametrize("num_samples", [0, 1, 479, 480, 481, 960, 5_000])
def test_what_comes_out_is_as_long_and_lies_where_it_lay(num_samples: int) -> None:
    audio = speechlike(1.0)[:num_samples]
    out = marked(audio)
    assert len(out) == num_samples
    if num_samples > 480:
        assert np.dot(out, audio) > 0.95 * np.dot(audio, audio)


def test_it_is_quiet_beside_the_speech(clip: np.ndarray) -> None:
    audio = speechlike()
    noise_db = 10 * np.log10(np.sum((clip - audio) ** 2) / np.sum(audio**2))
    assert -30 < noise_db < -16


def test_silence_stays_silent() -> None:
    assert not marked(np.zeros(5_000, np.float32)).any()


@pytest.mark.parametrize("cut", [1, 333, 12_345, 50_000])
def test_it_is_found_wherever_a_crop_begins(clip: np.ndarray, cut: int) -> None:
    assert detect(clip[cut:], KEY).is_marked


def through(audio: np.ndarray, format: str) -> np.ndarray:
    """Packed and unpacked."""
    file = io.BytesIO()
    with AudioStreamWriter(format, RATE_HZ, file) as writer:  # type: ignore[arg-type]
        writer.write(audio)
    file.seek(0)
    out, rate_hz = soundfile.read(file, dtype="float32")
    return soxr.resample(out, rate_hz, RATE_HZ)


@pytest.mark.parametrize("format", ["mp3", "opus", "flac"])
def test_codecs_keep_it(clip: np.ndarray, format: str) -> None:
    assert detect(through(clip, format), KEY).is_marked


def test_other_rates_and_volumes_keep_it(clip: np.ndarray) -> None:
    narrow = soxr.resample(soxr.resample(clip, RATE_HZ, 16_000), 16_000, RATE_HZ)
    assert detect(0.05 * narrow, KEY).is_marked


def test_several_marks_one_after_the_other_are_found() -> None:
    parts = [marked(speechlike(7.3, seed)) for seed in range(3)]
    assert detect(np.concatenate(parts), KEY).is_marked


def test_every_payload_reads_back() -> None:
    for payload in (0, 1, 255, 256, 40_000, 65_535):
        bits = bits_of(payload)
        assert len(bits) == NUM_BITS
        assert payload_of(bits) == payload
        for wrong in range(NUM_BITS):
            assert payload_of([bit ^ (n == wrong) for n, bit in enumerate(bits)]) is None
    assert crc8(0) != 0


def test_a_key_is_always_the_same_and_tells_each_bit_often() -> None:
    again = WatermarkKey(KEY.secret, 4_711)
    np.testing.assert_array_equal(KEY.pattern, again.pattern)
    assert not np.array_equal(KEY.pattern, OTHER.pattern)
    counts = [np.sum(KEY.bits == bit) for bit in range(NUM_BITS)]
    assert min(counts) > 40
    assert np.sum(KEY.bits == SYNC) > 500
    assert "secret" not in repr(KEY)


@pytest.mark.parametrize(
    ("secret", "payload"), [("short", 0), ("long enough", -1), ("long enough", 65_536)]
)
def test_bad_keys_are_refused(secret: str, payload: int) -> None:
    with pytest.raises(ValueError, match=r"at least 8|payload"):
        WatermarkKey(secret, payload)


@pytest.mark.parametrize("audio", [np.zeros(100), np.zeros((2, 48_000))])
def test_too_little_to_tell(audio: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 1 s"):
        detect(audio, KEY)


def test_the_threshold_is_that_of_the_normal_distribution() -> None:
    assert normal_quantile(0.158655) == pytest.approx(1.0, abs=1e-4)
    assert normal_quantile(2.866516e-7) == pytest.approx(5.0, abs=1e-4)


def test_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "a.wav", speechlike(), RATE_HZ)
    (tmp_path / "key").write_text("a key in a file\n")
    paths = [str(tmp_path / name) for name in ("a.wav", "b.mp3", "key")]
    assert main(["watermark", "detect", paths[0], "--key-file", paths[2]]) == 1
    assert "no mark" in capsys.readouterr().out
    made = ["watermark", "add", paths[0], paths[1], "--payload", "77", "--key-file", paths[2]]
    assert main(made) == 0
    assert main(["watermark", "detect", paths[1], "--key-file", paths[2]]) == 0
    assert "marked; its number: 77" in capsys.readouterr().out
    monkeypatch.delenv("FIREREDTTS2_WATERMARK_KEY", raising=False)
    assert main(["watermark", "detect", paths[1]]) == 2
    assert "no key" in capsys.readouterr().err
