"""The room that jobs may take: never more, and known before it is taken."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.assembly import ChapterMark, Wanted, assemble
from fireredtts2.serving.jobs.folder import JobFolder
from fireredtts2.serving.jobs.result_size import most_bytes, turn_bytes
from fireredtts2.speech import AudioChunk, Turn
from tests.serving.jobs.conftest import ClientOf
from tests.serving.jobs.waiting import NUM_TURNS, created, stands

pytest_plugins = ("tests.speaking",)

WHOLE = Wanted(
    formats=("wav", "flac", "mp3", "m4b"),
    subtitles=("srt", "vtt"),
    stems=True,
    title="A book",
    chapters=[ChapterMark(f"Chapter {n}", n * 1_000, (n + 1) * 1_000) for n in range(12)],
)


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def noise(seconds: float, num_turns: int) -> Iterator[AudioChunk]:
    """What is hardest to encode, and texts that are longest when they are written down."""
    generator = torch.Generator().manual_seed(0)
    each_s = seconds / num_turns
    for index in range(num_turns):
        audio = torch.rand(round(each_s * OUTPUT_RATE_HZ), generator=generator) * 2 - 1
        speaker = f"S{index % 2 + 1}"
        start_s = index * each_s
        text = 'He said, "A & B < C?" — 是的。 '
        turn = Turn(speaker, text, start_s, start_s + each_s, torch.zeros(4, 1), audio)
        yield AudioChunk(audio, index, speaker, is_turn_end=True, turn=turn)


@pytest.mark.parametrize(("seconds", "num_turns"), [(0.1, 1), (60.0, 6), (60.0, 300)])
def test_a_result_is_no_larger_than_was_expected(tmp_path: Path, seconds: float, num_turns: int):
    turns = [chunk.turn for chunk in noise(seconds, num_turns) if chunk.turn is not None]
    names = assemble(noise(seconds, num_turns), tmp_path, WHOLE)
    assert len(names) == 4 + 2 + 3 or num_turns == 1
    assert used(tmp_path) <= most_bytes(WHOLE, turns)
    if num_turns == 6:
        assert used(tmp_path) > 0.9 * most_bytes(WHOLE, turns), "much less than was expected"


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "m4b", "opus", "aac", "pcm"])
def test_each_format_by_itself(tmp_path: Path, format: str):
    wanted = Wanted(formats=[format])
    turns = [chunk.turn for chunk in noise(60.0, 6) if chunk.turn is not None]
    assemble(noise(60.0, 6), tmp_path, wanted)
    assert used(tmp_path) <= most_bytes(wanted, turns)


def test_a_turn_is_no_larger_either(tmp_path: Path):
    folder = JobFolder(tmp_path)
    folder.create({})
    for chunk in noise(2.0, 20):
        assert chunk.turn is not None
        num_bytes = folder.write(chunk.turn_index, chunk.turn)
        assert turn_bytes(chunk.turn) - 1_000 < num_bytes <= turn_bytes(chunk.turn)


def test_what_does_not_fit_is_not_begun(client_of: ClientOf, tmp_path: Path):
    with client_of() as client:
        id = created(client, formats=["wav"], stems=True)
        num_bytes = stands(client, id, "done")["bytes"]
        turns = used(tmp_path / "jobs" / id / "turns")
        client.delete(f"/v1/jobs/{id}")
    enough = num_bytes + 4 * 20_000  # of headers and texts, which are small and counted large
    with client_of(max_bytes=(turns + num_bytes) // 2) as client:
        id = created(client, formats=["wav"], stems=True)
        job = stands(client, id, "paused", "done", "failed")
        assert job["state"] == "paused"
        assert job["turns_done"] == NUM_TURNS
        assert "the result may take" in job["error"]
        assert f"of {(turns + num_bytes) // 2}; delete some, then resume" in job["error"]
        assert not list((tmp_path / "jobs" / id / "files").iterdir())
        assert job["bytes"] == used(tmp_path / "jobs" / id)
    with client_of(max_bytes=enough) as client:
        client.post(f"/v1/jobs/{id}/resume")
        assert stands(client, id, "done", "failed", "paused")["state"] == "done"
        assert client.get(f"/v1/jobs/{id}").json()["bytes"] == num_bytes


def test_the_room_is_never_overrun(client_of: ClientOf, tmp_path: Path):
    with client_of(max_bytes=150_000) as client:
        job = stands(client, created(client), "paused", "done", "failed")
        assert job["state"] == "paused"
        assert "the next turn may take" in job["error"]
        assert "of 150000" in job["error"]
        assert 0 < job["turns_done"] < NUM_TURNS
        assert used(tmp_path / "jobs" / job["id"]) <= 150_000


def test_room_that_another_job_is_about_to_take_counts(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []
    chunks = JobFolder.chunks
    store = client.app.state.jobs.store  # type: ignore[attr-defined]

    def looking(self: JobFolder) -> Iterator[AudioChunk]:
        seen.append(sum(job.num_bytes for job in store.find()) - self.num_bytes)
        yield from chunks(self)

    monkeypatch.setattr(JobFolder, "chunks", looking)
    done = stands(client, created(client, formats=["wav"]), "done")
    assert seen[0] > done["audio_s"] * OUTPUT_RATE_HZ * 2
    assert store.find()[0].num_bytes == done["bytes"], "given back"
