"""In place of step 4: begins from the weights that ship, so that training goes on from them.

    python -m recipes.mini.go_on WORK_DIR [MODEL_DIR]

Writes `codec_frozen.safetensors` and `llm_start.safetensors`. The encoder stays as it is, so voices
and codes made before stay good; decoder and language model begin where the shipped ones stand, with
new optimizers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.weights import write_state
from recipes.mini.train_llm import MODEL

STARTS = {"codec.safetensors": "codec_frozen", "llm.safetensors": "llm_start"}


def main(work_dir: str, model_dir: str = str(MODEL)) -> None:
    targets = {name: Path(work_dir) / f"{start}.safetensors" for name, start in STARTS.items()}
    states = {name: load_file(Path(model_dir) / name) for name in STARTS}
    for target in targets.values():
        if target.exists():
            raise SystemExit(f"{target} exists: training has begun here; choose an empty folder")
    for name, target in targets.items():
        with atomic_path(target) as temporary:
            write_state(temporary, in_float32(states[name]))


def in_float32(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as they ship in the type that is trained in."""
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
