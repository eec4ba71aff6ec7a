"""Asking for jobs, and waiting for them."""

import time

from fastapi.testclient import TestClient

FRAMES = 12
SECONDS = FRAMES * 0.08
SCRIPT = "[S1] Are you there?\n[S2] I am.\n[pause:0.5s]\n[S1] Good. [pause:250ms] Then go."
NUM_TURNS = 4
VOICES = {"S1": "af_heart", "S2": "am_michael"}
TOTAL_S = NUM_TURNS * SECONDS + 0.75


def asked(**values) -> dict:
    return {"script": SCRIPT, "voices": VOICES, "seed": 3, "formats": ["wav"], **values}


def created(client: TestClient, **values) -> str:
    answer = client.post("/v1/jobs", json=asked(**values))
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def stands(client: TestClient, id: str, *states: str, wait_s: float = 30.0) -> dict:
    """The job, once it is in one of these states."""
    ends_at = time.monotonic() + wait_s
    while True:
        job = client.get(f"/v1/jobs/{id}").json()
        if job["state"] in states:
            return job
        if time.monotonic() > ends_at:
            raise TimeoutError(str(job))
        time.sleep(0.02)
