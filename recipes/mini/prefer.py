"""Step 11: the language model learns from its own takes: the better of two becomes likelier.

    python -m recipes.mini.prefer WORK_DIR [MODEL_DIR [SECONDS]]

Reads the `takes_NNN.jsonl` of step 10 and the language model that spoke them; writes
`WORK_DIR/preferred.pt`, from which a second run goes on, and in the end the language model into
MODEL_DIR, in place of the one that spoke.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.preference import Pair, PreferenceConfig, PreferenceTrainer
from fireredtts2.training.run import run
from recipes.mini.casting import PromptRows, Said, Task
from recipes.mini.export import write_llm
from recipes.mini.settings import settings
from recipes.mini.train_llm import MODEL

log = logging.getLogger(__name__)
#: What wrong characters weigh beside the cosine: one in ten is worth 0.1.
ERROR_WEIGHT = 1.0
RAN_AWAY = -1.0 - ERROR_WEIGHT
#: Takes nearer to one another than this are alike.
MIN_GAP = 0.06


def score(take: dict[str, Any]) -> float:
    """How good a take is; one without an end is worse than any other."""
    if take["ran_away"]:
        return RAN_AWAY
    return float(take["cosine"] - ERROR_WEIGHT * min(1.0, take["errors"]))


def read_lines(work: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(work.glob("takes_[0-9][0-9][0-9].jsonl")):
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def pairs_of(lines: Iterator[dict[str, Any]], prompts: PromptRows) -> list[Pair]:
    """The best and the worst take of each text, where they differ."""
    pairs = []
    for line in lines:
        ranked = sorted(line["takes"], key=score)
        worst, best = ranked[0], ranked[-1]
        if score(best) - score(worst) < MIN_GAP or best["ran_away"]:
            continue
        said = [Said(tag, text, torch.tensor(codes)) for tag, text, codes in line["said"]]
        prompt = prompts.of(Task(line["text"], line["tag"], line["speaker"], said))
        pairs.append(Pair(prompt, codes_of(best), codes_of(worst)))
    return pairs


def codes_of(take: dict[str, Any]) -> Tensor:
    return torch.tensor(take["codes"], dtype=torch.long)


def whole_model(folder: CheckpointFolder) -> DualTransformer:
    """The language model with the head that only training uses, in float32."""
    model = DualTransformer(folder.llm_config)
    model.load_state_dict(
        {name: value.float() for name, value in folder.read_llm("dialogue").items()}
    )
    return model


def main(work_dir: str, model_dir: str = str(MODEL), seconds: str = "inf") -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, folder = Path(work_dir), CheckpointFolder(model_dir)
    config = replace(PreferenceConfig(**settings()["prefer"]), max_seconds=float(seconds))
    pairs = pairs_of(read_lines(work), PromptRows(folder))
    trainer = PreferenceTrainer(whole_model(folder), pairs, config)
    out = work / "preferred.pt"
    if out.exists():
        trainer.load(torch.load(out, weights_only=True))
    log.info("%d pairs, %d steps", len(pairs), trainer.total_steps)
    run(trainer, trainer.step, trainer, out, log_every=10)
    if trainer.step_count == trainer.total_steps:
        write_llm(trainer.model.state_dict(), Path(model_dir))


if __name__ == "__main__":
    main(*sys.argv[1:])
