"""Step 10: guidance, learnt: the language model says what text and voice alone make likely.

    python -m recipes.mini.guide WORK_DIR [MODEL_DIR]

First a copy of the model learns to speak without text or voice (`WORK_DIR/bare.pt`), then the model
learns to say what it would under classifier-free guidance by that copy (`WORK_DIR/guided.pt`).
Cut, it goes on where it was saved; in the end the language model in MODEL_DIR is replaced.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.guidance import (
    BareTrainer,
    GuidanceConfig,
    GuidanceTrainer,
    GuidedBatch,
    SpokenSegment,
)
from fireredtts2.training.run import run
from recipes.mini.casting import Casting, PromptRows
from recipes.mini.export import write_llm
from recipes.mini.settings import settings
from recipes.mini.train_llm import MODEL

log = logging.getLogger(__name__)
POOL = 96  # conversations drawn at once and sorted by length
MAX_ROWS = 480  # of one


def whole_model(state: dict[str, torch.Tensor], folder: CheckpointFolder) -> DualTransformer:
    """The language model with the head that only training uses, in float32."""
    model = DualTransformer(folder.llm_config)
    model.load_state_dict({name: value.float() for name, value in state.items()})
    return model


def num_rows(conversation: list[SpokenSegment]) -> int:
    return sum(len(one.text_ids) + one.codes.shape[1] + 1 for one in conversation)


def batches(
    casting: Casting, prompts: PromptRows, rows_per_step: int, seed: int
) -> Iterator[GuidedBatch]:
    """Endless; conversations of about one length together."""
    rng = np.random.default_rng(seed)
    while True:
        drawn: list[list[SpokenSegment]] = []
        while len(drawn) < POOL:
            conversation = [prompts.segment(said) for said in casting.conversation(rng)]
            while len(conversation) > 1 and num_rows(conversation) > MAX_ROWS:
                conversation.pop()
            if num_rows(conversation) <= MAX_ROWS:
                drawn.append(conversation)
        drawn.sort(key=num_rows)
        groups: list[list[list[SpokenSegment]]] = [[]]
        for conversation in drawn:  # the last of a group is its longest
            if (len(groups[-1]) + 1) * num_rows(conversation) > rows_per_step:
                groups.append([])
            groups[-1].append(conversation)
        for index in rng.permutation(len(groups)):
            yield GuidedBatch.of(groups[index])


def train(trainer: BareTrainer | GuidanceTrainer, source: Iterator[GuidedBatch], out: Path) -> None:
    if out.exists():
        trainer.load(torch.load(out, weights_only=True))
    run(trainer, lambda: trainer.step(next(source)), trainer.config, out, log_every=10)


def main(work_dir: str, model_dir: str = str(MODEL)) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, folder = Path(work_dir), CheckpointFolder(model_dir)
    casting, prompts = Casting(work, folder), PromptRows(folder)
    config = GuidanceConfig(**settings()["guide"])
    bare_config = replace(config, **settings()["guide_bare"])
    start = work / "unguided.safetensors"  # what ships may be guided already
    if not start.exists():
        start.write_bytes((folder.path / "llm.safetensors").read_bytes())
    state = load_file(start)
    bare = BareTrainer(whole_model(state, folder), bare_config)
    train(bare, batches(casting, prompts, bare_config.rows_per_step, 1), work / "bare.pt")
    student = GuidanceTrainer(
        whole_model(state, folder), whole_model(state, folder), bare.model, config
    )
    train(student, batches(casting, prompts, config.rows_per_step, 2), work / "guided.pt")
    write_llm(student.model.state_dict(), folder.path)


if __name__ == "__main__":
    main(*sys.argv[1:])
