"""What the routes share: the loaded model, who may ask, and how speech is answered."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
import soundfile
from fastapi.responses import StreamingResponse
from starlette.requests import HTTPConnection

from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.narration.lead import Lead
from fireredtts2.narration.prompter import speaker_name
from fireredtts2.script import SPEAKERS, Script, parse_script
from fireredtts2.serving.audio_stream import (
    MEDIA_TYPES,
    ChunkReader,
    Marks,
    SoundResponse,
    as_events,
    encoded,
)
from fireredtts2.serving.config import OPENAI_VOICES, ServingConfig
from fireredtts2.serving.errors import ApiError, as_api_error, shutting_down
from fireredtts2.serving.keys import CLIENT, Client, KeyRing
from fireredtts2.serving.metrics import Metrics
from fireredtts2.serving.rate_limit import RateLimiter
from fireredtts2.serving.reserve import Reserve
from fireredtts2.serving.schemas import DialogueRequest, SpeechRequest
from fireredtts2.serving.sessions import Session, Sessions
from fireredtts2.serving.turn_list import ONE_VOICE, PAUSE, read_turns, with_voices
from fireredtts2.serving.upload_decoder import DecodeError, UploadDecoder
from fireredtts2.speech import AudioChunk
from fireredtts2.voices import Voice, VoiceLibrary
from fireredtts2.watermark import Marker

#: Below the folder of voices: a folder for each key, named by its hash.
KEYS_FOLDER = "keys"
ADAPTING_AGAIN_S = 20
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
        self.keys = KeyRing(config.api_keys, config.keys_path, config.limits.quota)
        self.rates = RateLimiter()
        self.sessions = Sessions(config.sessions)
        self.decoder = UploadDecoder(config.limits.decode_timeout_s)
        self.is_draining = False
        self.num_under_way = 0
        self._adapting = threading.Lock()
        # One thread for everyone who may be served or wait.
        self._limiter = anyio.CapacityLimiter(config.num_slots + config.max_waiting + 1)

    # --- Who may ask ----------------------------------------------------------------------------

    def client(self, connection: HTTPConnection) -> Client:
        """Who asks.

        Raises:
            ApiError: a key is needed, and none of them was sent.
        """
        client = self.keys.client(connection)
        if client is None:
            raise ApiError(401, "no valid API key: send it as `Authorization: Bearer KEY`",
                           "authentication_error", "invalid_api_key")  # fmt: skip
        return client

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts a request while it lasts: a server that stops lets it end."""
        self.num_under_way += 1
        try:
            yield
        finally:
            self.num_under_way -= 1

    def close(self) -> None:
        """Ends what runs beside the server."""
        self.is_draining = True
        self.decoder.close()

    # --- Voices ---------------------------------------------------------------------------------

    @property
    def voices(self) -> VoiceLibrary:
        """The voices that the present client may use.

        With a key: the model's and its own. Without: those that everybody shares.
        """
        shared, client = self.tts.voices, CLIENT.get()
        if not client.has_key:
            return shared
        own = shared.folders[0] / KEYS_FOLDER / client.id
        return VoiceLibrary([own, *shared.folders[1:]], shared.codec_id)

    def voice(self, name: str) -> Voice:
        """A voice by its name.

        Raises:
            ApiError: there is no such voice.
        """
        return self.voices.get(self.named(name))

    def make_voice(self, name: str, clip: bytes, text: str, adapt: bool = False) -> Voice:
        """A voice of a clip that was sent, decoded in a process of its own; call it in a thread.

        Raises:
            ValueError: as `FireRedTTS2.make_voice`.
            ApiError: too many uploads, another voice is being adapted to, or the server is told to
                end before this one was.
        """
        self.rates.take(CLIENT.get(), "uploads_per_hour")
        try:
            samples = self.decoder.decode(clip)
        except DecodeError:
            self.metrics.decode_failures.inc()
            raise
        wav = io.BytesIO()
        soundfile.write(wav, samples, INPUT_RATE_HZ, format="WAV", subtype="FLOAT")
        with self._one_adaptation() if adapt else contextlib.nullcontext():
            return self.tts.make_voice(name, wav.getvalue(), text, adapt, (), self._go_on_adapting)

    def _go_on_adapting(self, step: int, num_steps: int) -> None:
        """Called after each update: a server that ends waits for those who listen, not for this."""
        if self.is_draining:
            raise shutting_down()

    @contextlib.contextmanager
    def _one_adaptation(self) -> Iterator[None]:
        """One at a time: it takes the processor from those who speak, for minutes at worst."""
        if not self._adapting.acquire(blocking=False):
            message = "another voice is being adapted to; ask again when it is done"
            raise ApiError(429, message, "rate_limit_error", "adapting", "adapt", ADAPTING_AGAIN_S)
        try:
            yield
        finally:
            self._adapting.release()

    # --- Sessions -------------------------------------------------------------------------------

    def new_session(self, voices: Mapping[str, str], values: Mapping[str, Any]) -> Session:
        """A conversation of the present client's; call it in a thread.

        Args:
            voices: names by speaker.
            values: options of how is spoken.
        """
        named = {speaker_name(speaker): self.named(name) for speaker, name in voices.items()}
        loaded = {speaker: self.voices.get(name) for speaker, name in named.items()}
        exchange = self.tts.exchange(loaded, on_runaway="cut", **values)
        return self.sessions.add(CLIENT.get().id, exchange, named)

    def speaker_in(self, session: Session, speaker: str | None, voice: str | None) -> str:
        """Who speaks: the speaker that is named, or the one with this voice, else the first.

        A voice that nobody has yet is given to the next speaker. Call it in a thread.
        """
        if voice is None or (speaker is not None and speaker in session.voices):
            return speaker or SPEAKERS[0]
        name = self.named(voice)
        found = speaker or session.speaker_of(name)
        if found is None or found not in session.voices:
            found = found or session.next_speaker()
            prompt = self.tts.studio.prompter.from_voice(found, self.voices.get(name))
            session.exchange.add_voice(prompt)
            session.voices[prompt.speaker] = name
            return prompt.speaker
        return found

    # --- Speech ---------------------------------------------------------------------------------

    def speech(self, asked: SpeechRequest) -> Callable[[], Chunks]:
        """Starts one text in one voice; call it in a thread, a clip may have to be encoded."""
        self.check_length(asked.input)
        parts: Script | None = None
        if PAUSE.search(asked.input):
            parts = read_turns([{"speaker": ONE_VOICE, "text": asked.input}])
        if asked.session_id is not None and (parts is not None or asked.ref_audio is not None):
            raise ApiError(400, "in a session there are no pauses and no ref_audio: upload the "
                           "clip as a voice with POST /v1/voices", param="session_id")  # fmt: skip

        def start() -> Chunks:
            if asked.session_id is not None:
                session = self.sessions.get(CLIENT.get().id, asked.session_id)
                speaker = self.speaker_in(session, asked.speaker, asked.voice)
                return session.exchange.stream(asked.input, speaker, self.lead(asked.speed))
            voice = self._voice(asked)
            if parts is not None:
                cast = {} if voice is None else {ONE_VOICE: voice}
                return self.tts.stream_dialogue(parts.turns, cast, **self.options(asked))
            return self.tts.stream_say(asked.input, voice, **self.options(asked))

        return start

    def dialogue(self, asked: DialogueRequest) -> tuple[Script, Callable[[], Chunks]]:
        """A conversation's script, and what starts it."""
        if (asked.turns is None) == (asked.script is None):
            raise ApiError(400, "give either `turns` or `script`", param="turns")
        texts = [turn.text for turn in asked.turns or []]
        self.check_length(asked.script or "".join(texts))
        script = (
            parse_script(asked.script)
            if asked.script is not None
            else read_turns([turn.model_dump() for turn in asked.turns or []])
        )
        named = with_voices(script, asked.voices)
        voices = {speaker: self.voice(name) for speaker, name in named.items()}
        holds = asked.hold_turns or asked.returns is not None
        return script, lambda: self.tts.stream_dialogue(
            script.turns, voices, hold_turns=holds, **self.options(asked)
        )

    def options(self, asked: SpeechRequest | DialogueRequest) -> dict[str, Any]:
        """Those that were given, the adapter that `model` names, and how fast it will be heard."""
        adapter, lead = self.adapter_of(asked.model), self.lead(asked.speed)
        return {"on_runaway": "cut", "adapter": adapter, "lead": lead, **asked.given()}

    def lead(self, speed: float) -> Lead:
        """Of who hears a new response at this speed; none to spare once the server is to end."""
        return Lead(speed, is_hurried=lambda: self.is_draining)

    def adapter_of(self, model: str) -> str:
        """The adapter that a request's `model` means; "" where it means the model itself.

        Clients send all kinds of names, which mean the model that is loaded.
        """
        return model if model in self.tts.studio.adapters else ""

    def counted(
        self, route: str, start: Callable[[], Chunks], reserve: Reserve | None = None
    ) -> Callable[[], Chunks]:
        """The same start, with how it went counted, and gaps for whose `reserve` it is."""
        return lambda: self._counted(route, start(), reserve)

    def marker(self) -> Marker | None:
        """A new response's watermark; None where there are none."""
        key = self.config.watermark
        return None if key is None else Marker(key)

    @property
    def limiter(self) -> anyio.CapacityLimiter:
        """Of threads that wait for speech."""
        return self._limiter

    async def answer(
        self,
        route: str,
        start: Callable[[], Chunks],
        asked: SpeechRequest | DialogueRequest,
        marks: Marks = list,
    ) -> StreamingResponse:
        """A response that begins with the first audio; what fails before has a status of its own.

        Raises:
            ApiError: nothing was spoken.
        """
        began = time.perf_counter()
        if self.is_draining:
            raise shutting_down()
        try:
            chunks = await anyio.to_thread.run_sync(start, limiter=self._limiter)
            counted = self._counted(route, chunks, Reserve(asked.speed))
            reader = ChunkReader(counted, self._limiter)
            try:
                first = await reader.next()
            except BaseException:
                await reader.close()
                raise
        except Exception as error:
            self.metrics.requests.labels(route, "refused").inc()
            raise as_api_error(error) from error
        self.metrics.first_audio.observe(time.perf_counter() - began)
        pieces = encoded(first, reader, asked.response_format, asked.speed, self.marker())
        if asked.stream_format == "sse":
            return SoundResponse(as_events(pieces, marks), "text/event-stream")
        # NOTE: an error from here on breaks the transfer off: a part must not pass for the whole.
        return SoundResponse(pieces, MEDIA_TYPES[asked.response_format])

    def named(self, name: str) -> str:
        """A voice's own name; OpenAI's names stand for some of the embedded model's.

        Raises:
            ApiError: there is no such voice.
        """
        known = self.voices.list()
        found = name if name in known else OPENAI_VOICES.get(name, name)
        if found not in known:
            shown = ", ".join(known) or "none"
            raise ApiError(400, f"no voice {name[:80]!r}; known voices: {shown}",
                           code="voice_not_found", param="voice")  # fmt: skip
        return found

    def _voice(self, asked: SpeechRequest) -> Voice | None:
        if asked.ref_audio is None:
            return None if asked.voice is None else self.voice(asked.voice)
        if not asked.ref_text:
            raise ApiError(400, "ref_audio without ref_text: say what is said in the clip",
                           param="ref_text")  # fmt: skip
        return self.make_voice("reference", self.clip_of(asked.ref_audio), asked.ref_text)

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

    def check_length(self, text: str) -> None:
        """Raises ApiError for more text than may be sent, at once or lately."""
        if len(text) > self.config.max_input_characters:
            limit = self.config.max_input_characters
            raise ApiError(400, f"{len(text)} characters of text; at most {limit} are taken",
                           code="input_too_long", param="input")  # fmt: skip
        self.rates.take(CLIENT.get(), "characters_per_minute", len(text))

    def _timed(self, chunks: Chunks, reserve: Reserve) -> Chunks:
        """The chunks, with the gaps counted that whoever hears them as they come must hear."""
        while True:
            asked_at = time.perf_counter()
            chunk = next(chunks, None)
            if chunk is None:
                return
            came_at = time.perf_counter()
            late_s = reserve.came(came_at - asked_at, chunk.audio.shape[0] / OUTPUT_RATE_HZ)
            if late_s is not None:
                self.metrics.gaps.observe(late_s)
            yield chunk
            reserve.waited(time.perf_counter() - came_at)

    def _counted(self, route: str, chunks: Chunks, reserve: Reserve | None) -> Chunks:
        """The chunks, with how it went counted at their end."""
        outcome = "failed"
        try:
            # Of an answer that comes whole nobody hears a gap.
            for chunk in chunks if reserve is None else self._timed(chunks, reserve):
                self.metrics.audio.inc(chunk.audio.shape[0] / OUTPUT_RATE_HZ)
                yield chunk
            outcome = "done"
        except GeneratorExit:
            outcome = "cancelled"
            raise
        finally:
            _closed(chunks)
            self.metrics.requests.labels(route, outcome).inc()


def _closed(chunks: Chunks) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
