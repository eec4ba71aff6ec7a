"""A worker behind RunPod's load balancer: the whole API, and a /ping that tells when it is ready.

    python -m fireredtts2.serving.runpod.load_balancer

PORT is where the API listens, PORT_HEALTH where the load balancer asks; the same if not set.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Mapping

import uvicorn
from fastapi import FastAPI

from fireredtts2.serving.address import DRAIN_S, Address, address, port_of
from fireredtts2.serving.warming import WarmingApp

HEALTH_PORT = "PORT_HEALTH"


def load_app() -> FastAPI:
    """The API with the settings of the environment."""
    # NOTE: imported here, in the thread that loads: torch takes longer than all the rest, and the
    # load balancer wants to hear early that the worker is there.
    from fireredtts2.serving.app import create_app
    from fireredtts2.serving.environment import serving_config

    return create_app(serving_config())


def main(load: Callable[[], FastAPI] = load_app) -> int:
    """Serves until told to end; 1 when the model could not be loaded."""
    logging.basicConfig(level=logging.INFO)
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    app = WarmingApp(load, fail)
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=DRAIN_S)
    )
    listeners = [listener(at) for at in addresses(os.environ)]
    try:
        server.run(sockets=listeners)
    finally:
        for one in listeners:
            one.close()
    return 1 if failures else 0


def addresses(environ: Mapping[str, str]) -> list[Address]:
    """Where to listen: for requests, and for the load balancer where that is another port."""
    at = address(environ, default_host="0.0.0.0")
    named = environ.get(HEALTH_PORT, "").strip()
    health = port_of(HEALTH_PORT, named) if named else at.port
    return [at] if health == at.port else [at, Address(at.host, health)]


def listener(at: Address) -> socket.socket:
    """A socket that listens."""
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((at.host, at.port))
    made.listen(2_048)
    return made


if __name__ == "__main__":
    sys.exit(main())
