"""Step 8: writes the model folder that ships: configs, float16 weights, voices.

    python -m recipes.mini.export WORK_DIR [MODEL_DIR]

Takes the averaged language model (`llm.pt`), the codec of stage two (`codec_stage2.pt`) and, for
each named voice, the codes of one of its clips. The tokenizer and the pronouncing dictionary are
written by `build_tokenizer.py` and `build_pronunciations.py`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Container
from pathlib import Path

import torch
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.checkpoint import codec_fingerprint
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.proofing.listener import LISTENER_FILE
from fireredtts2.training.corpus import Row, is_held_out, read_codes, read_index
from fireredtts2.voices import Voice
from fireredtts2.weights import write_state
from recipes.mini.settings import settings
from recipes.mini.train_llm import MODEL

log = logging.getLogger(__name__)
STORED_TYPE = torch.float16
PROMPT_SECONDS = (3.0, 5.0)
PROMPT_KINDS = ("talk", "talk2")  # everyday words, which people read where voices are listed
#: A template that puts any three words together: nobody wants these for a voice.
NONSENSE = re.compile(r"We talked about the")
MAX_BYTES = 95_000_000


def stored(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Float tensors in the type that ships."""
    return {
        name: value.to(STORED_TYPE).contiguous() if value.is_floating_point() else value
        for name, value in state.items()
    }


def write_llm(state: dict[str, Tensor], model: Path) -> None:
    with atomic_path(model / "llm.safetensors") as temporary:
        write_state(temporary, stored(state))


def write_listener(work: Path, model: Path) -> None:
    """The listener of step 6, which hears whether a take says its text."""
    state = torch.load(work / "listener.pt", weights_only=True)
    with atomic_path(model / LISTENER_FILE) as temporary:
        write_state(temporary, stored(state))


def write_configs(model: Path, text_vocab_size: int) -> None:
    values = settings()
    trained_rows = values["train_llm"]["rows_per_sequence"]
    llm = {**values["llm"], "text_vocab_size": text_vocab_size, "trained_rows": trained_rows}
    contents = {
        "config_llm.json": {"llm_models": llm},
        "config_codec.json": {"codec": values["codec"]},
        "config_text.json": {"text": values["text"]},
    }
    for name, content in contents.items():
        (model / name).write_text(json.dumps(content, indent=2) + "\n")


def may_be_prompt(row: Row) -> bool:
    """Whether a clip is fit to be a voice: a named voice's everyday words, of the right length."""
    fits = PROMPT_SECONDS[0] <= row["samples"] / OUTPUT_RATE_HZ <= PROMPT_SECONDS[1]
    is_plain = not any(map(str.isdigit, row["text"])) and not NONSENSE.match(row["text"])
    is_named = not row["speaker"].startswith("blend") and "~" not in row["speaker"]
    is_said = row["kind"] in PROMPT_KINDS and not is_held_out(row["id"])
    return fits and is_plain and is_named and is_said


def voice_clips(work: Path, tokenised: Container[int]) -> dict[str, Row]:
    """One clip for each named voice; `choose_voices` looks for better ones."""
    candidates = defaultdict(list)
    for row in read_index(work).values():
        if may_be_prompt(row) and row["id"] in tokenised:
            candidates[row["speaker"]].append(row)
    # Everyday talk first, then the slowest reading: it leaves the clearest prompt.
    return {
        speaker: min(rows, key=lambda r: (PROMPT_KINDS.index(r["kind"]), r["speed"]))
        for speaker, rows in sorted(candidates.items())
    }


def write_voices(work: Path, model: Path, codec_id: str) -> None:
    codes = dict(read_codes(work))
    (model / "voices").mkdir(exist_ok=True)
    clips = voice_clips(work, codes)
    if not clips:
        log.warning(
            "%s: no voice is written: no clip of %s s of everyday words (kinds %s) is by a named "
            "voice, learnt from and tokenised",
            model,
            " to ".join(map(str, PROMPT_SECONDS)),
            ", ".join(PROMPT_KINDS),
        )
    for speaker, row in clips.items():
        voice = Voice(
            name=speaker,
            codes=torch.from_numpy(codes[row["id"]]).long(),
            text=row["text"],
            codec_id=codec_id,
            source_samples=row["samples"] * INPUT_RATE_HZ // OUTPUT_RATE_HZ,
        )
        voice.save(model / "voices" / f"{voice.name}.safetensors")


def main(work_dir: str, model_dir: str = str(MODEL)) -> None:
    work, model = Path(work_dir), Path(model_dir)
    codec = stored(torch.load(work / "codec_stage2.pt", weights_only=True)["average"])
    llm = torch.load(work / "llm.pt", weights_only=True)["average"]
    with atomic_path(model / "codec.safetensors") as temporary:
        write_state(temporary, codec)
    write_llm(llm, model)
    write_listener(work, model)
    write_configs(model, llm["text_embeddings.weight"].shape[0])
    write_voices(work, model, codec_fingerprint(codec))
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    print(f"{model}: {size / 1e6:.1f} MB")
    if size > MAX_BYTES:
        raise SystemExit(f"over the {MAX_BYTES / 1e6:.0f} MB that may ship")


if __name__ == "__main__":
    main(*sys.argv[1:])
