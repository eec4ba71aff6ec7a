"""Step 6, the listener: a larger aligner, over clips as the codec gives them back.

    python -m recipes.mini.train_listener WORK_DIR

A take comes out of the codec's decoder, which blurs some sounds: an ear that knows recordings alone
has not learnt what is clear there. Writes `heard_NNN.npz` for the first codes files (clip ids,
offsets (clips + 1,) and semantic (steps, 384) float16, Whisper's features of each clip decoded) and
`listener.pt`. A second run goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from fireredtts2.atomic_file import atomic_path
from fireredtts2.audio import resample
from fireredtts2.codec import RedCodec
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.training.corpus import read_codes, read_index
from recipes.mini.align import PRONUNCIATIONS, Clip, clip_units, trained_by_ctc
from recipes.mini.settings import settings
from recipes.mini.tokenise import frozen_codec

TRAINING_FILES = 4
NUM_STEPS = 2000
HIDDEN_DIM, NUM_BLOCKS = 256, 4


def trained_codec(work: Path) -> RedCodec:
    """The codec with the decoder of stage two."""
    codec = frozen_codec(work)
    codec.load_state_dict(torch.load(work / "codec_stage2.pt", weights_only=True)["average"])
    return codec.eval()


@torch.inference_mode()
def heard(codec: RedCodec, codes: np.ndarray) -> np.ndarray:
    """What Whisper hears (steps, dim) float16 in codes (Q, frames) once they are decoded."""
    made = codec.decode(torch.from_numpy(codes.astype(np.int64))[None])[0].flatten()
    features = codec.semantic(resample(made.float(), OUTPUT_RATE_HZ, INPUT_RATE_HZ))
    return features.half().numpy()


def hear(codec: RedCodec, clips: dict[int, np.ndarray], target: Path) -> None:
    """Writes what is heard in clips, given by their codes."""
    features = [heard(codec, codes) for codes in clips.values()]
    partial = target.with_suffix(".part.npz")
    np.savez(
        partial,
        clip=np.array(list(clips)),
        offsets=np.array([0, *accumulate(map(len, features))]),
        semantic=np.concatenate(features),
    )
    partial.rename(target)
    print(target.name, flush=True)


def heard_clips(path: Path, units: dict[int, str]) -> Iterator[Clip]:
    """The clips of a file whose text has units."""
    file = np.load(path)
    semantic, bounds = torch.from_numpy(file["semantic"]), file["offsets"]
    for place, clip in enumerate(file["clip"].tolist()):
        features = semantic[bounds[place] : bounds[place + 1]]
        if units[clip]:
            yield Clip(clip, units[clip], 0, features, np.zeros(len(features), bool))


def main(work_dir: str, pronunciations: str = PRONUNCIATIONS) -> None:
    work = Path(work_dir)
    target = work / "listener.pt"
    if target.exists():
        return
    codec, num_codebooks = trained_codec(work), settings()["llm"]["audio_num_codebooks"]
    codes = {clip: codes[:num_codebooks] for clip, codes in read_codes(work)}
    units = clip_units(read_index(work), pronunciations)
    clips: list[Clip] = []
    for path in sorted(work.glob("codes_[0-9][0-9][0-9].npz"))[:TRAINING_FILES]:
        mine = work / path.name.replace("codes", "heard")
        if not mine.exists():
            hear(codec, {clip: codes[clip] for clip in np.load(path)["clip"].tolist()}, mine)
        clips += heard_clips(mine, units)
    # By CTC alone: where sounds begin and end does not matter here.
    model = trained_by_ctc(clips, NUM_STEPS, HIDDEN_DIM, NUM_BLOCKS)
    with atomic_path(target) as temporary:
        torch.save(model.state_dict(), temporary)


if __name__ == "__main__":
    main(*sys.argv[1:])
