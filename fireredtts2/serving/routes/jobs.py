"""Jobs: long scripts, made in the background."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import APIRouter, Header
from fastapi.responses import FileResponse, StreamingResponse

from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.jobs.job import Job, JobEvent
from fireredtts2.serving.jobs.plan import plan_of
from fireredtts2.serving.jobs.schemas import JobRequest
from fireredtts2.serving.jobs.service import Jobs
from fireredtts2.serving.keys import CLIENT
from fireredtts2.serving.server import Server

POLL_S = 0.3
KEEP_ALIVE_S = 15.0
SEED_BITS = 32
Result = TypeVar("Result")


def job_routes(server: Server, jobs: Jobs | None) -> APIRouter:
    """Jobs. Without a folder for them every route says so."""
    router = APIRouter(tags=["jobs"])

    @router.post("/jobs", status_code=202)
    async def create(asked: JobRequest) -> dict[str, Any]:
        """A new job; `events` tells how it goes."""
        return (await _threaded(_created, server, _there(jobs), asked)).public()

    @router.get("/jobs")
    async def every() -> dict[str, Any]:
        """This key's jobs, the oldest first."""
        found = await _threaded(_there(jobs).find, owner())
        return {"object": "list", "data": [job.public() for job in found]}

    @router.get("/jobs/{id}")
    async def one(id: str) -> dict[str, Any]:
        """How a job stands."""
        return (await _threaded(_there(jobs).get, owner(), id)).public()

    @router.get("/jobs/{id}/events", response_class=StreamingResponse)
    async def events(
        id: str, last_event_id: Annotated[str | None, Header()] = None
    ) -> StreamingResponse:
        """Server-sent events until the job stands still; `Last-Event-ID` goes on behind one."""
        job = await _threaded(_there(jobs).get, owner(), id)
        told = _told(server, _there(jobs), job, _number(last_event_id))
        return StreamingResponse(told, media_type="text/event-stream")

    @router.get("/jobs/{id}/files/{name:path}")
    async def file(id: str, name: str) -> FileResponse:
        """A result."""
        path = await _threaded(_there(jobs).file, owner(), id, name)
        return FileResponse(path, filename=name)

    @router.post("/jobs/{id}/cancel")
    async def cancel(id: str) -> dict[str, Any]:
        """Stops a job; its finished turns are kept."""
        return (await _threaded(_there(jobs).cancel, owner(), id)).public()

    @router.post("/jobs/{id}/resume")
    async def resume(id: str) -> dict[str, Any]:
        """Lets a job go on that paused, failed or was cancelled."""
        return (await _threaded(_there(jobs).resume, owner(), id)).public()

    @router.delete("/jobs/{id}", status_code=204)
    async def delete(id: str) -> None:
        """Removes a job and its files, in whatever state it is."""
        await _threaded(_there(jobs).delete, owner(), id)

    return router


def owner() -> str:
    """Whose jobs these are: the key's; without keys everybody's."""
    client = CLIENT.get()
    return client.id if client.has_key else ""


def _there(jobs: Jobs | None) -> Jobs:
    if jobs is None:
        raise ApiError(501, "this server keeps no jobs: start it with --jobs FOLDER",
                       "server_error", "no_jobs")  # fmt: skip
    return jobs


def _created(server: Server, jobs: Jobs, asked: JobRequest) -> Job:
    plan = plan_of(asked)
    server.tts.studio.options(asked.given())
    voices = {speaker: server.voice(name) for speaker, name in plan.voices.items()}
    if asked.seed is None:
        asked = asked.model_copy(update={"seed": secrets.randbits(SEED_BITS)})
    return jobs.add(owner(), asked, plan, voices)


async def _told(server: Server, jobs: Jobs, job: Job, after: int) -> AsyncIterator[bytes]:
    """What was told of a job, and what is told from now on, until nothing more is to come."""
    silent_s = 0.0
    while True:
        now = await _threaded(jobs.store.get, job.id)
        found = await _threaded(jobs.store.events, job.id, after)
        for told in found:
            after = told.id
            yield _event(told)
        # NOTE: the state was read before the events: what ended it is among them.
        if now is None or not now.is_open or server.is_draining:
            return
        silent_s = 0.0 if found else silent_s + POLL_S
        if silent_s >= KEEP_ALIVE_S:
            silent_s = 0.0
            yield b": still here\n\n"
        await anyio.sleep(POLL_S)


def _event(told: JobEvent) -> bytes:
    return f"id: {told.id}\nevent: job\ndata: {json.dumps(told.data)}\n\n".encode()


def _number(last_event_id: str | None) -> int:
    if last_event_id is None or last_event_id == "":
        return 0
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 10):
        raise ApiError(400, f"Last-Event-ID {last_event_id[:40]!r}: must be an event's number")
    return int(last_event_id)


async def _threaded(call: Callable[..., Result], *args: Any) -> Result:
    return await anyio.to_thread.run_sync(partial(call, *args))
