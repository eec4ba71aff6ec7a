"""For operators and load balancers."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request

from fireredtts2.serving.server import Server


def system_routes(server: Server) -> APIRouter:
    """For operators and load balancers; without a key."""
    router = APIRouter(tags=["system"])
    began = time.time()

    @router.get("/health")
    async def health() -> dict[str, object]:
        """Whether the process lives."""
        return {"status": "ok", "uptime_s": round(time.time() - began, 1)}

    @router.get("/ping")
    async def ping() -> Response:
        """Whether more requests are welcome: 200, or 503 with a full queue or while stopping."""
        scheduler = server.engine.scheduler
        is_ready = not server.is_draining and scheduler.num_waiting < scheduler.max_waiting
        return Response(status_code=200 if is_ready else 503)

    @router.get("/metrics")
    async def metrics(_request: Request) -> Response:
        """Figures in Prometheus' form."""
        return Response(generate_latest(server.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
