"""Step 7: the language model, over the codes of step 5 and the alignments of step 3.

    python -m recipes.mini.train_llm WORK_DIR [SECONDS]

Writes `WORK_DIR/llm.pt`; a second run goes on from it.
"""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import load_file

from fireredtts2.config import LLMConfig
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.pronunciation import Pronouncer
from fireredtts2.training.corpus import is_held_out, read_codes, read_index
from fireredtts2.training.llm_data import NUM_TAGS, Clip, Composer, TextMarks
from fireredtts2.training.train_llm import LlmTrainConfig, LlmTrainer, train
from recipes.mini.align import load_alignments, normalized
from recipes.mini.settings import run_settings, settings

MODEL = Path(__file__).parents[2] / "fireredtts2" / "models" / "mini"
SPELT_CLIPS = 0.12  # share of clips heard a second time with some words spelt by letters
SPELT_WORDS = 0.3

log = logging.getLogger(__name__)


def load_clips(
    work: Path,
    tokenizer: TextTokenizer,
    held_out: bool = False,
    times: Mapping[str, int] = MappingProxyType({}),
) -> list[Clip]:
    """Every clip that has codes and an alignment; those of a kind in `times` that often."""
    pronouncer = Pronouncer.from_file(MODEL / "pronunciations.txt.gz")
    rng = random.Random(0)
    num_codebooks = settings()["llm"]["audio_num_codebooks"]
    codes, alignments = dict(read_codes(work)), load_alignments(work)
    clips = []
    for clip_id, row in read_index(work).items():
        if is_held_out(clip_id) != held_out or clip_id not in codes or clip_id not in alignments:
            continue
        units, spoken = alignments[clip_id]
        kept = torch.from_numpy(codes[clip_id][:num_codebooks]).long()
        clip = Clip(row["speaker"], tokenizer.encode(units), kept, spoken)
        clips += [clip] * times.get(row["kind"], 1)
        if not held_out and rng.random() < SPELT_CLIPS and not any(map(str.isdigit, row["text"])):
            spelt = pronouncer.to_units(normalized(row), spell_probability=SPELT_WORDS, rng=rng)
            clips.append(replace(clip, text_ids=tokenizer.encode(spelt), spoken=None))
    return clips


def text_marks(tokenizer: TextTokenizer) -> TextMarks:
    """Ids of [S1] to [S4] and of the marks around a text."""
    tags = tuple(tokenizer.encode(f"[S{n + 1}]")[0] for n in range(NUM_TAGS))
    (start,), (end,) = tokenizer.encode("<|text_start|>"), tokenizer.encode("<|text_end|>")
    return TextMarks(tags, start, end)


def build_model(tokenizer: TextTokenizer, start: Path | None = None) -> DualTransformer:
    """The dual transformer of config.toml with fresh weights, or those of a safetensors file."""
    values = settings()["llm"]
    config = LLMConfig.from_dict({**values, "text_vocab_size": tokenizer.vocab_size})
    model = DualTransformer(config)
    model.init_weights(torch.Generator().manual_seed(0))
    if start is not None:
        model.load_state_dict(load_file(start))
    return model


def main(work_dir: str, seconds: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, out = Path(work_dir), Path(work_dir) / "llm.pt"
    tokenizer = TextTokenizer.from_folder(MODEL / "tokenizer")
    config = run_settings(LlmTrainConfig, "train_llm", seconds)
    start = work / "llm_start.safetensors"
    model = build_model(tokenizer, start if start.exists() else None)
    clips = load_clips(work, tokenizer)
    composer = Composer(clips, text_marks(tokenizer))
    log.info("%d clips, %d speakers", len(clips), len(composer.speakers))
    trainer = LlmTrainer(model, config, len(composer.speakers))
    if out.exists():
        trainer.load(torch.load(out, weights_only=True))
    train(trainer, composer, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
