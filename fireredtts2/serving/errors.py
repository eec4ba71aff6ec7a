"""Errors as OpenAI's API shapes them, so that its clients raise what their users know."""

from __future__ import annotations

import errno
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from fireredtts2.engine.scheduler import QueueFullError
from fireredtts2.narration.errors import SpeechError
from fireredtts2.narration.exchange import BusyError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
MAX_SHOWN_CHARACTERS = 500
_FULL = (507, "the server's disk is full; nothing was kept")
_CLOSED = (500, "the server may not write to its folder; nothing was kept")
#: What is said when a file cannot be written. Paths are told to the log alone.
STORAGE_ERRORS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
}


class ErrorBody(BaseModel):
    """What is told of an error."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """Every error's answer."""

    error: ErrorBody


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: of HTTP.
        message: what was given and what is allowed.
        kind: OpenAI's `type`.
        code: OpenAI's `code`.
        param: which field.
        retry_after_s: when to ask again, where that is known.
    """

    def __init__(
        self,
        status: int,
        message: str,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message = status, message
        self.kind, self.code, self.param = kind, code, param
        self.retry_after_s = retry_after_s


def shutting_down() -> ApiError:
    """What is answered where no more is begun."""
    return ApiError(503, "the server is shutting down", "server_error", "shutting_down")


def as_api_error(error: Exception) -> ApiError:
    """The answer to an error that came up on the way."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFullError):
        return ApiError(429, str(error), "rate_limit_error", "queue_full")
    if isinstance(error, BusyError):
        return ApiError(409, str(error), code="session_busy", param="session_id")
    if isinstance(error, SpeechError):
        return ApiError(500, str(error), "server_error", "speech_failed")
    if isinstance(error, ValueError):
        return ApiError(400, str(error))
    if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
        logger.error("what was sent could not be kept", exc_info=error)
        status, message = STORAGE_ERRORS[error.errno]
        return ApiError(status, message, "server_error", "storage_failed")
    logger.error("a request failed", exc_info=error)
    return ApiError(500, "the server met an error of its own", "server_error")


def body_of(error: ApiError) -> dict[str, str | None]:
    """What is told of an error."""
    return {
        "message": error.message[:MAX_SHOWN_CHARACTERS],
        "type": error.kind,
        "param": error.param,
        "code": error.code,
    }


def response(error: ApiError) -> JSONResponse:
    """An error as an answer."""
    wait_s = error.retry_after_s or RETRY_AFTER_S
    headers = {"Retry-After": str(wait_s)} if error.status in (429, 503) else None
    if error.status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    return JSONResponse({"error": body_of(error)}, error.status, headers)


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

    for known in (ApiError, ValueError, QueueFullError, SpeechError, BusyError):
        app.add_exception_handler(known, other)


def _documented(message: str, kind: str, code: str | None, what: str) -> dict[str, Any]:
    example = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    content = {"application/json": {"example": example}}
    return {"model": ErrorAnswer, "description": what, "content": content}


#: What routes below /v1 may answer with beside their own, for the documentation.
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: _documented("speed: Input should be less than or equal to 4", "invalid_request_error",
                     None, "something in it is not right; the message says what is allowed"),
    401: _documented("no valid API key: send it as `Authorization: Bearer KEY`",
                     "authentication_error", "invalid_api_key", "no valid key"),
    413: _documented("the body is too large; at most 32000000 bytes are taken",
                     "invalid_request_error", None, "too large"),
    429: _documented("too much was asked: 60 requests per minute are allowed; ask again in 3 s",
                     "rate_limit_error", "rate_limit_exceeded", "too much; see Retry-After"),
    500: _documented("the server met an error of its own", "server_error", None, "our error"),
    503: _documented("the server is shutting down", "server_error", "shutting_down", "it stops"),
}  # fmt: skip
