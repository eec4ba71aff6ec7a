"""Downloads from a stand-in hub on this machine: resumed, checked, and clear about what failed."""

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from fireredtts2 import download as download_module
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.download import REPO, DownloadError, download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENTS = {
    ".gitattributes": b"*.pt filter=lfs",
    "config_llm.json": b'{"llm_models": {}}',
    "codec.pt": bytes(range(256)) * 8_000,
    "llm_pretrain.pt": b"monologue" * 20_000,
    "llm_posttrain.pt": b"dialogue" * 30_000,
    "Qwen2.5-1.5B/tokenizer.json": b"{}",
    "Qwen2.5-1.5B/empty file.txt": b"",
}


class Hub(ThreadingHTTPServer):
    """The hub's two answers: a model's files, and a file from some byte on, by a redirect."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents = dict(CONTENTS)
        self.served = dict(CONTENTS)  # what is sent, right or wrong
        self.breaks_after: list[int] = []  # bytes after which codec.pt breaks off
        self.ignores_ranges = False
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.file_status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def siblings(self) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        for name, data in self.contents.items():
            git = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            entry: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": git}
            if name.endswith(".pt"):
                sha256 = hashlib.sha256(data).hexdigest()
                entry |= {"blobId": "0" * 40}
                entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 130}
            entries.append(entry)
        return entries

    def fetched(self) -> list[str]:
        return [path for path, _, _ in self.requests if path.startswith("/store/")]


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token, range_ = self.headers.get("Authorization"), self.headers.get("Range")
        self.server.requests.append((path, range_, token))
        if path == f"/api/models/{REPO}/revision/main":
            self._answer(json.dumps({"sha": COMMIT, "siblings": self.server.siblings()}).encode())
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            name = path.removeprefix(f"/{REPO}/resolve/{COMMIT}/")
            self.send_response(302)
            self.send_header("Location", f"{self.server.url}/store/{name.replace(' ', '%20')}")
            self.end_headers()
        elif path.startswith("/store/") and self.server.file_status == 200:
            self._send_file(path.removeprefix("/store/"), range_)
        else:
            self.send_error(404 if self.server.file_status == 200 else self.server.file_status)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, name: str, range_: str | None) -> None:
        data, start = self.server.served[name], 0
        if range_ and not self.server.ignores_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", range_)[1])  # type: ignore[index]
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if name == "codec.pt" and self.server.breaks_after:
            body = body[: self.server.breaks_after.pop(0)]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(download_module, "_pause_s", lambda failures: 0.0)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


WANTED = {name: data for name, data in CONTENTS.items() if name != ".gitattributes"}


def test_whole_folder(hub, tmp_path):
    progress: dict[str, tuple[int, int]] = {}
    folder = download(
        tmp_path / "new" / "model",
        on_progress=lambda name, done, total: progress.update({name: (done, total)}),
    )
    assert files(folder) == WANTED
    assert CheckpointFolder(folder).codec_path == folder / "codec.pt"
    assert progress["codec.pt"] == (2_048_000, 2_048_000)
    # Pinned to the commit, and a second run fetches nothing.
    assert all("/main" not in path for path, _, _ in hub.requests if "resolve" in path)
    hub.requests.clear()
    download(folder)
    assert hub.fetched() == []


def test_one_kind_of_model(hub, tmp_path):
    download(tmp_path, gen_type="dialogue")
    assert set(files(tmp_path)) == WANTED.keys() - {"llm_pretrain.pt"}
    with pytest.raises(ValueError, match="'both'; allowed: monologue, dialogue"):
        download(tmp_path, gen_type="both")  # type: ignore[arg-type]


def test_break_within_a_run_is_mended_by_going_on(hub, tmp_path):
    hub.breaks_after = [5, 1_500_000, 100_000]
    assert files(download(tmp_path)) == WANTED
    ranges = [range_ for path, range_, _ in hub.requests if path == "/store/codec.pt"]
    assert ranges == [None, "bytes=5-", "bytes=1500005-", "bytes=1600005-"]


def test_interrupted_run_is_resumed_by_the_next(hub, tmp_path):
    def interrupt(name: str, done: int, total: int) -> None:
        if name == "codec.pt" and 0 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(tmp_path, on_progress=interrupt)
    assert not (tmp_path / "codec.pt").exists()
    with pytest.raises(FileNotFoundError, match="no weights for the codec"):
        _ = CheckpointFolder(tmp_path).codec_path
    (part,) = tmp_path.glob(".codec.pt.*.part")
    there = part.stat().st_size
    assert 0 < there < len(CONTENTS["codec.pt"])
    hub.requests.clear()
    assert files(download(tmp_path)) == WANTED
    ranges = [range_ for path, range_, _ in hub.requests if path == "/store/codec.pt"]
    assert ranges == [f"bytes={there}-"]


def test_server_without_ranges_starts_afresh(hub, tmp_path):
    hub.ignores_ranges = True
    hub.breaks_after = [10, 1_000_000]
    assert files(download(tmp_path)) == WANTED


@pytest.mark.parametrize("name", ["codec.pt", "config_llm.json"])
def test_corrupted_file_is_detected_and_removed(hub, tmp_path, name):
    good = CONTENTS[name]
    hub.served[name] = good[:7] + b"X" + good[8:]
    with pytest.raises(DownloadError, match=rf"{re.escape(name)}: what came is damaged.*again"):
        download(tmp_path)
    assert name not in files(tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    hub.served[name] = good
    assert files(download(tmp_path)) == WANTED


@pytest.mark.parametrize("change", [b"longer", b""])
def test_wrong_size_is_never_taken_for_whole(hub, tmp_path, change):
    hub.served["codec.pt"] = CONTENTS["codec.pt"] + change if change else b"short"
    with pytest.raises(DownloadError, match=r"codec\.pt"):
        download(tmp_path)
    assert "codec.pt" not in files(tmp_path)


def test_file_harmed_later_is_fetched_again(hub, tmp_path):
    download(tmp_path)
    (tmp_path / "codec.pt").write_bytes(bytes(len(CONTENTS["codec.pt"])))
    (tmp_path / "llm_pretrain.pt").write_bytes(b"part")
    hub.requests.clear()
    assert files(download(tmp_path)) == WANTED
    assert sorted(hub.fetched()) == ["/store/codec.pt", "/store/llm_pretrain.pt"]


def test_part_of_an_older_file_is_not_continued(hub, tmp_path):
    (tmp_path / ".codec.pt.0123456789ab.part").write_bytes(b"old")
    download(tmp_path)
    assert (tmp_path / "codec.pt").read_bytes() == CONTENTS["codec.pt"]


def test_missing_repository(hub, tmp_path):
    with pytest.raises(ValueError, match=r"Some/Model at 'main': no such model on http.*HF_TOKEN"):
        download(tmp_path / "new", repo="Some/Model")
    with pytest.raises(ValueError, match="'v9': no such model"):
        download(tmp_path / "new", revision="v9")
    assert not (tmp_path / "new").exists()


def test_no_network(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(DownloadError, match=r"cannot reach http.*refused.*HF_ENDPOINT"):
        download(tmp_path / "new")


def test_network_lost_midway_keeps_what_came(hub, tmp_path):
    hub.file_status = 503
    with pytest.raises(DownloadError, match=r"cannot reach.*Service Unavailable.*go on"):
        download(tmp_path)
    assert len(hub.fetched()) == download_module.MAX_ATTEMPTS
    hub.file_status = 403
    hub.requests.clear()
    with pytest.raises(DownloadError, match="HTTP 403"):
        download(tmp_path)
    assert len(hub.fetched()) == 1


def test_endpoint_that_is_no_hub(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "siblings", lambda: [{"rfilename": "a"}])
    with pytest.raises(DownloadError, match="not the answer of a Hugging Face hub"):
        download(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "mirror.example")
    with pytest.raises(ValueError, match=r"HF_ENDPOINT is 'mirror\.example'"):
        download(tmp_path)


@pytest.mark.parametrize("name", ["../evil.pt", "/etc/evil.pt", "a/../../evil.pt", "c:\\evil.pt"])
def test_server_cannot_write_outside_the_folder(hub, tmp_path, name):
    hub.contents[name] = b"evil"
    with pytest.raises(DownloadError, match="outside the folder"):
        download(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_token_goes_to_the_hub_and_not_to_its_store(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    download(tmp_path)
    for path, _, token in hub.requests:
        assert token == (None if path.startswith("/store/") else "Bearer hf_secret")


def test_full_disk_is_seen_before(hub, monkeypatch, tmp_path):
    class Usage:
        free = 1_000

    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda folder: Usage)
    with pytest.raises(OSError, match="are free"):
        download(tmp_path)
    assert hub.fetched() == []
