"""Where a server listens, and how long it goes on when it is told to end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fireredtts2.serving.variable import parsed

DEFAULT_PORT = 7860
#: How long those who listen may hear on when a server is stopped.
DRAIN_S = 30
HOST, PORT, PLATFORM_PORT = "FIREREDTTS2_HOST", "FIREREDTTS2_PORT", "PORT"


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT


def address(environ: Mapping[str, str] = os.environ, default_host: str = "127.0.0.1") -> Address:
    """Where to listen: our variables, or PORT, which platforms set.

    Raises:
        ValueError: the port is none.
    """
    name = PORT if environ.get(PORT, "").strip() else PLATFORM_PORT
    port = port_of(name, environ.get(name, "").strip() or str(DEFAULT_PORT))
    return Address(environ.get(HOST, "").strip() or default_host, port)


def port_of(name: str, text: str) -> int:
    """A variable's text as a port.

    Raises:
        ValueError: it is none.
    """
    port = parsed(name, text, int)
    if not 0 <= port <= 65_535:
        raise ValueError(f"{name}={port}: a port is 0 to 65535")
    return port
