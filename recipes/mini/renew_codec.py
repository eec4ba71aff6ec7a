"""In place of step 4: a new encoder that begins with the shipped one, and what lives on its codes.

    export FIREREDTTS2_RECIPE=recipes/mini/renew_codec.toml
    python -m recipes.mini.renew_codec WORK_DIR [SECONDS [MODEL_DIR]]

Stage one learns on from the codec in MODEL_DIR (`codec_stage1.pt`; a second run goes on from it).
All codes are then others, so decoder and language model could not go on from where they stand. They
are carried over as far as counting can do it, which spares them most of their way:
`codec_frozen.safetensors` has the shipped decoder behind a projection that turns new codes into
what it knows, `llm_start.safetensors` the shipped language model, in which each new code is the
average of the old ones that it stands for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.codec import RedCodec
from fireredtts2.codec.rvq import ResidualVQ
from fireredtts2.config import ENCODE_CHUNK_S, OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.codebook import set_projection
from fireredtts2.training.codec.start import fingerprint
from fireredtts2.training.corpus import is_held_out, read_index
from fireredtts2.weights import write_state
from recipes.mini.go_on import in_float32
from recipes.mini.settings import settings
from recipes.mini.tokenise import CHUNKS_AT_ONCE, FRAMES_PER_CHUNK, stage_one_state
from recipes.mini.train_codec import build_codec, run_stage_one
from recipes.mini.train_llm import MODEL

log = logging.getLogger(__name__)
COUNTED_FILES = 4  # features files in which old and new codes are compared
RIDGE = 1e-2  # in frames: against directions that hardly occur
UNSEEN = 2.0  # frames of any code, counted into each new code's row: for those that were never seen
#: What later steps make; beside a new codec it would be of the one before.
LATER_FILES = ("codes_*.npz", "heard_*.npz", "codec_stage2.pt", "listener.pt", "llm.pt")
SHIPPED_PARTS = ("upsample.", "acoustic_decoder.")
#: Old codes (N, Q) and new ones (N, Q) of the same frames.
Pairs = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Fit:
    """New values (N, D) times weight (out, D), plus bias (out,), are about the old ones (N, out).

    Attributes:
        r2: the share of the old values' variance that is explained.
    """

    weight: Tensor
    bias: Tensor
    r2: float


def shipped_codec(work: Path, model: Path) -> RedCodec:
    codec = build_codec(work)
    codec.load_state_dict(in_float32(load_file(model / "codec.safetensors")))
    return codec


# --- Comparing codes ------------------------------------------------------------------------------


@torch.inference_mode()
def paired_codes(old: RedCodec, new: RedCodec, work: Path) -> Pairs:
    """The codes of both codecs for frames of the first features files.

    Padding is left out, and so are the clips that nothing is learnt from.
    """
    samples = {clip: row["samples"] for clip, row in read_index(work).items()}
    pairs = [
        pair
        for path in sorted(work.glob("features_[0-9][0-9][0-9].npz"))[:COUNTED_FILES]
        for pair in _file_pairs(old, new, dict(np.load(path)), samples)
    ]
    before, after = zip(*pairs, strict=True)
    return torch.cat(before), torch.cat(after)


def _file_pairs(
    old: RedCodec, new: RedCodec, shard: dict[str, np.ndarray], samples: dict[int, int]
) -> Iterator[Pairs]:
    for first in range(0, len(shard["clip"]), CHUNKS_AT_ONCE):
        rows = slice(first, first + CHUNKS_AT_ONCE)
        mel = torch.from_numpy(shard["mel"][rows]).float()
        semantic = torch.from_numpy(shard["semantic"][rows]).float()
        left = [
            samples[int(clip)] - int(chunk) * ENCODE_CHUNK_S * OUTPUT_RATE_HZ
            for clip, chunk in zip(shard["clip"][rows], shard["chunk"][rows], strict=True)
        ]
        frames = -(-torch.tensor(left) // OUTPUT_SAMPLES_PER_FRAME)
        is_learnt = torch.tensor([not is_held_out(int(clip)) for clip in shard["clip"][rows]])
        live = (torch.arange(FRAMES_PER_CHUNK) < frames[:, None]) & is_learnt[:, None]
        before, after = (
            codec.rvq.encode(codec.encoded(mel, semantic).mT).mT[live] for codec in (old, new)
        )
        yield before, after


# --- The decoder ----------------------------------------------------------------------------------


@torch.inference_mode()
def fitted_projection(old: ResidualVQ, new: ResidualVQ, pairs: Pairs, heard: list[int]) -> Fit:
    """From the sum of the new entries to what the old decoder was given, by least squares.

    Args:
        old, new: the quantizers.
        pairs: codes of both.
        heard: numbers of codebooks that the decoder is to hear; the frames take turns.
    """
    before, after = pairs
    x, y = [], []
    for place, count in enumerate(heard):
        mine = slice(place, None, len(heard))
        entries = zip(new.levels[:count], after[mine].unbind(1), strict=False)
        x.append(torch.stack([level.lookup(codes[None])[0] for level, codes in entries]).sum(0).mT)
        y.append(old.decode(before[mine, :count].mT[None])[0].mT)
    inputs, wanted = torch.cat(x).double(), torch.cat(y).double()
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1).double()], dim=1)
    ridge = RIDGE * torch.eye(inputs.shape[1]).double()
    solution = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ wanted)
    left = (inputs @ solution - wanted).square().sum()
    r2 = 1 - float(left / (wanted - wanted.mean(0)).square().sum())
    return Fit(solution[:-1].T.float().contiguous(), solution[-1].float(), r2)


def carried_codec(old: RedCodec, new: RedCodec, fit: Fit) -> dict[str, Tensor]:
    """The new encoder and codebooks with the old decoder behind a fitted projection."""
    set_projection(new.rvq.output_proj, fit.weight, fit.bias)
    shipped = {k: v for k, v in old.state_dict().items() if k.startswith(SHIPPED_PARTS)}
    return {k: v.contiguous() for k, v in (new.state_dict() | shipped).items()}


# --- The language model ---------------------------------------------------------------------------


def stands_for(before: Tensor, after: Tensor, size: int) -> Tensor:
    """Shares (size, size): of the frames with a new code, those that each old code had.

    Index 0 stands for itself: a frame of zeros is the end of a turn, with old codes and with new.
    """
    counts = torch.bincount(after * size + before, minlength=size * size).reshape(size, size)
    counts[:, 0] = 0
    overall = counts.sum(0) / counts.sum()
    shares = (counts + UNSEEN * overall) / (counts.sum(1, keepdim=True) + UNSEEN)
    shares[0] = 0
    shares[0, 0] = 1
    return shares


def carried_llm(state: dict[str, Tensor], pairs: Pairs) -> dict[str, Tensor]:
    """Embeddings and heads of each new code as averages of the old ones that it stands for."""
    state = {name: value.clone() for name, value in state.items()}
    num_codebooks, size = len(state["audio_head"]) + 1, len(state["codebook0_head.weight"])
    for level in range(num_codebooks):
        shares = stands_for(pairs[0][:, level], pairs[1][:, level], size)
        rows = slice(level * size, (level + 1) * size)
        embeddings = state["audio_embeddings.weight"]
        embeddings[rows] = shares @ embeddings[rows]
        if level == 0:
            state["codebook0_head.weight"] = shares @ state["codebook0_head.weight"]
        else:
            state["audio_head"][level - 1] = state["audio_head"][level - 1] @ shares.T
    return state


# --- The step -------------------------------------------------------------------------------------


def carry_over(work: Path, model: Path) -> None:
    """Writes both starts from what stage one has learnt."""
    old, new = shipped_codec(work, model).eval(), build_codec(work).eval()
    new.load_state_dict(stage_one_state(work))
    pairs, heard = paired_codes(old, new, work), settings()["train_decoder"]["codebooks"]
    fit = fitted_projection(old.rvq, new.rvq, pairs, heard)
    log.info("%d frames; R2 of the shipped decoder's input %.2f", len(pairs[0]), fit.r2)
    llm = carried_llm(in_float32(load_file(model / "llm.safetensors")), pairs)
    states = {"llm_start": llm, "codec_frozen": carried_codec(old, new, fit)}
    for name, state in states.items():
        with atomic_path(work / f"{name}.safetensors") as temporary:
            write_state(temporary, state)


def check_folder(work: Path, begun: Path, codec: str) -> None:
    """Takes a folder for renewing one codec, told by its fingerprint.

    Raises:
        SystemExit: something else has begun there.
    """
    if begun.exists():
        if begun.read_text() != codec:
            raise SystemExit(f"{begun}: another codec's renewal began here; choose a new folder")
        return
    starts = ("codec_frozen.safetensors", "llm_start.safetensors", "codec_stage1.pt")
    found = [path.name for name in (*starts, *LATER_FILES) for path in sorted(work.glob(name))]
    if found:
        raise SystemExit(
            f"{work}: there is {found[0]}, so training has begun here; choose a folder where steps "
            "0 to 3 alone are done"
        )
    with atomic_path(begun) as temporary:
        temporary.write_text(codec)


def main(work_dir: str, seconds: str | None = None, model_dir: str = str(MODEL)) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, model = Path(work_dir), Path(model_dir)
    begun = work / "renewed_from.txt"
    if begun.exists() and (work / "codec_frozen.safetensors").exists():
        log.info("%s: the codec is renewed already", work)
        return
    codec = shipped_codec(work, model)
    check_folder(work, begun, fingerprint(codec.state_dict().items()))
    torch.manual_seed(0)
    if run_stage_one(codec, work, seconds):
        carry_over(work, model)
    else:
        log.info("stage one has not ended: run this again to go on")


if __name__ == "__main__":
    main(*sys.argv[1:])
