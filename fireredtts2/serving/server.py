"""What the routes share: the loaded model, who may ask, and how speech is answered."""

from __future__ import annotations

import base64
import binascii
import hmac
import io
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
from fastapi.responses import StreamingResponse
from starlette.requests import Request

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.serving.audio_stream import MEDIA_TYPES, ChunkReader, as_events, encoded
from fireredtts2.serving.config import OPENAI_VOICES, ServingConfig
from fireredtts2.serving.errors import ApiError, as_api_error
from fireredtts2.serving.metrics import Metrics
from fireredtts2.serving.schemas import DialogueRequest, SpeechRequest
from fireredtts2.speech import AudioChunk
from fireredtts2.voices import Voice

DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w=.-]+)*;base64,", re.ASCII)
Chunks = Iterator[AudioChunk]


class Server:
    """One model behind an API.

    Args:
        tts: the model.
        config: of the server.
    """

    def __init__(self, tts: FireRedTTS2, config: ServingConfig) -> None:
        self.tts, self.config = tts, config
        self.engine = tts.studio.engine
        self.engine.scheduler.max_waiting = config.max_waiting
        self.metrics = Metrics(self.engine)
        self.is_draining = False
        # One thread for everyone who may be served or wait.
        self._limiter = anyio.CapacityLimiter(config.num_slots + config.max_waiting + 1)

    # --- Who may ask ----------------------------------------------------------------------------

    def check_key(self, request: Request) -> None:
        """Raises ApiError unless the request has one of the keys, or none is needed."""
        if not self.config.api_keys:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        # NOTE: all are compared, each in constant time: nothing is learnt from how long it takes.
        matches = [hmac.compare_digest(given, key.encode()) for key in self.config.api_keys]
        if not any(matches):
            raise ApiError(401, "no valid API key: send it as `Authorization: Bearer KEY`",
                           "authentication_error", "invalid_api_key")  # fmt: skip

    # --- Speech ---------------------------------------------------------------------------------

    def speech(self, asked: SpeechRequest) -> Callable[[], Chunks]:
        """Starts one text in one voice; call it in a thread, a clip may have to be encoded."""
        self._check_length(asked.input)

        def start() -> Chunks:
            voice = self._voice(asked)
            return self.tts.stream_say(asked.input, voice, **options(asked))

        return start

    def dialogue(self, asked: DialogueRequest) -> Callable[[], Chunks]:
        """Starts a conversation."""
        from fireredtts2.script import ScriptTurn, parse_script

        if (asked.turns is None) == (asked.script is None):
            raise ApiError(400, "give either `turns` or `script`", param="turns")
        texts = [turn.text for turn in asked.turns or []]
        self._check_length(asked.script or "".join(texts))
        script: Any = (
            parse_script(asked.script)
            if asked.script is not None
            else [ScriptTurn(turn.speaker, turn.text, turn.pause_s) for turn in asked.turns or []]
        )
        voices = {speaker: self.named(name) for speaker, name in asked.voices.items()}
        return lambda: self.tts.stream_dialogue(script, voices, **options(asked))

    async def answer(
        self, route: str, start: Callable[[], Chunks], asked: SpeechRequest | DialogueRequest
    ) -> StreamingResponse:
        """A response that begins with the first audio; what fails before has a status of its own.

        Raises:
            ApiError: nothing was spoken.
        """
        began = time.perf_counter()
        if self.is_draining:
            raise ApiError(503, "the server is shutting down", "server_error")
        try:
            chunks = await anyio.to_thread.run_sync(start, limiter=self._limiter)
            reader = ChunkReader(self._counted(route, chunks), self._limiter)
            try:
                first = await reader.next()
            except BaseException:
                await reader.close()
                raise
        except Exception as error:
            self.metrics.requests.labels(route, "refused").inc()
            raise as_api_error(error) from error
        self.metrics.first_audio.observe(time.perf_counter() - began)
        pieces: AsyncIterator[bytes] = encoded(first, reader, asked.response_format, asked.speed)
        if asked.stream_format == "sse":
            return StreamingResponse(as_events(pieces), media_type="text/event-stream")
        return StreamingResponse(pieces, media_type=MEDIA_TYPES[asked.response_format])

    def named(self, name: str) -> str:
        """A voice's own name; OpenAI's names stand for some of the embedded model's.

        Raises:
            ApiError: there is no such voice.
        """
        known = self.tts.voices.list()
        found = name if name in known else OPENAI_VOICES.get(name, name)
        if found not in known:
            shown = ", ".join(known) or "none"
            raise ApiError(400, f"no voice {name[:80]!r}; known voices: {shown}",
                           code="voice_not_found", param="voice")  # fmt: skip
        return found

    def _voice(self, asked: SpeechRequest) -> str | Voice | None:
        if asked.ref_audio is None:
            return None if asked.voice is None else self.named(asked.voice)
        if not asked.ref_text:
            raise ApiError(400, "ref_audio without ref_text: say what is said in the clip",
                           param="ref_text")  # fmt: skip
        clip = io.BytesIO(self.clip_of(asked.ref_audio))
        return self.tts.make_voice("reference", clip, asked.ref_text)

    def clip_of(self, data_url: str) -> bytes:
        """The bytes of a data URL. No other URL and no path is ever opened.

        Raises:
            ApiError: not a data URL, or too large.
        """
        head = DATA_URL.match(data_url)
        if head is None:
            raise ApiError(400, 'ref_audio must be "data:audio/...;base64,..."; no other address '
                           "is opened", param="ref_audio")  # fmt: skip
        try:
            data = base64.b64decode(data_url[head.end() :], validate=True)
        except binascii.Error as error:
            raise ApiError(400, f"ref_audio: {error}", param="ref_audio") from None
        self.check_upload(len(data))
        return data

    def check_upload(self, num_bytes: int) -> None:
        """Raises ApiError for a clip of more bytes than may be sent."""
        if num_bytes > self.config.max_upload_bytes:
            limit = self.config.max_upload_bytes
            raise ApiError(413, f"a clip of {num_bytes} bytes; at most {limit} are taken")

    def _check_length(self, text: str) -> None:
        if len(text) > self.config.max_input_characters:
            limit = self.config.max_input_characters
            raise ApiError(400, f"{len(text)} characters of text; at most {limit} are taken",
                           code="input_too_long", param="input")  # fmt: skip

    def _counted(self, route: str, chunks: Chunks) -> Chunks:
        """The chunks, with how it went counted at their end."""
        outcome = "failed"
        try:
            for chunk in chunks:
                self.metrics.audio.inc(chunk.audio.shape[0] / OUTPUT_RATE_HZ)
                yield chunk
            outcome = "done"
        except GeneratorExit:
            outcome = "cancelled"
            raise
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
            self.metrics.requests.labels(route, outcome).inc()


def options(asked: SpeechRequest | DialogueRequest) -> dict[str, Any]:
    """Those that were given."""
    values = {"seed": asked.seed, "temperature": asked.temperature, "topk": asked.topk}
    given = {name: value for name, value in values.items() if value is not None}
    return {"on_runaway": "cut", **given}
