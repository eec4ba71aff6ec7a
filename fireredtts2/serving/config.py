"""What a server is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fireredtts2.engine.device import DTypeName
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.limits import Limits
from fireredtts2.serving.live.limits import LiveLimits
from fireredtts2.serving.sessions import SessionLimits
from fireredtts2.watermark import WatermarkKey

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
        adapters: as for `FireRedTTS2`; a request's `model` names the one it is spoken with.
        num_slots: listeners served at once.
        max_waiting: requests that may wait beside them; more are answered with 429.
        max_input_characters: of one request's text.
        max_upload_bytes: of a voice's clip.
        api_keys: who may ask; empty: everybody.
        keys_path: a JSON file with more keys, each with a name and limits of its own.
        cors_origins: web pages that may ask from a browser; none by default.
        voices_path: where uploaded voices are kept; the user's own folder by default.
        watermark_key: speech that is sent carries a mark that this secret finds; none by default.
        watermark_key_path: a file with the key instead.
        watermark_payload: a number in the marks, 0 to 65535.
        limits: of sizes, times and rates.
        jobs: where long scripts are kept, and how many; none by default.
        sessions: conversations between requests.
        live: connections whose text is still being written.
    """

    model: str = "mini"
    device: str = "auto"
    dtype: DTypeName = "auto"
    compile: bool = False
    adapters: tuple[str, ...] = ()
    num_slots: int = 4
    max_waiting: int = 32
    max_input_characters: int = 20_000
    max_upload_bytes: int = 20_000_000
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    keys_path: Path | None = None
    cors_origins: tuple[str, ...] = ()
    voices_path: Path | None = None
    watermark_key: str | None = field(default=None, repr=False)
    watermark_key_path: Path | None = None
    watermark_payload: int = 0
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
        _ = self.watermark

    @cached_property
    def watermark(self) -> WatermarkKey | None:
        """The key of the marks; None where there are none.

        Raises:
            ValueError: two keys, one that cannot be read or is too short, or a wrong payload.
        """
        if self.watermark_key is not None and self.watermark_key_path is not None:
            raise ValueError("watermark_key and watermark_key_path are both set: set one of them")
        secret = self.watermark_key
        if self.watermark_key_path is not None:
            try:
                secret = self.watermark_key_path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"watermark_key_path {self.watermark_key_path}: {error}") from None
        return None if secret is None else WatermarkKey(secret, self.watermark_payload)
