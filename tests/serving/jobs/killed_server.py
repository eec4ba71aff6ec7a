"""A server process over a tiny model, to be killed: CHECKPOINT JOBS_FOLDER PORT [REDIS_URL]."""

import sys
import time
from pathlib import Path

import uvicorn

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.jobs.folder import JobFolder
from tests.serving.jobs.waiting import FRAMES
from tests.tiny import script_turns

SECONDS_A_TURN = 0.25  # so that there is a middle to kill it in


def main(checkpoint: str, folder: str, port: str, redis_url: str | None = None) -> None:
    tts = FireRedTTS2(checkpoint, device="cpu", num_slots=2)
    script_turns(tts.studio.engine, *[FRAMES] * 500)
    write = JobFolder.write

    def slowly(self: JobFolder, index: int, turn: object) -> int:
        time.sleep(SECONDS_A_TURN)
        return write(self, index, turn)  # type: ignore[arg-type]

    JobFolder.write = slowly  # type: ignore[method-assign,assignment]
    jobs = JobsConfig(path=Path(folder), redis_url=redis_url, lease_s=1.0)
    config = ServingConfig(voices_path=Path(folder) / "v", num_slots=2, jobs=jobs)
    uvicorn.run(create_app(config, tts), port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
