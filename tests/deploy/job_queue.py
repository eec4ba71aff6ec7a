"""A queue as RunPod's SDK meets it: hands out jobs, takes their outputs, and says which to stop."""

from __future__ import annotations

import json
import queue
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

LONG_POLL_S = 1.0


class JobQueue:
    """What one endpoint's workers ask and tell.

    Attributes:
        streamed: what a job has put out until now.
        results: what a job ended with.
    """

    def __init__(self) -> None:
        self.streamed: dict[str, list[Any]] = defaultdict(list)
        self.results: dict[str, Any] = {}
        self._jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        self._stops: queue.Queue[str] = queue.Queue()

    def put(self, id: str, given: object) -> None:
        self._jobs.put({"id": id, "input": given})

    def cancel(self, id: str) -> None:
        self._stops.put(id)

    def asked(self, path: str) -> Any:
        """The answer to a GET; None is "nothing now"."""
        if "/job-stop/" in path:
            stop = _first(self._stops)
            return None if stop is None else {"jobsToStop": [stop]}
        if "/job-take" in path:
            job = _first(self._jobs)
            return None if job is None else [job] if "batch" in path else job
        return {}

    def told(self, path: str, body: Any) -> None:
        kind, id = path.strip("/").split("/")
        if kind == "stream":
            self.streamed[id].append(body["output"])
        else:
            self.results[id] = body


def _first(waiting: queue.Queue[Any]) -> Any:
    try:
        return waiting.get(timeout=LONG_POLL_S)
    except queue.Empty:
        return None


@contextmanager
def served(jobs: JobQueue) -> Iterator[dict[str, str]]:
    """Serves a queue; gives the environment in which the SDK finds it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(jobs.asked(urlsplit(self.path).path))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            jobs.told(urlsplit(self.path).path, body)
            self._answer({})

        def _answer(self, value: Any) -> None:
            data = b"" if value is None else json.dumps(value).encode()
            self.send_response(204 if value is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    at = f"http://127.0.0.1:{server.server_port}"
    try:
        yield {
            "RUNPOD_WEBHOOK_GET_JOB": f"{at}/v2/endpoint/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{at}/stream/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{at}/done/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{at}/ping/$RUNPOD_POD_ID",
            "RUNPOD_AI_API_KEY": "unused",
            "RUNPOD_POD_ID": "worker",
            # These look for RunPod's own network and cards.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
