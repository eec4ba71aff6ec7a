"""Step 5: the codec's second stage, over the codes of step 4.

    python -m recipes.mini.train_decoder WORK_DIR [SECONDS]

Writes `WORK_DIR/codec_stage2.pt`; a second run goes on from it.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path

import torch

from fireredtts2.training.train_decoder import CodesData, DecoderTrainConfig, StageTwo, train
from recipes.mini.settings import settings
from recipes.mini.tokenise import frozen_codec
from recipes.mini.vary import FIRST_VARIED_ID


def main(work_dir: str, seconds: str = "inf") -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, out = Path(work_dir), Path(work_dir) / "codec_stage2.pt"
    torch.manual_seed(0)
    values = settings()["train_decoder"]
    config = DecoderTrainConfig(**{**values, "codebooks": tuple(values["codebooks"])})
    stage = StageTwo(frozen_codec(work), replace(config, max_seconds=float(seconds)))
    if out.exists():
        stage.load(torch.load(out, weights_only=True))
    # Resampled clips are not the sound that a voice shall have.
    train(stage, CodesData(work, below=FIRST_VARIED_ID), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
