import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fireredtts2.evaluation.corpus import (
    HeldOutClip,
    draw_clips,
    is_held_out,
    read_held_out,
    recordings_of,
)
from tests.evaluation.fakes import pitch_of, tone


def encoded(hz: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(hz, 1.0, 16_000), 16_000, format="WAV")
    return file.getvalue()


def write_shard(path: Path, ids: list[int]) -> None:
    rows = [
        {"id": i, "speaker": "af_anna", "kind": "talk", "text": f"Text {i}.", "seconds": 1.0}
        for i in ids
    ]
    files = {"metadata.jsonl": "\n".join(json.dumps(row) for row in rows).encode()}
    files |= {f"{i:05d}.opus": encoded(200.0 + i) for i in ids}
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def clip(number: int, speaker: str = "af_anna", kind: str = "talk", seconds: float = 3.0):
    return HeldOutClip(number, speaker, kind, "Text.", seconds, b"")


def test_only_held_out_clips_are_read(tmp_path: Path) -> None:
    write_shard(tmp_path / "shard_000.tar", [2, 3, 4, 99])
    write_shard(tmp_path / "shard_001.tar", [100, 104])
    clips = read_held_out(tmp_path)
    assert [(c.id, c.text) for c in clips] == [(2, "Text 2."), (3, "Text 3."), (100, "Text 100.")]
    audio, rate_hz = clips[2].audio()
    assert (audio.dtype, rate_hz) == (np.float32, 16_000)
    assert pitch_of(audio) == pytest.approx(300, abs=1)
    assert [i for i in range(300) if is_held_out(i)] == [
        *range(4),
        *range(100, 104),
        *range(200, 204),
    ]


def test_a_folder_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no shard_\*\.tar"):
        read_held_out(tmp_path)


def test_clips_are_drawn_alike_for_a_seed_and_without_word_lists() -> None:
    clips = [clip(n, kind="list" if n % 2 else "talk") for n in range(40)]
    drawn = draw_clips(clips, 10, seed=3)
    assert len(drawn) == 10
    assert drawn == draw_clips(clips, 10, seed=3) != draw_clips(clips, 10, seed=4)
    assert all(c.kind == "talk" for c in drawn)
    assert len(draw_clips(clips, 100, seed=3)) == 20


def test_recordings_of_a_voice_by_either_name() -> None:
    clips = [clip(0), clip(1, "am_ben"), clip(2), clip(3, seconds=1.0), clip(4, "blend004")]
    assert [c.id for c in recordings_of("af_anna", clips, 10)] == [0, 2]
    assert [c.id for c in recordings_of("anna", clips, 1)] == [0]
    assert recordings_of("blend", clips, 10) == []
