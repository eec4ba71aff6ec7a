"""Step 6, before the decoder: a network that tells the corpus's speakers apart, for its loss.

    python -m recipes.mini.train_speakers WORK_DIR [SECONDS]

Writes `WORK_DIR/speakers.pt`, which does not ship; a second run goes on from it.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch

from fireredtts2.training.speaker_net import SpeakerNet, VoiceLoss
from fireredtts2.training.train_speakers import (
    SpeakerData,
    SpeakerTrainConfig,
    SpeakerTrainer,
    train,
)
from recipes.mini.settings import run_settings

NAME = "speakers.pt"


def load_voice_loss(work: Path) -> VoiceLoss:
    """The decoder's loss by what this step has learnt.

    Raises:
        SystemExit: it has not been run.
    """
    if not (work / NAME).exists():
        raise SystemExit(f"{work}: there is no {NAME}; run recipes.mini.train_speakers first")
    state = torch.load(work / NAME, weights_only=True)["net"]
    net = SpeakerNet(len(state["speakers"]), width=len(state["first.weight"]))
    net.load_state_dict(state)
    return VoiceLoss(net)


def main(work_dir: str, seconds: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, out = Path(work_dir), Path(work_dir) / NAME
    torch.manual_seed(0)
    data = SpeakerData(work)
    config = run_settings(SpeakerTrainConfig, "train_speakers", seconds)
    trainer = SpeakerTrainer(SpeakerNet(len(data.speakers), config.width), config)
    if out.exists():
        trainer.load(torch.load(out, weights_only=True))
    train(trainer, data, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
