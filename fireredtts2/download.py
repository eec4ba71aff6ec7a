"""Fetches the published checkpoint from the Hugging Face hub: resumed and checked.

The hub's own client starts an interrupted file afresh and does not check its contents, which is why
eight-gigabyte files are fetched here, over plain HTTP ranges.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import json
import logging
import os
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from fireredtts2.checkpoint import LLM_NAMES, GenType

logger = logging.getLogger(__name__)

REPO = "FireRedTeam/FireRedTTS2"
DEFAULT_ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 30.0
MAX_ATTEMPTS = 5  # in a row, without a byte gained
BLOCK_BYTES = 1 << 20
HTTP_PARTIAL, HTTP_BAD_RANGE = 206, 416
HTTP_NO_ACCESS = (401, 403, 404)
#: NOTE: not every OSError: a full disk must not be tried again.
NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)

#: Called with a file's name, the bytes that are there, and its size.
Progress = Callable[[str, int, int], None]


class DownloadError(OSError):
    """The network or the server failed; what was fetched stays, and the next run goes on."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of the hub: `digest` is SHA-256 of a large file, Git's SHA-1 of a small one."""

    name: str
    num_bytes: int
    digest: str
    is_large: bool


def download(
    folder: str | Path,
    repo: str = REPO,
    revision: str = "main",
    gen_type: GenType | None = None,
    on_progress: Progress | None = None,
) -> Path:
    """Fetches a checkpoint folder; files that are there and right are kept.

    The address is `HF_ENDPOINT` where set (a mirror), the token `HF_TOKEN`.

    Args:
        folder: where to; made if need be.
        repo: the hub's name of the model.
        revision: branch, tag or commit.
        gen_type: leaves out the language model of the other kind.
        on_progress: called as bytes come in.

    Returns:
        The folder.

    Raises:
        ValueError: no such repository or revision, or no access to it.
        DownloadError: no network, or contents that do not match their checksum.
        OSError: the disk is full or not writable.
    """
    if gen_type is not None and gen_type not in LLM_NAMES:
        raise ValueError(f"gen_type {gen_type!r}; allowed: {', '.join(LLM_NAMES)}")
    folder = Path(folder).expanduser()
    commit, files = list_files(repo, revision)
    wanted = [file for file in files if _is_wanted(file.name, gen_type)]
    missing = [file for file in wanted if not is_whole(folder / file.name, file)]
    folder.mkdir(parents=True, exist_ok=True)
    _check_space(folder, missing)
    for file in wanted:
        if file in missing:
            url = f"{_endpoint()}/{repo}/resolve/{commit}/{urllib.parse.quote(file.name)}"
            _fetch_checked(url, file, folder / file.name, on_progress)
        elif on_progress is not None:
            on_progress(file.name, file.num_bytes, file.num_bytes)
    return folder


def list_files(repo: str, revision: str) -> tuple[str, list[RemoteFile]]:
    """Asks the hub for a revision's commit and files."""
    quoted = urllib.parse.quote(revision, safe="")
    url = f"{_endpoint()}/api/models/{repo}/revision/{quoted}?blobs=true"
    try:
        with _request(url) as response:
            info = json.load(response)
        return info["sha"], [_remote_file(entry) for entry in info["siblings"]]
    except urllib.error.HTTPError as error:
        if error.code in HTTP_NO_ACCESS:
            raise ValueError(
                f"{repo} at {revision!r}: no such model on {_endpoint()}, or no access to it "
                f"(HTTP {error.code}); check the name, or set HF_TOKEN"
            ) from None
        raise DownloadError(f"{_endpoint()} answered HTTP {error.code}; try again later") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DownloadError(f"{url}: not the answer of a Hugging Face hub ({error!r})") from None
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(_no_network(error)) from None


def is_whole(path: Path, file: RemoteFile) -> bool:
    """Whether a file stands there whole and unharmed."""
    if not path.is_file() or path.stat().st_size != file.num_bytes:
        return False
    return _digest(path, file) == file.digest


def _is_wanted(name: str, gen_type: GenType | None) -> bool:
    unwanted = {llm for kind, llm in LLM_NAMES.items() if gen_type not in (None, kind)}
    path = PurePosixPath(name)
    return not path.name.startswith(".") and path.stem not in unwanted


