"""The library of voices."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import Response

from fireredtts2.audio_writer import AudioStreamWriter
from fireredtts2.config import FRAME_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.serving.audio_stream import Spool
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.server import Server


def voice_routes(server: Server) -> APIRouter:
    """The library of voices."""
    router = APIRouter(prefix="/voices", tags=["voices"])
    library = server.tts.voices

    def about(name: str) -> dict[str, object]:
        voice, path = library.get(name), library.path(name)
        return {
            "name": name,
            "language": voice.language,
            "seconds": round(voice.codes.shape[1] / FRAME_RATE_HZ, 2),
            "text": voice.text,
            "removable": path.parent == library.folders[0],
        }

    @router.get("")
    def voices() -> dict[str, object]:
        """All voices, the model's and those that were uploaded."""
        return {"object": "list", "data": [about(name) for name in library.list()]}

    @router.post("", status_code=201)
    async def add(
        name: Annotated[str, Form()],
        text: Annotated[str, Form(description="what is said in the clip")],
        file: Annotated[UploadFile, File(description="a clip of 0.4 to 40 s")],
        language: Annotated[str, Form()] = "en",
    ) -> dict[str, object]:
        """Makes a voice of a clip, once."""
        server.check_upload(file.size or 0)
        clip = await file.read()
        server.check_upload(len(clip))

        def make() -> dict[str, object]:
            voice = replace(server.tts.make_voice(name, clip, text), language=language)
            library.add(voice)
            return about(name)

        return await anyio.to_thread.run_sync(make)

    @router.get("/{name}")
    def show(name: str) -> dict[str, object]:
        """What is known of a voice."""
        return about(existing(name))

    @router.get("/{name}/audio", response_class=Response)
    def listen(name: str) -> Response:
        """The voice's clip, as its codes decode."""
        voice = library.get(existing(name))
        audio = server.tts.codec.decode(voice.codes[None].to(server.tts.device))[0].cpu()
        spool = Spool()
        with AudioStreamWriter("wav", OUTPUT_RATE_HZ, spool) as writer:  # type: ignore[arg-type]
            writer.write(audio)
        return Response(spool.take(), media_type="audio/wav")

    @router.delete("/{name}", status_code=204)
    def remove(name: str) -> None:
        """Deletes an uploaded voice; those that came with the model stay."""
        library.remove(existing(name))

    def existing(name: str) -> str:
        if name not in library.list():
            raise ApiError(404, f"no voice {name[:80]!r}", code="voice_not_found", param="name")
        return name

    return router
