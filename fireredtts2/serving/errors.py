"""Errors as OpenAI's API shapes them, so that its clients raise what their users know."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fireredtts2.engine.scheduler import QueueFullError
from fireredtts2.narration.errors import SpeechError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
MAX_SHOWN_CHARACTERS = 500


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        message: what was given and what is allowed.
        kind: OpenAI's `type`.
        code: OpenAI's `code`.
        param: which field.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.kind, self.code, self.param = kind, code, param


def as_api_error(error: Exception) -> ApiError:
    """The answer to an error that came up on the way."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFullError):
        return ApiError(429, str(error), "rate_limit_error", "queue_full")
    if isinstance(error, SpeechError):
        return ApiError(500, str(error), "server_error", "speech_failed")
    if isinstance(error, ValueError):
        return ApiError(400, str(error))
    logger.error("a request failed", exc_info=error)
    return ApiError(500, "the server met an error of its own", "server_error")


def response(error: ApiError) -> JSONResponse:
    body = {
        "message": error.message[:MAX_SHOWN_CHARACTERS],
        "type": error.kind,
        "param": error.param,
        "code": error.code,
    }
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status == 429 else None
    return JSONResponse({"error": body}, error.status, headers)


def install(app: FastAPI) -> None:
    """Makes every error of an app come out in this shape."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return response(ApiError(400, f"{where or 'body'}: {first['msg']}", param=where or None))

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        kind = "invalid_request_error" if error.status_code < 500 else "server_error"
        return response(ApiError(error.status_code, str(error.detail), kind))

    @app.exception_handler(Exception)
    async def other(_request: Request, error: Exception) -> JSONResponse:
        return response(as_api_error(error))

    for known in (ApiError, ValueError, QueueFullError, SpeechError):
        app.add_exception_handler(known, other)
