"""Connections that stand still are dropped: the API's own protocols for uvicorn."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from fireredtts2.serving.limits import Limits


class WriteClock:
    """Drops a listener who takes nothing of what waits for him, before a protocol of uvicorn's.

    What waits is bounded, and a player that stopped must not keep a slot for ever.
    """

    limits = Limits()
    _write_clock: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        if self._write_clock is None:
            loop = asyncio.get_running_loop()
            self._write_clock = loop.call_later(self.limits.send_timeout_s, self._drop)

    def resume_writing(self) -> None:
        self._stop_write_clock()
        super().resume_writing()  # type: ignore[misc]

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_write_clock()
        super().connection_lost(exc)  # type: ignore[misc]

    def _drop(self) -> None:
        # NOTE: not `close`, which would wait for the listener to take what he does not take.
        self.transport.abort()  # type: ignore[attr-defined]

    def _stop_write_clock(self) -> None:
        if self._write_clock is not None:
            self._write_clock.cancel()
            self._write_clock = None


class GuardedProtocol(WriteClock, H11Protocol):
    """uvicorn's protocol with two clocks.

    One runs from the connection's opening, and from the first byte of each later request, until a
    request's head is whole. The other is `WriteClock`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_clock()

    def data_received(self, data: bytes) -> None:
        is_between = self.cycle is None or self.cycle.response_complete
        if self._head_clock is None and is_between:
            self._start_head_clock()
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:  # a request's head is whole
            self._stop_head_clock()

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._stop_head_clock()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_clock()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        # A body may turn out malformed when its request is being answered already: there is no
        # answer to be sent any more then, neither this one nor the application's.
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:
            self._drop()

    def _start_head_clock(self) -> None:
        self._head_clock = self.loop.call_later(self.limits.header_timeout_s, self._drop)

    def _stop_head_clock(self) -> None:
        if self._head_clock is not None:
            self._head_clock.cancel()
            self._head_clock = None


def guarded_protocol(limits: Limits) -> type[GuardedProtocol]:
    """The protocol with a server's own limits."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits})


def guarded_socket_protocol(limits: Limits) -> Any:
    """uvicorn's WebSocket protocol with a `WriteClock`; None where no library for it is there."""
    if AutoWebSocketsProtocol is None:
        return None
    # NOTE: uvicorn's pings do not do: their end is a `close`, which waits for the listener.
    bases: Any = (WriteClock, AutoWebSocketsProtocol)
    return type("GuardedSocketProtocol", bases, {"limits": limits})