def _remote_file(entry: dict[str, Any]) -> RemoteFile:
    name = entry["rfilename"]
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise DownloadError(f"the server names a file outside the folder: {name!r}; not fetched")
    large = entry.get("lfs")
    if large is not None:
        return RemoteFile(name, large["size"], large["sha256"], is_large=True)
    return RemoteFile(name, entry["size"], entry["blobId"], is_large=False)


def _fetch_checked(url: str, file: RemoteFile, path: Path, on_progress: Progress | None) -> None:
    """Fetches into a part file beside `path`, which is renamed when its checksum is right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{file.digest[:12]}.part")
    _fetch(url, file, part, on_progress)
    if not is_whole(part, file):
        part.unlink()
        raise DownloadError(
            f"{file.name}: what came is damaged (its checksum is not {file.digest}); "
            "it was removed, run the download again"
        )
    os.replace(part, path)


def _fetch(url: str, file: RemoteFile, part: Path, on_progress: Progress | None) -> None:
    """Adds to the part file until it has its size; tries again while something still comes."""
    failures, furthest = 0, 0
    while True:
        start = part.stat().st_size if part.exists() else 0
        furthest = max(furthest, start)
        if start >= file.num_bytes and part.exists():
            return
        error: Exception | None = None
        try:
            _fetch_rest(url, file, part, start, on_progress)
        except urllib.error.HTTPError as caught:
            if caught.code in HTTP_NO_ACCESS:
                raise DownloadError(f"{file.name}: HTTP {caught.code} from {url}") from None
            error = caught
        except NETWORK_ERRORS as caught:
            error = caught
        # NOTE: only new ground counts, or a server that always starts afresh would never end.
        gained = part.exists() and part.stat().st_size > furthest
        failures = 0 if gained else failures + 1
        if failures == MAX_ATTEMPTS:
            raise DownloadError(f"{file.name}: {_no_network(error)}")
        if error is not None:
            logger.warning("%s: %s; going on", file.name, error)
        if failures:
            time.sleep(_pause_s(failures))


def _fetch_rest(
    url: str, file: RemoteFile, part: Path, start: int, on_progress: Progress | None
) -> None:
    """One request from byte `start` on."""
    try:
        response = _request(url, start)
    except urllib.error.HTTPError as error:
        if error.code == HTTP_BAD_RANGE:
            part.unlink(missing_ok=True)
        raise
    with response, open(part, "ab") as out:
        if not _continues(response, start):
            out.truncate(0)
        _copy(response, out, file, on_progress)


def _continues(response: http.client.HTTPResponse, start: int) -> bool:
    """False where the server ignored the range and sends everything."""
    if response.status != HTTP_PARTIAL:
        return False
    return (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-")


def _copy(
    response: http.client.HTTPResponse,
    out: BinaryIO,
    file: RemoteFile,
    on_progress: Progress | None,
) -> None:
    num_bytes = os.fstat(out.fileno()).st_size
    # One byte beyond the size is enough to see that it is not the file that was announced.
    while block := response.read(min(BLOCK_BYTES, file.num_bytes + 1 - num_bytes)):
        out.write(block)
        num_bytes += len(block)
        if on_progress is not None:
            on_progress(file.name, num_bytes, file.num_bytes)


def _request(url: str, start: int = 0) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "fireredtts2"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    if token := os.environ.get("HF_TOKEN"):
        # Not sent on when the hub redirects to its file store.
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return urllib.request.urlopen(request, timeout=TIMEOUT_S)


def _digest(path: Path, file: RemoteFile) -> str:
    if file.is_large:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(f"blob {file.num_bytes}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as data:
        while block := data.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _check_space(folder: Path, files: list[RemoteFile]) -> None:
    needed = sum(file.num_bytes for file in files)
    free = shutil.disk_usage(folder).free
    if needed > free:
        message = f"needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        raise OSError(errno.ENOSPC, message, str(folder))


def _pause_s(failures: int) -> float:
    return float(min(2**failures, 30))


def _endpoint() -> str:
    endpoint = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        raise ValueError(f"HF_ENDPOINT is {endpoint!r}; expected an address as {DEFAULT_ENDPOINT}")
    return endpoint


def _no_network(error: Exception | None) -> str:
    reason = getattr(error, "reason", None) or error or "the connection ended early"
    return (
        f"cannot reach {_endpoint()} ({reason}); check the network, or name a mirror in "
        "HF_ENDPOINT. What was fetched stays: run the download again to go on"
    )
