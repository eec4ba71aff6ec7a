"""The studio's door, where the server has keys: nothing of it is seen without one."""

from __future__ import annotations

import hashlib
import html
import logging
import threading
import time
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

import anyio.to_thread
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fireredtts2.ui.api_client import ApiClient
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.words import WORDS, Words

logger = logging.getLogger(__name__)
COOKIE = "fireredtts2_studio"
MAX_FORM_BYTES = 4_096
COOKIE_S = 12 * 3_600
#: How long the server's word on a key is believed.
BELIEVED_S = 30.0
MAX_BELIEVED = 1_000
PAGE = Path(__file__).with_name("page") / "door.html"
ENTER = "enter"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)


class Door:
    """Middleware: below `path`, asks for a key where the server wants one.

    The key stays in a cookie of this browser that scripts cannot read, and goes to the server with
    everything that its user asks for.

    Args:
        app: what lies behind.
        path: of the studio.
        address: of the server.
    """

    def __init__(self, app: ASGIApp, path: str, address: str) -> None:
        self.app, self.path, self.address = app, path, address
        self._believed: OrderedDict[str, tuple[float, bool]] = OrderedDict()
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        is_inside = path == self.path or path.startswith(f"{self.path}/")
        if scope["type"] not in ("http", "websocket") or not is_inside:
            await self.app(scope, receive, send)
            return
        if path == f"{self.path}/{ENTER}" and scope["type"] == "http":
            await (await self._entered(Request(scope, receive)))(scope, receive, send)
            return
        key = key_of(HTTPConnection(scope))
        try:
            may = self._known(key)
            if may is None:
                may = await anyio.to_thread.run_sync(self._may, key)
        except StudioError as error:
            await PlainTextResponse(str(error), 503)(scope, receive, send)
            return
        if may:
            await self.app(scope, receive, send)
        else:
            await self._asked(scope)(scope, receive, send)

    def _known(self, key: str) -> bool | None:
        """What the server said of a key lately; None where it has to be asked."""
        with self._lock:
            found = self._believed.get(_name(key))
        is_fresh = found is not None and time.monotonic() - found[0] < BELIEVED_S
        return found[1] if found is not None and is_fresh else None

    def _may(self, key: str) -> bool:
        """Whether the server takes a key."""
        client = ApiClient(self.address, key)
        try:
            may = client.may_ask()
        finally:
            client.close()
        with self._lock:
            self._believed[_name(key)] = (time.monotonic(), may)
            while len(self._believed) > MAX_BELIEVED:
                self._believed.popitem(last=False)
        return may

    def _asked(self, scope: Scope) -> Response:
        is_page = scope["type"] == "http" and b"text/html" in dict(scope["headers"]).get(
            b"accept", b""
        )
        if not is_page:
            return PlainTextResponse("a key is needed", 401)
        return self._page(scope, is_wrong=False)

    async def _entered(self, request: Request) -> Response:
        if request.method != "POST":
            return RedirectResponse(f"{_root(request.scope)}{self.path}/", 303)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                return PlainTextResponse("too much", 413)
        key = parse_qs(body.decode("utf-8", "replace")).get("key", [""])[0].strip()
        is_plain = key.isascii() and key.isprintable()
        try:
            may = is_plain and await anyio.to_thread.run_sync(self._may, key)
        except StudioError as error:
            return PlainTextResponse(str(error), 503)
        if not may:
            return self._page(request.scope, is_wrong=True)
        answer = RedirectResponse(f"{_root(request.scope)}{self.path}/", 303)
        answer.set_cookie(
            COOKIE,
            key.encode().hex(),
            max_age=COOKIE_S,
            path=f"{_root(request.scope)}{self.path}",
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    def _page(self, scope: Scope, is_wrong: bool) -> Response:
        accepted = dict(scope["headers"]).get(b"accept-language", b"")
        words = WORDS["zh" if accepted[:2].lower() == b"zh" else "en"]
        text = door_page(words, f"{_root(scope)}{self.path}/{ENTER}", is_wrong)
        return HTMLResponse(
            text, 401, {"cache-control": "no-store", "content-security-policy": POLICY}
        )


def _name(key: str) -> str:
    """What a key is remembered by."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_of(connection: HTTPConnection) -> str:
    """The key that this browser entered with; "" without one."""
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(connection.headers.get("cookie", ""))
    except CookieError:
        return ""
    return key_in(cookies[COOKIE].value) if COOKIE in cookies else ""


def key_in(cookie: str) -> str:
    """The key in the cookie's value; "" where it holds none."""
    try:
        return bytes.fromhex(cookie).decode("ascii")
    except ValueError:
        return ""


def door_page(words: Words, target: str, is_wrong: bool) -> str:
    """The page that asks for a key."""
    told = {
        "@lang": words.tag,
        "@hint": words.key_hint,
        "@key": words.key,
        "@enter": words.enter,
        "@target": target,
        "@wrong": words.wrong_key if is_wrong else "",
    }
    page = PAGE.read_text(encoding="utf-8")
    for mark, text in told.items():
        page = page.replace(mark, html.escape(text))
    return page


def _root(scope: Scope) -> str:
    return str(scope.get("root_path", "")).rstrip("/")
