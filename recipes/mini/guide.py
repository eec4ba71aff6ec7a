"""Step 9: guidance, learnt: the language model says what text and voice alone make likely.

    python -m recipes.mini.guide WORK_DIR [MODEL_DIR]

First a copy of the model learns to speak without text or voice (`WORK_DIR/bare.pt`), then the model
learns to say what it would under classifier-free guidance by that copy (`WORK_DIR/guided.pt`).
Cut, it goes on where it was saved; in the end the language model in MODEL_DIR is replaced. One that
is guided already learns on, where the one it was before lies as `WORK_DIR/unguided.safetensors`.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from fireredtts2.atomic_file import atomic_path
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.training.guidance import GuidedBatch, guided_batches
from fireredtts2.training.llm_data import Composer
from fireredtts2.training.run import run
from fireredtts2.training.train_guidance import BareTrainer, GuidanceConfig, GuidanceTrainer
from fireredtts2.training.train_llm import CONVERSATION
from recipes.mini.export import write_llm
from recipes.mini.settings import settings
from recipes.mini.train_llm import MODEL, build_model, load_clips, text_marks


def train(
    trainer: BareTrainer | GuidanceTrainer,
    batches: Callable[[int], Iterator[GuidedBatch]],
    out: Path,
) -> None:
    """Runs to the end, on from `out` where there is one; `batches` draws by a seed."""
    if out.exists():
        trainer.load(torch.load(out, weights_only=True))
    source = batches(trainer.config.seed + trainer.step_count)
    run(trainer, lambda: trainer.step(next(source)), trainer.config, out, log_every=10)


def main(work_dir: str, model_dir: str = str(MODEL)) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, folder = Path(work_dir), CheckpointFolder(model_dir)
    tokenizer = TextTokenizer.from_folder(folder.tokenizer_path)
    clips = load_clips(work, tokenizer, times=settings()["guide_clips"])
    composer = Composer(clips, text_marks(tokenizer))
    max_rows = settings()["train_llm"]["rows_per_sequence"]

    def batches(seed: int) -> Iterator[GuidedBatch]:
        return guided_batches(composer, config.rows_per_step, max_rows, CONVERSATION, seed)

    config = GuidanceConfig(**settings()["guide"])
    bare_config = replace(config, seed=config.seed + 1, **settings()["guide_bare"])
    start = work / "unguided.safetensors"  # what ships may be guided already
    if not start.exists():
        with atomic_path(start) as temporary:
            shutil.copyfile(folder.path / "llm.safetensors", temporary)
    bare = BareTrainer(build_model(tokenizer, start), bare_config)
    train(bare, batches, work / "bare.pt")
    told = build_model(tokenizer, start)
    shipped = build_model(tokenizer, folder.path / "llm.safetensors")
    student = GuidanceTrainer(shipped, told, bare.model, config)
    train(student, batches, work / "guided.pt")
    write_llm(student.model.state_dict(), folder.path)


if __name__ == "__main__":
    main(*sys.argv[1:])
