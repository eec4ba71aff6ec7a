"""The API as a Ray Serve application: replicas that come and go with what is asked of them.

    serve run fireredtts2.serving.ray.fleet:fleet max_replicas=4 num_gpus=1

Settings of the server come from the environment of the process that starts it
(`fireredtts2/serving/environment.py`), and are the same in all replicas.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, BackpressureConfig, RequestRouterConfig

from fireredtts2.serving.address import DRAIN_S
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.environment import serving_config
from fireredtts2.serving.errors import RETRY_AFTER_S
from fireredtts2.serving.jobs.config import JobsConfig, job_variables
from fireredtts2.serving.ray.router import StickyRouter

HEALTH_CHECK_PERIOD_S = 10.0
#: Between the last sound that a replica made and its end: a busy proxy may not have read all of it,
#: and what is unread is lost with the replica.
LINGER_S = 3.0


class Replica:
    """What is beside the application in a replica."""

    async def __del__(self) -> None:
        """Ray waits for this before it ends a replica that has nobody left to serve."""
        await asyncio.sleep(LINGER_S)


class FleetArguments(BaseModel):
    """How many replicas, and what each is given.

    Attributes:
        min_replicas: that always run.
        max_replicas: that may run.
        num_cpus: of a replica.
        num_gpus: of a replica.
        target_load: part of a replica's slots that is aimed at; more replicas are started above it.
        max_queued_requests: that wait in a proxy when all replicas are full; more are answered 429.
        downscale_delay_s: how long a replica must have been too many.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    num_cpus: float = Field(1.0, ge=0)
    num_gpus: float = Field(0.0, ge=0)
    target_load: float = Field(0.75, gt=0, le=1)
    max_queued_requests: int = Field(64, ge=0)
    downscale_delay_s: float = Field(300.0, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> FleetArguments:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} is more than max_replicas {self.max_replicas}"
            )
        return self


def fleet(given: dict[str, Any]) -> Application:
    """What `serve run` and `serve deploy` start.

    Args:
        given: fields of `FleetArguments`; from a command line all are text.
    """
    return fleet_of(serving_config(), FleetArguments.model_validate(given))


def fleet_of(
    config: ServingConfig,
    arguments: FleetArguments,
    load: Callable[[ServingConfig], FastAPI] = create_app,
) -> Application:
    """Replicas of one server.

    Args:
        config: of each.
        arguments: how many.
        load: makes the application in a replica.

    Raises:
        ValueError: several replicas would keep jobs, each its own.
    """
    _check_jobs(config.jobs, arguments.max_replicas)

    def application() -> FastAPI:
        return load(config)

    deployment = serve.deployment(
        serve.ingress(application)(Replica),
        name="fireredtts2",
        ray_actor_options={"num_cpus": arguments.num_cpus, "num_gpus": arguments.num_gpus},
        # A replica's own queue is the engine's, where an urgent request may overtake.
        max_ongoing_requests=config.num_slots + config.max_waiting,
        max_queued_requests=arguments.max_queued_requests,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S),
        autoscaling_config=AutoscalingConfig(
            min_replicas=arguments.min_replicas,
            max_replicas=arguments.max_replicas,
            target_ongoing_requests=arguments.target_load * config.num_slots,
            upscale_delay_s=5.0,
            downscale_delay_s=arguments.downscale_delay_s,
        ),
        request_router_config=RequestRouterConfig(request_router_class=StickyRouter),
        graceful_shutdown_timeout_s=DRAIN_S + LINGER_S,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
    )
    return deployment.bind()


def _check_jobs(jobs: JobsConfig, max_replicas: int) -> None:
    """One server works in a folder; a request may reach any replica."""
    if max_replicas > 1 and jobs.path is not None and jobs.redis_url is None:
        names = job_variables()
        raise ValueError(f"{names['path']}={jobs.path} with max_replicas {max_replicas}: replicas "
                         f"share jobs through Redis only; set {names['redis_url']}, unset "
                         f"{names['path']}, or have one replica")  # fmt: skip
