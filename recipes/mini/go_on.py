"""Instead of step 3: begins from the weights that ship, so that training goes on from them.

    python -m recipes.mini.go_on WORK_DIR [MODEL_DIR]

Writes `codec_frozen.safetensors` and `llm_start.safetensors`. The encoder stays as it is, so voices
and codes made before stay good; decoder and language model begin where the shipped ones stand, with
new optimizers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from recipes.mini.train_llm import MODEL

STARTS = {"codec.safetensors": "codec_frozen", "llm.safetensors": "llm_start"}


def main(work_dir: str, model_dir: str = str(MODEL)) -> None:
    for shipped, start in STARTS.items():
        target = Path(work_dir) / f"{start}.safetensors"
        if target.exists():
            raise SystemExit(f"{target} exists: training has begun here; choose an empty folder")
        state = load_file(Path(model_dir) / shipped)
        save_file({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
