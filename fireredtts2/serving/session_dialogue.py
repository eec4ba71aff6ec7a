"""A dialogue that goes on with a session's conversation, and stays in it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

import torch

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.narration.exchange import BusyError, Exchange
from fireredtts2.narration.lead import Lead
from fireredtts2.script import Script, ScriptTurn, parse_script
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.keys import CLIENT
from fireredtts2.serving.schemas import DialogueRequest
from fireredtts2.serving.server import Server
from fireredtts2.serving.sessions import Session
from fireredtts2.serving.turn_list import cast_of, read_turns, recast, with_voices
from fireredtts2.speech import AudioChunk, Turn

#: How long a turn waits for who came in between two of them through an open WebSocket.
MAX_WAIT_S, LOOK_S = 60.0, 0.02
Chunks = Iterator[AudioChunk]
Stream = Generator[AudioChunk, None, None]


def session_dialogue(
    server: Server, asked: DialogueRequest
) -> tuple[Script, Callable[[], Iterator[AudioChunk]]]:
    """The script as the session's speakers have it, and what starts it; start it in a thread.

    Raises:
        ApiError: the session is gone or none, or the request is not right.
        BusyError: somebody else's dialogue is spoken in it.
        ValueError: a script or voice that is not right.
    """
    if asked.hold_turns:
        raise ApiError(400, "in a session turns are heard while they are made: leave hold_turns "
                       "out", param="hold_turns")  # fmt: skip
    if (asked.turns is None) == (asked.script is None):
        raise ApiError(400, "give either `turns` or `script`", param="turns")
    server.check_length(asked.script or "".join(turn.text for turn in asked.turns or []))
    session = server.sessions.get(CLIENT.get().id, asked.session_id or "")
    written = (
        parse_script(asked.script)
        if asked.script is not None
        else read_turns([turn.model_dump() for turn in asked.turns or []])
    )
    given = with_voices(written, asked.voices)
    wanted = {speaker: server.named(name) for speaker, name in given.items()}
    cast = cast_of(written, session.cast, session.voices, wanted)
    script = recast(written, cast)
    voices = {cast[speaker]: name for speaker, name in wanted.items() if speaker in cast}

    def start() -> Chunks:
        session.cast.update({name: speaker for speaker, name in script.names.items()})
        for speaker, name in voices.items():
            server.speaker_in(session, speaker, name)
        lead = server.lead(asked.speed)
        # NOTE: all turns are looked through here, before the first is spoken.
        streams = [session.exchange.stream(turn.text, turn.speaker, lead) for turn in script]
        return _spoken(server, session, script.turns, streams, lead)

    return script, start


def _spoken(
    server: Server,
    session: Session,
    turns: Sequence[ScriptTurn],
    streams: Sequence[Stream],
    lead: Lead,
) -> Chunks:
    with server.sessions.held(session):
        num_samples = 0
        for index, (turn, stream) in enumerate(zip(turns, streams, strict=True)):
            if turn.pause_s:
                audio = torch.zeros(round(turn.pause_s * OUTPUT_RATE_HZ))
                num_samples += audio.shape[0]
                lead.gave(audio.shape[0])
                yield AudioChunk(audio, index, turn.speaker)
            start_s = num_samples / OUTPUT_RATE_HZ
            spoken = _turn(session.exchange, turn, stream, lead, may_wait=index > 0)
            with closing(spoken) as chunks:
                for chunk in chunks:
                    num_samples += chunk.audio.shape[0]
                    told = None
                    if chunk.is_turn_end:
                        told = _told(turn, start_s, num_samples / OUTPUT_RATE_HZ)
                    yield dataclasses.replace(chunk, turn_index=index, turn=told)


def _turn(
    exchange: Exchange, turn: ScriptTurn, stream: Stream, lead: Lead, may_wait: bool
) -> Stream:
    """One turn's chunks, once nobody else speaks.

    Raises:
        BusyError: somebody does, and it may not wait, or has waited for long.
    """
    ends_at = time.monotonic() + (MAX_WAIT_S if may_wait else 0.0)
    while True:
        try:
            first = next(stream)
            break
        except BusyError:
            if time.monotonic() >= ends_at:
                raise
        time.sleep(LOOK_S)
        stream = exchange.stream(turn.text, turn.speaker, lead)  # what was refused cannot go on
    with closing(stream):
        yield first
        yield from stream


def _told(turn: ScriptTurn, start_s: float, end_s: float) -> Turn:
    """What is told of a turn; its codes stay in the session, and its audio has been heard."""
    return Turn(turn.speaker, turn.text, start_s, end_s, torch.zeros(0, 0), torch.zeros(0))
