"""Runs the application until it is told to end, and then lets those who listen hear the end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from fireredtts2.serving.address import DRAIN_S
from fireredtts2.serving.connection import guarded_protocol, guarded_socket_protocol
from fireredtts2.serving.secrets_filter import hide
from fireredtts2.serving.server import Server

logger = logging.getLogger(__name__)
CLOSING_S = 2
#: Of one message; no protocol here has larger ones.
MAX_WEBSOCKET_BYTES = 32_000_000
#: As shells report the end by a signal.
SIGNALLED = 128


class DrainingServer(uvicorn.Server):
    """uvicorn, but told to end it answers on: /ping with 503, and new requests too.

    A load balancer learns so that no more may come, in place of refused connections. When the last
    request has ended, or the time is up, the process ends with status 0; told twice, at once.
    """

    def __init__(self, config: uvicorn.Config, server: Server, drain_s: float) -> None:
        super().__init__(config)
        self._server, self._drain_s = server, drain_s
        self._ends_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._ends_at is not None:
            # NOTE: the signal's own action does nothing to a container's first process.
            os._exit(SIGNALLED + sig)
        self._server.is_draining = True
        self._ends_at = time.monotonic() + self._drain_s
        name = signal.Signals(sig).name
        logger.warning("%s: %d requests are ended first", name, self._server.num_under_way)

    async def on_tick(self, counter: int) -> bool:
        if self._ends_at is not None and not self.should_exit:
            is_done = self._server.num_under_way == 0 or time.monotonic() > self._ends_at
            self.should_exit = is_done
        return await super().on_tick(counter)


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, which is taken before a model is loaded for nothing.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except OSError as error:
        made.close()
        hint = {
            errno.EADDRINUSE: "the port is taken by another program; choose one with --port",
            errno.EACCES: "this port is for administrators; choose one above 1023 with --port",
        }.get(error.errno or 0, error.strerror or str(error))
        raise OSError(error.errno, hint, f"{host}:{port}") from None
    except BaseException:
        made.close()
        raise
    return made


def serve(
    load: Callable[[], FastAPI],
    host: str,
    port: int,
    forwarded_allow_ips: str = "127.0.0.1",
    drain_s: float = DRAIN_S,
    mount: Callable[[FastAPI, str], object] | None = None,
) -> None:
    """Serves until told to end.

    Args:
        load: makes the application, of `create_app`; called once the port is ours.
        host: the address to listen on.
        port: the port to listen on.
        forwarded_allow_ips: proxies whose word on a client's address is taken, with commas.
        drain_s: how long those who listen may hear on.
        mount: adds a part that asks the server itself, whose address it is given.

    Raises:
        OSError: the port is taken.
    """
    with bound(host, port) as at:
        app = load()
        if mount is not None:
            mount(app, own_address(at))
        config = configured(app, forwarded_allow_ips)
        asyncio.run(DrainingServer(config, app.state.server, drain_s).serve([at]))


def own_address(at: socket.socket) -> str:
    """Where this machine reaches a socket: http://127.0.0.1:7860."""
    host, port = at.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def configured(app: FastAPI, forwarded_allow_ips: str = "127.0.0.1") -> uvicorn.Config:
    """uvicorn's settings for an application, with secrets kept out of its logs."""
    server: Server = app.state.server
    limits = server.config.limits
    config = uvicorn.Config(
        app,
        log_level="warning",
        http=guarded_protocol(limits),
        ws=guarded_socket_protocol(limits) or "none",
        limit_concurrency=limits.max_connections,
        forwarded_allow_ips=forwarded_allow_ips,
        timeout_graceful_shutdown=CLOSING_S,
        server_header=False,
        ws_max_size=MAX_WEBSOCKET_BYTES,
    )
    watermark = server.config.watermark
    hide([*server.keys.secrets, *([watermark.secret] if watermark else [])])
    return config
