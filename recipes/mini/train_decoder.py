"""Step 6: the codec's second stage, over the codes of step 5.

    python -m recipes.mini.train_decoder WORK_DIR [SECONDS]

Writes `WORK_DIR/codec_stage2.pt`; a second run goes on from it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch

from fireredtts2.training.codes_data import CodesData
from fireredtts2.training.train_decoder import DecoderTrainConfig, StageTwo, train
from recipes.mini.settings import run_settings
from recipes.mini.tokenise import frozen_codec
from recipes.mini.train_speakers import load_voice_loss
from recipes.mini.vary import FIRST_VARIED_ID


def main(work_dir: str, seconds: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, out = Path(work_dir), Path(work_dir) / "codec_stage2.pt"
    torch.manual_seed(0)
    config = run_settings(DecoderTrainConfig, "train_decoder", seconds)
    voice = load_voice_loss(work) if config.voice_weight else None
    stage = StageTwo(frozen_codec(work), config, voice)
    if out.exists():
        stage.load(torch.load(out, weights_only=True))
    # Resampled clips are not the sound that a voice shall have.
    train(stage, CodesData(work, below=FIRST_VARIED_ID), out)


if __name__ == "__main__":
    main(*sys.argv[1:])
