"""What the player of the page asks for: how a work stands, its sound, and its files."""

from __future__ import annotations

import base64
import copy
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.ui.desk import Desk
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.exports import export
from fireredtts2.ui.production import Production, Progress
from fireredtts2.ui.sound_file import PEAKS_HZ, GrowingSound, peaks_of, sound_path
from fireredtts2.ui.work import Turn

LONGEST_WAIT_S = 20.0
POLL_S = 0.05
READ_BYTES = 48_000  # a second of sound
MAX_EXPORTS = 4  # at once; an hour's MP3 takes a while
SOUND_NAME = re.compile(r"[0-9A-Za-z-]{1,80}", re.ASCII)
MEDIA_TYPE = f"audio/pcm;rate={OUTPUT_RATE_HZ}"


def work_routes(desk: Desk) -> APIRouter:
    """Routes below the studio's own path; whoever has a work's name may hear it."""
    router = APIRouter(prefix="/works/{token}", include_in_schema=False)

    @router.get("/state")
    async def state(
        token: str,
        revision: Annotated[int, Query(ge=0)] = 0,
        wait_s: Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)] = 0.0,
    ) -> Response:
        """How it stands, with the turns that changed after a revision; waits for a change."""
        try:
            made = desk.get(token)
        except StudioError as error:
            return _refusal(error)
        # NOTE: no thread waits here: there may be hundreds of pages, and threads are few.
        ends_at = anyio.current_time() + wait_s
        while made.progress().revision == revision and anyio.current_time() < ends_at:
            await anyio.sleep(POLL_S)
        told = await anyio.to_thread.run_sync(_told, made, revision)
        return JSONResponse(told, headers={"cache-control": "no-store"})

    @router.get("/sounds/{name}")
    def sound(token: str, name: str) -> Response:
        """Samples of a turn, 16 bits, little-endian; of one that is spoken as they come."""
        try:
            made = desk.get(token)
        except StudioError as error:
            return _refusal(error)
        if not SOUND_NAME.fullmatch(name):
            return _refusal(StudioError("no such sound", status=404))
        path = sound_path(made.folder, name)
        growing = made.growing(name)
        if growing is not None and not path.exists():
            pieces = _followed(growing, path)
            return StreamingResponse(pieces, media_type=MEDIA_TYPE)
        if not path.exists():
            return _refusal(StudioError("no such sound", status=404))
        # The name is of this sound alone: it never changes.
        kept = {"cache-control": "private, max-age=86400, immutable"}
        return FileResponse(path, media_type=MEDIA_TYPE, headers=kept)

    exporting = anyio.CapacityLimiter(MAX_EXPORTS)

    @router.get("/files/{name}")
    async def file(token: str, name: str) -> Response:
        """A file to keep."""
        return await anyio.to_thread.run_sync(_exported, desk, token, name, limiter=exporting)

    return router


def _exported(desk: Desk, token: str, name: str) -> Response:
    folder = Path(tempfile.mkdtemp(prefix="fireredtts2_studio_"))
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    try:
        made = desk.get(token)
        with made.lock:
            work = copy.deepcopy(made.work)
        suffix = Path(name).suffix
        target = folder / f"file{suffix if suffix.isascii() and len(suffix) < 10 else ''}"
        export(work, made.folder, name, target)
    except StudioError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return _refusal(error)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        return _refusal(StudioError(f"the studio's disk: {error.strerror}", status=507))
    return FileResponse(target, filename=_shown(work.title, name), background=done)


def _told(made: Production, revision: int) -> dict[str, Any]:
    progress = made.progress()
    with made.lock:
        work, turns = made.work, made.changed_turns(revision)
        return {
            **_progress(progress),
            "rate_hz": OUTPUT_RATE_HZ,
            "peaks_hz": PEAKS_HZ,
            "title": work.title,
            "order": [turn.id for turn in work.turns],
            "pauses": [round(work.pause_before(n), 3) for n in range(len(work.turns))],
            "turns": [_turn(made, turn, progress) for turn in turns],
        }


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "revision": progress.revision,
        "state": progress.state,
        "message": progress.message,
        "turn_id": progress.turn_id,
        "num_made": progress.num_made,
        "num_turns": progress.num_turns,
    }


def _turn(made: Production, turn: Turn, progress: Progress) -> dict[str, Any]:
    growing = made.growing() if turn.id == progress.turn_id else None
    told: dict[str, Any] = {
        "id": turn.id,
        "speaker": turn.speaker,
        "name": made.work.names.get(turn.speaker, ""),
        "voice": made.work.voices.get(turn.speaker, ""),
        "text": turn.text,
        "is_current": made.work.is_current(turn),
        "is_growing": growing is not None,
    }
    if growing is not None:
        peaks, name, num_samples = growing.peaks(), growing.name, growing.num_samples
    elif turn.sound is not None:
        name, num_samples = turn.sound.name, turn.sound.num_samples
        peaks = peaks_of(sound_path(made.folder, name))
    else:
        return told
    return told | {
        "sound": name,
        "num_samples": num_samples,
        "peaks": base64.b64encode(peaks).decode(),
    }


async def _followed(growing: GrowingSound, path: Path) -> AsyncIterator[bytes]:
    """Sound as it comes; whole where it was finished in between, none where it was dropped."""
    try:
        file = growing.open()
    except FileNotFoundError:
        if path.exists():
            yield path.read_bytes()
        return
    with file:
        while True:
            # NOTE: looked at before reading: what is written before it is over is still read.
            is_over = growing.is_over
            if data := file.read(READ_BYTES):
                yield data
            elif is_over:
                return
            else:
                await anyio.sleep(POLL_S)


def _shown(title: str, name: str) -> str:
    """A file's name for the user's disk."""
    stem, _, suffix = name.partition(".")
    plain = "".join(one for one in title if one.isalnum() or one in " -_")[:60].strip()
    if not plain:
        return name
    return f"{plain}.{suffix}" if stem in ("mix", "project") else f"{plain} {stem}.{suffix}"


def _refusal(error: StudioError) -> JSONResponse:
    return JSONResponse({"message": str(error)}, status_code=error.status or 400)
