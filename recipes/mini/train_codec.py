"""Step 4: the codec's first stage.

    python -m recipes.mini.train_codec WORK_DIR [SECONDS]

Writes `WORK_DIR/codec_stage1.pt`; a second run goes on from it. The sounds of step 3 are asked for.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from fireredtts2.codec import RedCodec
from fireredtts2.config import CodecConfig
from fireredtts2.training.train_codec import CodecTrainConfig, train
from recipes.mini.align import load_sounds
from recipes.mini.settings import run_settings, settings

log = logging.getLogger(__name__)


def build_codec(work: Path) -> RedCodec:
    """A codec with random weights, but for Whisper's."""
    codec = RedCodec(CodecConfig.from_dict(settings()["codec"]))
    codec.ssl.load_state_dict(load_file(work / "ssl.safetensors"))
    return codec


def main(work_dir: str, seconds: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work = Path(work_dir)
    if (work / "codec_frozen.safetensors").exists():
        log.info("%s: there is a frozen codec already", work)
        return
    torch.manual_seed(0)
    run_stage_one(build_codec(work), work, seconds)


def run_stage_one(codec: RedCodec, work: Path, seconds: str | None) -> bool:
    """Trains a codec by the table `train_codec`; returns whether that has come to its end."""
    config = run_settings(CodecTrainConfig, "train_codec", seconds)
    spoken = settings()["llm"]["audio_num_codebooks"]
    if config.few_share and config.few_codebooks != spoken:
        raise ValueError(
            f"train_codec.few_codebooks: {config.few_codebooks} given; allowed: {spoken}, as many "
            "as llm.audio_num_codebooks says that the language model makes"
        )
    sounds = load_sounds(work) if config.sounds_weight else None
    step_count = train(codec, work, config, work / "codec_stage1.pt", sounds)
    return step_count >= config.total_steps


if __name__ == "__main__":
    main(*sys.argv[1:])
