"""A worker that takes jobs from RunPod's queue.

    python -m fireredtts2.serving.runpod.queue_worker

A job's input is the body of `POST /v1/audio/speech` or `POST /v1/audio/dialogue`. Its output are
pieces of a file as they are made: `{"index": 0, "format": "mp3", "audio": "<base64>"}`.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.types import ASGIApp

from fireredtts2.serving import errors
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.environment import serving_config
from fireredtts2.serving.errors import ApiError, as_api_error
from fireredtts2.serving.jobs.config import job_variables
from fireredtts2.serving.runpod.exchange import Exchange
from fireredtts2.serving.schemas import SpeechRequest

SPEECH, DIALOGUE = "/v1/audio/speech", "/v1/audio/dialogue"
DEFAULT_FORMAT = SpeechRequest.model_fields["response_format"].default


class QueueWorker:
    """Answers jobs with the API's own routes.

    Args:
        app: the API.
        num_slots: jobs at once.
    """

    def __init__(self, app: ASGIApp, num_slots: int) -> None:
        self.app, self.num_slots = app, num_slots

    async def handle(self, job: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Pieces of sound, or one error, which RunPod makes the job's end."""
        try:
            path, asked = request_of(job.get("input"))
            exchange = Exchange(self.app, path, json.dumps(asked).encode())
        except (ApiError, ValueError) as error:
            yield failure(error)
            return
        try:
            if await exchange.start() != 200:
                yield {"error": b"".join([piece async for piece in exchange.pieces()]).decode()}
                return
            index, format = 0, asked.get("response_format", DEFAULT_FORMAT)
            async for piece in exchange.pieces():
                yield {"index": index, "format": format, "audio": base64.b64encode(piece).decode()}
                index += 1
        except Exception as error:  # in mid-stream; a job that is cancelled is no Exception
            yield failure(error)
        finally:
            await exchange.close()

    def concurrency(self, _current: int) -> int:
        """How many jobs to take at once: one for each slot."""
        return self.num_slots

    def start(self) -> None:
        """Takes jobs until the process is told to end."""
        import runpod

        runpod.serverless.start(
            {
                "handler": self.handle,
                "concurrency_modifier": self.concurrency,
                "return_aggregate_stream": True,
            }
        )


def request_of(given: object) -> tuple[str, dict[str, Any]]:
    """The route that an input is for, and its body.

    Raises:
        ApiError: it is for none, or for both.
    """
    if not isinstance(given, dict):
        raise ApiError(400, f"input is of type {type(given).__name__}; it must be an object",
                       param="input")  # fmt: skip
    is_speech = "input" in given
    if is_speech == ("turns" in given or "script" in given):
        raise ApiError(400, "the job's input needs either `input` (a text, for speech) or `turns` "
                       "or `script` (for dialogue)", param="input")  # fmt: skip
    if given.get("stream_format", "audio") != "audio":
        raise ApiError(400, f"stream_format {given['stream_format']!r}: a job's output is always "
                       "pieces of audio; leave it out", param="stream_format")  # fmt: skip
    return (SPEECH if is_speech else DIALOGUE), given


def failure(error: Exception) -> dict[str, Any]:
    """An error as the API shapes it, as text: RunPod keeps an error's text only."""
    return {"error": bytes(errors.response(as_api_error(error)).body).decode()}


def worker_config(environ: Mapping[str, str] = os.environ) -> ServingConfig:
    """The settings of the environment, without our keys: RunPod asks for its own.

    Raises:
        ValueError: as `serving_config`, or jobs of ours are asked for.
    """
    for name in job_variables().values():
        if environ.get(name, "").strip():
            raise ValueError(f"{name} is set: a worker of RunPod's queue has no /v1/jobs, for it "
                             "answers speech and dialogue only; unset it, or deploy "
                             "fireredtts2.serving.runpod.load_balancer")  # fmt: skip
    return serving_config(environ, api_keys=())


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    config = worker_config()
    QueueWorker(create_app(config), config.num_slots).start()


if __name__ == "__main__":
    main()
