"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fireredtts2.engine.device import DTypeName
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.limits import Limits
from fireredtts2.serving.live.limits import LiveLimits
from fireredtts2.serving.sessions import SessionLimits

#: Names that clients of OpenAI's API send, and the embedded voices that answer to them.
OPENAI_VOICES = {
    "alloy": "af_kore",
    "ash": "am_michael",
    "ballad": "bm_fable",
    "coral": "af_bella",
    "echo": "am_puck",
    "fable": "bm_fable",
    "nova": "af_heart",
    "onyx": "am_fenrir",
    "sage": "af_sarah",
    "shimmer": "bf_emma",
    "verse": "bm_george",
}


@dataclass(frozen=True)
class ServingConfig:
    """One server.

    Attributes:
        model: "mini" or a checkpoint folder.
        device: as for `FireRedTTS2`.
        dtype: as for `FireRedTTS2`.
        compile: as for `FireRedTTS2`.
        num_slots: listeners served at once.
        max_waiting: requests that may wait beside them; more are answered with 429.
        max_input_characters: of one request's text.
        max_upload_bytes: of a voice's clip.
        api_keys: who may ask; empty: everybody.
        keys_path: a JSON file with more keys, each with a name and limits of its own.
        cors_origins: web pages that may ask from a browser; none by default.
        voices_path: where uploaded voices are kept; the user's own folder by default.
        limits: of sizes, times and rates.
        jobs: where long scripts are kept, and how many; none by default.
        sessions: conversations between requests.
        live: connections whose text is still being written.
    """

    model: str = "mini"
    device: str = "auto"
    dtype: DTypeName = "auto"
    compile: bool = False
    num_slots: int = 4
    max_waiting: int = 32
    max_input_characters: int = 20_000
    max_upload_bytes: int = 20_000_000
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    keys_path: Path | None = None
    cors_origins: tuple[str, ...] = ()
    voices_path: Path | None = None
    limits: Limits = field(default_factory=Limits)
    jobs: JobsConfig = field(default_factory=JobsConfig)
    sessions: SessionLimits = field(default_factory=SessionLimits)
    live: LiveLimits = field(default_factory=LiveLimits)

    def __post_init__(self) -> None:
        for name in ("num_slots", "max_waiting", "max_input_characters", "max_upload_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")
        if any(len(key) < 8 for key in self.api_keys):
            raise ValueError("an API key of fewer than 8 characters: choose longer ones")
