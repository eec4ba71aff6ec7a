"""Step 9: guidance, learnt: the language model says what text and voice alone make likely.

    python -m recipes.mini.guide WORK_DIR [MODEL_DIR]

First a copy of the model learns to speak without text or voice (`WORK_DIR/bare.pt`), then the model
learns to say what it would under classifier-free guidance by that copy (`WORK_DIR/guided.pt`).
Cut, it goes on where it was saved; in the end the language model in MODEL_DIR is replaced. One that
is guided already learns on, where the one it was before lies as `WORK_DIR/unguided.safetensors`.
Both runs know the models that they began with and refuse to go on from a newly exported one.
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.training.codec.start import fingerprint
from fireredtts2.training.guidance import GuidedBatch, guided_batches
from fireredtts2.training.llm_data import Composer
from fireredtts2.training.run import run, save
from fireredtts2.training.train_guidance import BareTrainer, GuidanceConfig, GuidanceTrainer
from fireredtts2.training.train_llm import CONVERSATION
from recipes.mini.export import stored, write_llm
from recipes.mini.settings import run_settings, settings
from recipes.mini.train_llm import MODEL, build_model, load_clips, text_marks

log = logging.getLogger(__name__)
UNGUIDED, SHIPPED = "unguided.safetensors", "llm.safetensors"


def begin(trainer: BareTrainer | GuidanceTrainer, began_with: dict[str, str], out: Path) -> None:
    """Goes on from `out` where there is one, else writes it, so that it tells its beginning.

    Raises:
        ValueError: a run there began with another model.
    """
    trainer.began_with = began_with
    if out.exists():
        state = torch.load(out, weights_only=True)
        check_beginning(out, state, began_with)
        trainer.load(state)
    else:
        save(trainer, out)


def check_beginning(out: Path, state: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Raises ValueError where a saved run began with other models than those that are there now."""
    before = state.get("began_with")
    if before is None:
        log.warning("%s does not tell what it began with (it is of an earlier version)", out)
        return
    # What ships is the run's own result once it has ended.
    result = known_again(stored(state["average"]))
    for name, found in now.items():
        if found != before[name] and not (name == SHIPPED and found == result):
            raise ValueError(
                f"{out}: this run began with another {name} than there is now, as after a new "
                f"export. Remove bare.pt and guided.pt in {out.parent} to begin anew, and "
                f"{UNGUIDED} too unless it is one that you put there"
            )


def known_again(state: Mapping[str, Tensor]) -> str:
    """A fingerprint of a model's weights, whatever their order."""
    return fingerprint(sorted(state.items()))


def train(
    trainer: BareTrainer | GuidanceTrainer,
    batches: Callable[[int], Iterator[GuidedBatch]],
    out: Path,
) -> None:
    """Runs to the end; `batches` draws by a seed."""
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

    config = run_settings(GuidanceConfig, "guide")
    bare_config = replace(config, **{"seed": config.seed + 1, **settings()["guide_bare"]})
    start, shipped = work / UNGUIDED, folder.path / SHIPPED  # what ships may be guided already
    if not start.exists():
        with atomic_path(start) as temporary:
            shutil.copyfile(shipped, temporary)
    told, mute = build_model(tokenizer, start), build_model(tokenizer, start)
    bare = BareTrainer(build_model(tokenizer, start), bare_config)
    student = GuidanceTrainer(build_model(tokenizer, shipped), told, mute, config)
    known = {UNGUIDED: known_again(load_file(start)), SHIPPED: known_again(load_file(shipped))}
    begin(bare, {UNGUIDED: known[UNGUIDED]}, work / "bare.pt")
    begin(student, known, work / "guided.pt")
    train(bare, batches, work / "bare.pt")
    mute.load_state_dict(bare.model.state_dict())
    train(student, batches, work / "guided.pt")
    write_llm(student.model.state_dict(), folder.path)


if __name__ == "__main__":
    main(*sys.argv[1:])
