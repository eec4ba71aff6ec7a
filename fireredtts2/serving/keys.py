"""Who may ask: keys, their names and limits, and who the present request comes from."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from starlette.requests import HTTPConnection

from fireredtts2.serving.limits import Quota

MIN_KEY_CHARACTERS = 8
MAX_KEY_CHARACTERS = 512
MAX_FILE_BYTES = 10_000_000
HASH_CHARACTERS = 32
#: A browser can send no header with a WebSocket, but subprotocols: this, and with a dot the key.
SUBPROTOCOL = "fireredtts2"


@dataclass(frozen=True)
class Client:
    """Whom limits and voices belong to.

    Attributes:
        id: a hash of the key, or the address; it may be logged.
        name: of the key, for people.
        quota: what it may do.
        has_key: whether it showed one.
    """

    id: str
    name: str = ""
    quota: Quota = field(default_factory=Quota)
    has_key: bool = False


#: Who asks where no request came in: a program that uses the server as a part of it.
LOCAL = Client("local")
#: Who sent the request that is being answered. Threads that it starts see it too.
CLIENT: ContextVar[Client] = ContextVar("client", default=LOCAL)


class KeyRing:
    """All keys of a server.

    Args:
        keys: without a name.
        path: a JSON file with more: `[{"key": ..., "name": ..., "requests_per_minute": ...}]`.
        quota: of keys and addresses that have none of their own.

    Raises:
        ValueError: the file cannot be read, or a key in it is not right; never shows a key.
    """

    def __init__(
        self, keys: Sequence[str] = (), path: Path | None = None, quota: Quota | None = None
    ) -> None:
        self._quota = quota or Quota()
        entries: list[dict[str, Any]] = [{"key": key} for key in keys]
        if path is not None:
            entries += read_entries(path)
        self._clients = dict(self._entry(index, entry) for index, entry in enumerate(entries))
        if len(self._clients) != len(entries):
            raise ValueError("a key is given twice: every client needs its own")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The keys themselves."""
        return tuple(self._clients)

    def client(self, connection: HTTPConnection) -> Client | None:
        """Who asks; None without a valid key where one is needed."""
        if not self._clients:
            return Client(address_of(connection), quota=self._quota)
        given = key_of(connection).encode("utf-8", "surrogateescape")
        # NOTE: all are compared, each in constant time: nothing is learnt from how long it takes.
        pairs = self._clients.items()
        matches = [client for key, client in pairs if hmac.compare_digest(given, key.encode())]
        return matches[0] if matches else None

    def _entry(self, index: int, entry: dict[str, Any]) -> tuple[str, Client]:
        what = f"key {index + 1}"
        limits = {one.name for one in fields(Quota)}
        unknown = set(entry) - limits - {"key", "name"}
        if unknown:
            raise ValueError(f"{what}: no field {sorted(unknown)}; allowed: key, name, "
                             f"{', '.join(sorted(limits))}")  # fmt: skip
        key = entry.get("key")
        check_key(key, what)
        own = {name: entry[name] for name in limits & set(entry)}
        name = str(entry.get("name", f"#{index + 1}"))
        given = {one.name: getattr(self._quota, one.name) for one in fields(Quota)}
        try:
            quota = Quota(**{**given, **own})
        except ValueError as error:
            raise ValueError(f"{what} ({name[:40]}): {error}") from None
        return str(key), Client(hash_of(str(key)), name, quota, has_key=True)


def check_key(key: object, what: str = "an API key") -> None:
    """Raises ValueError for what is no good key, without showing it."""
    if not isinstance(key, str) or not MIN_KEY_CHARACTERS <= len(key) <= MAX_KEY_CHARACTERS:
        raise ValueError(f"{what} of fewer than {MIN_KEY_CHARACTERS} characters, or of more than "
                         f"{MAX_KEY_CHARACTERS}: choose another")  # fmt: skip
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"{what} has characters that no HTTP header can carry")


def hash_of(key: str) -> str:
    """What stands for a key in names of folders and in counters."""
    return hashlib.sha256(b"fireredtts2 key " + key.encode()).hexdigest()[:HASH_CHARACTERS]


def key_of(connection: HTTPConnection) -> str:
    """The key that was sent, as OpenAI's clients send it or as ElevenLabs' do; never in a URL."""
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if (key := connection.headers.get("xi-api-key")) is not None:
        return key
    for offered in connection.scope.get("subprotocols", []):
        if offered.startswith(f"{SUBPROTOCOL}."):
            return str(offered.removeprefix(f"{SUBPROTOCOL}."))
    return ""


def address_of(connection: HTTPConnection) -> str:
    """The client's address; of IPv6 the network, of which one client has as many as it likes."""
    host = connection.client.host if connection.client else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def read_entries(path: Path) -> list[dict[str, Any]]:
    """A file's keys, as they stand there.

    Raises:
        ValueError: no such file, or it is not a list of objects.
    """
    try:
        with path.open("rb") as file:
            entries = json.loads(file.read(MAX_FILE_BYTES))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):  # whose message may show what stands there
        raise ValueError(f"{path}: not JSON") from None
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise ValueError(f'{path}: must be a list: [{{"key": "...", "name": "..."}}]')
    if not entries:  # an empty file must not open the door
        raise ValueError(f"{path}: the file has no key in it")
    return entries
