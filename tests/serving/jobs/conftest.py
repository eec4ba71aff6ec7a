"""A server with jobs over a tiny model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.jobs.config import JobsConfig
from tests.serving.jobs.waiting import FRAMES
from tests.tiny import script_turns

ClientOf = Callable[..., TestClient]


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    """A model whose turns are all of FRAMES frames."""
    model = FireRedTTS2(voiced_checkpoint, device="cpu", num_slots=2)
    script_turns(model.studio.engine, *[FRAMES] * 500)
    return model


@pytest.fixture
def client_of(tts: FireRedTTS2, tmp_path: Path) -> ClientOf:
    def made(
        api_keys: tuple[str, ...] = (), watermark_key: str | None = None, **values
    ) -> TestClient:
        jobs = JobsConfig(path=tmp_path / "jobs", **values)
        config = ServingConfig(
            voices_path=tmp_path / "voices",
            num_slots=2,
            jobs=jobs,
            api_keys=api_keys,
            watermark_key=watermark_key,
        )
        return TestClient(create_app(config, tts), raise_server_exceptions=False)

    return made


@pytest.fixture
def client(client_of: ClientOf) -> Iterator[TestClient]:
    with client_of() as made:
        yield made
