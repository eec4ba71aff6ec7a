"""What a client of a live connection may send."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.schemas import Manner, ResponseFormat, Speed

BINARY = "a binary message: messages are JSON, sent as text"
ContextId = Annotated[str, Field(max_length=64, pattern=r"^[\w.:-]*$")]
Speaker = Literal["S1", "S2", "S3", "S4"]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")

    context_id: ContextId = ""


class Configure(_Message, Manner):
    """How a context speaks; before its first text."""

    type: Literal["session.config"]
    voice: str | None = Field(None, max_length=64)
    voices: Annotated[dict[Speaker, str], Field(max_length=4)] = Field(default_factory=dict)
    format: ResponseFormat = "pcm"
    audio: Literal["binary", "base64"] = "binary"
    speed: Speed = 1.0
    session_id: str | None = Field(None, max_length=64)


class InputText(_Message):
    """Text, as it is written."""

    type: Literal["input.text"]
    text: str
    speaker: Speaker | None = None


class InputFlush(_Message):
    """Speak what there is."""

    type: Literal["input.flush"]


class InputDone(_Message):
    """The turn's text has ended."""

    type: Literal["input.done"]


class Cancel(_Message):
    """Stop."""

    type: Literal["cancel"]
    played_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class CloseContext(_Message):
    """No more of this context, when what waits has been spoken."""

    type: Literal["context.close"]


Message = Configure | InputText | InputFlush | InputDone | Cancel | CloseContext
_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


async def received(socket: WebSocket) -> str | bytes:
    """The next message; bytes where a client sends them, which `receive_text` does not expect.

    Raises:
        WebSocketDisconnect: there are no more.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"], message.get("reason"))
    text = message.get("text")
    return message.get("bytes") or b"" if text is None else text


def read_message(text: str | bytes) -> Message:
    """A message of its JSON.

    Raises:
        ApiError: it is none; says what is wrong with it.
    """
    if isinstance(text, bytes):
        raise ApiError(400, BINARY, code="bad_message")
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "message"
        raise ApiError(400, f"{where}: {first['msg']}", code="bad_message", param=where) from None
