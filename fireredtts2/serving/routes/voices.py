"""The library of voices."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import Response

from fireredtts2.audio_writer import AudioStreamWriter
from fireredtts2.config import FRAME_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.serving.audio_stream import Spool
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.keys import CLIENT
from fireredtts2.serving.server import Server
from fireredtts2.voices import SUFFIX, check_name

logger = logging.getLogger(__name__)
DAMAGED = "damaged, or made for another codec: upload it again"


def voice_routes(server: Server) -> APIRouter:
    """The library of voices."""
    router = APIRouter(prefix="/voices", tags=["voices"])
    adding = threading.Lock()

    def about(name: str) -> dict[str, object]:
        library = server.voices
        voice, path = library.get(name), library.path(name)
        return {
            "name": name,
            "language": voice.language,
            "seconds": round(voice.codes.shape[1] / FRAME_RATE_HZ, 2),
            "adapted": voice.adapter is not None,
            "text": voice.text,
            "removable": path.parent == library.folders[0],
        }

    def about_any(name: str) -> dict[str, object]:
        try:
            return about(name)
        except (ValueError, OSError) as error:
            logger.warning("voice %r cannot be used: %s", name, error)
            path = server.voices.path(name)
            is_own = path.parent == server.voices.folders[0]
            return {"name": name, "removable": is_own, "error": DAMAGED}

    def check_room() -> None:
        allowed = CLIENT.get().quota.max_voices
        folder = server.voices.folders[0]
        if allowed is not None and len(list(folder.glob("*" + SUFFIX))) >= allowed:
            message = f"{allowed} voices are kept, which is as many as may be: delete some"
            raise ApiError(400, message, code="too_many_voices")

    @router.get("")
    def voices() -> dict[str, object]:
        """All voices, the model's and those that were uploaded; damaged ones say so."""
        return {"object": "list", "data": [about_any(name) for name in server.voices.list()]}

    @router.post("", status_code=201)
    async def add(
        name: Annotated[str, Form()],
        text: Annotated[str, Form(description="what is said in the clip")],
        file: Annotated[UploadFile, File(description="a clip of 0.4 to 40 s")],
        language: Annotated[str, Form()] = "en",
        adapt: Annotated[
            bool, Form(description="let the decoder learn the voice: takes longer, sounds closer")
        ] = False,
    ) -> dict[str, object]:
        """Makes a voice of a clip, once."""
        server.check_upload(file.size or 0)
        clip = await file.read()
        server.check_upload(len(clip))

        def make() -> dict[str, object]:
            check_name(name)
            check_room()
            voice = replace(server.make_voice(name, clip, text, adapt), language=language)
            with adding:  # two with one name at once: the second is told
                check_room()
                server.voices.add(voice)
            return about(name)

        return await anyio.to_thread.run_sync(make)

    @router.get("/{name}")
    def show(name: str) -> dict[str, object]:
        """What is known of a voice."""
        return about(existing(name))

    @router.get("/{name}/audio", response_class=Response)
    def listen(name: str) -> Response:
        """The voice's clip, as its codes decode."""
        voice = server.voices.get(existing(name))
        audio = server.tts.studio.prompter.heard(voice)
        spool = Spool()
        with AudioStreamWriter("wav", OUTPUT_RATE_HZ, spool) as writer:  # type: ignore[arg-type]
            writer.write(audio)
        return Response(spool.take(), media_type="audio/wav")

    @router.delete("/{name}", status_code=204)
    def remove(name: str) -> None:
        """Deletes an uploaded voice; those that came with the model stay."""
        server.voices.remove(existing(name))

    def existing(name: str) -> str:
        if name not in server.voices.list():
            raise ApiError(404, f"no voice {name[:80]!r}", code="voice_not_found", param="name")
        return name

    return router
