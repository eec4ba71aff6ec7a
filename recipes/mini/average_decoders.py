"""After step 6, where several runs of the decoder began alike: one decoder of their averages.

    python -m recipes.mini.average_decoders OUT RUN RUN [RUN ...]

Where runs began with the same weights, the mean of theirs may be better than each of them (model
soups: Wortsman et al. 2022). RUN and OUT are files as `codec_stage2.pt`; of OUT, only what `export`
reads is there: the averaged weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.training.codec.decoding_parts import DECODING_PARTS

#: Beginnings of the keys that a run of the decoder trains; the rest is the same in all of them.
TRAINED = tuple(f"{part}." for part in DECODING_PARTS)


def averaged(states: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of codecs' weights, by the names of their files.

    Raises:
        ValueError: their encoders or codebooks differ: they do not decode the same codes.
    """
    (first, state), *others = states.items()
    for name, other in others:
        if other.keys() != state.keys():
            raise ValueError(f"{name}: its codec is of another shape than that of {first}")
        for key, value in state.items():
            if not key.startswith(TRAINED) and not torch.equal(value, other[key]):
                raise ValueError(f"{name}: {key} differs from that of {first}; it has other codes")
    return {
        key: torch.stack([one[key] for one in states.values()]).mean(0)
        if key.startswith(TRAINED) and value.is_floating_point()
        else value
        for key, value in state.items()
    }


def main(out: str, *runs: str) -> None:
    if len(set(runs)) < 2:
        raise SystemExit(f"{len(set(runs))} runs given; expected two or more")
    states = {run: torch.load(run, weights_only=True, mmap=True)["average"] for run in runs}
    with atomic_path(Path(out)) as temporary:
        torch.save({"average": averaged(states)}, temporary)


if __name__ == "__main__":
    main(*sys.argv[1:])
