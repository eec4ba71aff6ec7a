"""A whole conversation in one ZIP: audio, stems, subtitles and the list of its turns."""

from __future__ import annotations

import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
from fastapi import Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from fireredtts2.script import Script
from fireredtts2.serving.assembly import Wanted, assemble
from fireredtts2.serving.errors import ApiError, as_api_error
from fireredtts2.serving.marking import NewMarker, unmarked
from fireredtts2.serving.schemas import DialogueRequest
from fireredtts2.speech import AudioChunk

WATCH_S = 0.5


async def bundled(
    request: Request,
    asked: DialogueRequest,
    script: Script,
    start: Callable[[], Iterator[AudioChunk]],
    limiter: anyio.CapacityLimiter,
    new_marker: NewMarker = unmarked,
) -> FileResponse:
    """Makes it; stops where nobody waits for it any more.

    Raises:
        ApiError: it could not be made.
    """
    if asked.speed != 1.0 or asked.stream_format != "audio":
        raise ApiError(400, "`return` is for whole files: leave `speed` at 1 and `stream_format` "
                       "at audio", param="return")  # fmt: skip
    wanted = _wanted(asked, script, new_marker)
    folder = tempfile.TemporaryDirectory(prefix="fireredtts2_")
    gone = threading.Event()
    path = Path(folder.name) / "dialogue.zip"
    is_made = False
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_watch, request, gone)
            call = _Call(start, Path(folder.name), wanted, gone)
            await anyio.to_thread.run_sync(call, limiter=limiter)
            is_made = call.error is None
            group.cancel_scope.cancel()
    finally:
        gone.set()
        if not is_made:
            folder.cleanup()
    if call.error is not None:
        raise as_api_error(call.error) from call.error
    return FileResponse(
        path, media_type="application/zip", filename="dialogue.zip",
        background=BackgroundTask(folder.cleanup),
    )  # fmt: skip


class _Call:
    """What the thread does. An error is kept: a task group would wrap it in another."""

    def __init__(
        self,
        start: Callable[[], Iterator[AudioChunk]],
        folder: Path,
        wanted: Wanted,
        gone: threading.Event,
    ) -> None:
        self._start, self._folder, self._wanted, self._gone = start, folder, wanted, gone
        self.error: Exception | None = None

    def __call__(self) -> None:
        path = self._folder / "dialogue.zip"
        try:
            names = assemble(self._chunks(), self._folder, self._wanted)
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
                for name in names:
                    file.write(self._folder / name, name)
                    (self._folder / name).unlink()
        except Exception as error:
            self.error = error

    def _chunks(self) -> Iterator[AudioChunk]:
        chunks = self._start()
        try:
            for chunk in chunks:
                if self._gone.is_set():
                    raise ApiError(499, "the client is gone")
                yield chunk
        finally:
            chunks.close()  # type: ignore[attr-defined]


async def _watch(request: Request, gone: threading.Event) -> None:
    while not await request.is_disconnected():
        await anyio.sleep(WATCH_S)
    gone.set()


def _wanted(asked: DialogueRequest, script: Script, new_marker: NewMarker) -> Wanted:
    parts = asked.returns or []
    return Wanted(
        formats=[asked.response_format] if "audio" in parts else [],
        subtitles=["srt", "vtt"] if "subtitles" in parts else [],
        stems="stems" in parts,
        turns="turns" in parts,
        names=lambda speaker: script.names.get(speaker, speaker),
        new_marker=new_marker,
    )
