"""The studio's side of the HTTP API."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from fireredtts2.ui.errors import StudioError

PIECE_BYTES = 3_840  # a frame of 80 ms: 24 kHz, 16 bits
TIMEOUT = httpx.Timeout(10.0, read=120.0)  # the first sound may wait behind other listeners
SLOW_TIMEOUT = httpx.Timeout(10.0, read=60.0, write=60.0)
ADAPTING_TIMEOUT = httpx.Timeout(10.0, read=600.0, write=60.0)


class ApiClient:
    """What the studio asks of a server, for one user.

    Args:
        address: of the server, without `/v1`.
        key: the user's; "" without one.
        user_address: where the user's browser is, so that the server counts each user for himself.
        transport: how requests are sent; over the network by default.
    """

    def __init__(
        self,
        address: str,
        key: str = "",
        user_address: str = "",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"user-agent": "fireredtts2-studio"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        if user_address:
            headers["x-forwarded-for"] = user_address
        self._http = httpx.Client(
            base_url=f"{address.rstrip('/')}/v1",
            headers=headers,
            timeout=TIMEOUT,
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()

    def may_ask(self) -> bool:
        """Whether the server takes this key.

        Raises:
            StudioError: the server does not answer.
        """
        try:
            self._asked("GET", "/models")
        except StudioError as error:
            if error.status == 401:
                return False
            raise
        return True

    # --- Voices ---------------------------------------------------------------------------------

    def voices(self) -> list[dict[str, Any]]:
        """All voices: `name`, `text`, `seconds`, `removable`; damaged ones have `error`."""
        return list(self._asked("GET", "/voices").json()["data"])

    def voice_audio(self, name: str) -> bytes:
        """How a voice sounds: a WAV file."""
        return self._asked("GET", f"/voices/{_quoted(name)}/audio").content

    def add_voice(
        self, name: str, text: str, clip: Path, language: str = "en", adapt: bool = False
    ) -> dict[str, Any]:
        """Makes a voice of a clip in which `text` is said, and may adapt the decoder to it."""
        form = {"name": name, "text": text, "language": language, "adapt": str(adapt).lower()}
        with clip.open("rb") as file:
            return dict(
                self._asked(
                    "POST",
                    "/voices",
                    data=form,
                    files={"file": (clip.name, file)},
                    timeout=ADAPTING_TIMEOUT if adapt else SLOW_TIMEOUT,
                ).json()
            )

    def delete_voice(self, name: str) -> None:
        """Deletes a voice that was added."""
        self._asked("DELETE", f"/voices/{_quoted(name)}")

    # --- Speech ---------------------------------------------------------------------------------

    def open_session(self, voices: Mapping[str, str], seed: int | None) -> str:
        """A conversation whose voices and turns the server remembers: its id."""
        asked = {"voices": dict(voices), "seed": seed}
        return str(self._asked("POST", "/sessions", json=asked).json()["id"])

    def close_session(self, id: str) -> None:
        """Ends a conversation; one that is gone already is no error."""
        with contextlib.suppress(StudioError):
            self._asked("DELETE", f"/sessions/{_quoted(id)}")

    @contextlib.contextmanager
    def speech(self, asked: Mapping[str, Any]) -> Generator[Iterator[bytes], None, None]:
        """Speech as it is made: samples as 16 bits, little-endian, at 24 kHz.

        Args:
            asked: fields of `POST /v1/audio/speech`.

        Raises:
            StudioError: it was refused, or broke off; then what came before is not whole.
        """
        body = {"response_format": "pcm", **asked}
        with (
            _said_plainly(),
            self._http.stream("POST", "/audio/speech", json=body) as response,
        ):
            if response.is_error:
                response.read()
                raise _refusal(response)
            yield _said_plainly_each(response.iter_bytes(PIECE_BYTES))

    def _asked(self, method: str, path: str, **options: Any) -> httpx.Response:
        with _said_plainly():
            response = self._http.request(method, path, **options)
        if response.is_error:
            raise _refusal(response)
        return response


@contextlib.contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except httpx.RemoteProtocolError:
        raise StudioError("the server broke the speech off") from None
    except httpx.TimeoutException:
        raise StudioError("the server took too long to answer") from None
    except httpx.HTTPError as error:
        raise StudioError(f"the server cannot be reached ({type(error).__name__})") from None


def _said_plainly_each(pieces: Iterator[bytes]) -> Iterator[bytes]:
    with _said_plainly():
        yield from pieces


def _refusal(response: httpx.Response) -> StudioError:
    """What the server said, in the words of its error."""
    try:
        told = response.json()["error"]
        message, code = str(told["message"]), str(told.get("code") or "")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        message, code = f"the server answered {response.status_code}", ""
    retry_after_s = _seconds(response.headers.get("retry-after"))
    return StudioError(message, response.status_code, code, retry_after_s)


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else 1.0


def _quoted(name: str) -> str:
    return quote(name, safe="")
