"""Fifty listeners at once over real HTTP: no error, memory flat, and what they had to wait for.

`make test-load` runs it for two minutes; the default tests for a moment.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.metrics import resident_bytes
from tests.serving.hosting import app_of, model, open_files, serving

logger = logging.getLogger(__name__)
pytest_plugins = ("tests.speaking",)
BYTES_PER_S = 2 * OUTPUT_RATE_HZ
FRAMES = 25  # two seconds
#: In the second half; 0.1 MB of sound kept of each answer would be more.
MAX_GROWTH_BYTES = 40 * 2**20


@dataclass
class Heard:
    """What all listeners met."""

    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    num_answers: int = 0

    def told(self) -> str:
        """For the report."""
        shares = (50, 95, 99, 100)
        first = np.percentile(self.first_s, shares)
        gaps = np.percentile(self.gaps_s, shares)
        told = "first audio p50 {:.2f} p95 {:.2f} p99 {:.2f} most {:.2f} s".format(*first)
        told += "; gap p50 {:.3f} p95 {:.3f} p99 {:.3f} most {:.3f} s".format(*gaps)
        return f"{self.num_answers} answers, {len(self.errors)} errors; {told}"


async def listen(client: httpx.AsyncClient, ends_at: float, heard: Heard) -> None:
    """Asks again and again, and plays each answer in real time as it comes."""
    body = {"input": "Hello there.", "voice": "af_heart", "response_format": "pcm"}
    while time.monotonic() < ends_at:
        asked = time.monotonic()
        num_bytes, plays_until = 0, 0.0
        try:
            async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
                if answer.status_code != 200:
                    heard.errors.append(f"{answer.status_code}")
                    continue
                async for piece in answer.aiter_raw():
                    now = time.monotonic()
                    if not num_bytes:
                        heard.first_s.append(now - asked)
                    else:
                        heard.gaps_s.append(max(0.0, now - plays_until))
                    num_bytes += len(piece)
                    plays_until = max(plays_until, now) + len(piece) / BYTES_PER_S
        except httpx.HTTPError as error:
            heard.errors.append(repr(error))
            continue
        if num_bytes != FRAMES * 1_920 * 2:
            heard.errors.append(f"{num_bytes} bytes")
        heard.num_answers += 1
        await asyncio.sleep(max(0.0, plays_until - time.monotonic()))


async def all_listen(at: tuple[str, int], num_listeners: int, seconds: float, heard: Heard) -> None:
    ends_at = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=num_listeners + 1)
    address = f"http://{at[0]}:{at[1]}"
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        await asyncio.gather(*(listen(client, ends_at, heard) for _ in range(num_listeners)))


@pytest.mark.parametrize(
    ("num_listeners", "seconds"), [(10, 3.0), pytest.param(50, 120.0, marks=pytest.mark.slow)]
)
def test_many_listen(voiced_checkpoint: Path, tmp_path: Path, num_listeners: int, seconds: float):
    logging.getLogger("httpx").setLevel(logging.WARNING)
    tts = model(voiced_checkpoint, frames=FRAMES, num_slots=num_listeners)
    app = app_of(tts, tmp_path, max_waiting=num_listeners)
    with serving(app) as at:
        asyncio.run(
            all_listen(at, num_listeners, max(3.0, seconds / 6), Heard())
        )  # what grows once has grown
        before, files = resident_bytes(), open_files()
        heard = Heard()
        asyncio.run(all_listen(at, num_listeners, seconds / 2, heard))
        middle = resident_bytes()
        asyncio.run(all_listen(at, num_listeners, seconds / 2, heard))
        growth = resident_bytes() - middle
        logger.info("%d listeners, %.0f s: %s", num_listeners, seconds, heard.told())
        marks = [num / 2**20 for num in (before, middle, middle + growth)]
        logger.info("memory %.0f MB, %.0f MB at half time, %.0f MB at the end", *marks)
        assert open_files() <= files + num_listeners + 4
    assert heard.errors == []
    assert heard.num_answers >= num_listeners
    assert growth < MAX_GROWTH_BYTES
    assert not tts.studio.engine.scheduler.live
