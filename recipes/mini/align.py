"""Step 3: which unit of its text each codec frame of a clip speaks, and the sound of every 20 ms.

    python -m recipes.mini.align WORK_DIR [PRONUNCIATIONS]

Trains the aligner on the first features files (or loads `align_model.pt`), then writes for every
features file an `align_NNN.npz`: clip ids; units, the text of each clip as the model reads it;
offsets (clips + 1,) into unit_index (frames,) int16, one clip after the other; step_offsets
(clips + 1,) into step_class (steps,) int16, the class of each 20 ms; confidence (clips,); left_out
and left_out_units, the ids and texts of clips that could not be aligned.
A later run adds the files that are missing, or whose units are not what the text front end now
gives.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from fireredtts2.atomic_file import atomic_path
from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.english.number_words import Reading
from fireredtts2.normalize import normalize
from fireredtts2.pronunciation import Pronouncer
from fireredtts2.proofing.ctc_aligner import CtcAligner, best_path, sound_classes
from fireredtts2.training.corpus import Row, is_held_out, open_samples, read_index
from recipes.mini.unit_times import sound_errors, step_classes, unit_at, unit_starts

PRONUNCIATIONS = "fireredtts2/models/mini/pronunciations.txt.gz"
SAMPLES_PER_STEP = OUTPUT_RATE_HZ // 50
STEPS_PER_FRAME = OUTPUT_SAMPLES_PER_FRAME // SAMPLES_PER_STEP
QUIET_DB = -38.0  # below the loud parts of the clip
TRAINING_FILES = 3
CTC_STEPS = 700
BORDER_STEPS = 250
CLIPS_PER_STEP = 16
LEARNING_RATE = 2e-3
MIN_CONFIDENCE = 0.5

Alignments = dict[int, tuple[str, np.ndarray]]
Sounds = dict[int, np.ndarray]


@dataclass
class Clip:
    """features (T, 384) float16 and is_quiet (T,) in steps of 20 ms."""

    id: int
    units: str
    num_frames: int
    features: Tensor
    is_quiet: np.ndarray


def load_alignments(work_dir: str | Path) -> Alignments:
    """Reads by clip id: units, and for each codec frame the index (frames,) int16 of its unit."""
    found: Alignments = {}
    for path in sorted(Path(work_dir).glob("align_[0-9][0-9][0-9].npz")):
        file = np.load(path)
        bounds, index = file["offsets"], file["unit_index"]
        for row, (clip, units) in enumerate(zip(file["clip"], file["units"], strict=True)):
            found[int(clip)] = (str(units), index[bounds[row] : bounds[row + 1]])
    return found


def load_sounds(work_dir: str | Path) -> Sounds:
    """Reads by clip id the class (steps,) int16 of every 20 ms.

    Raises:
        ValueError: a features file has no alignments, or ones of an earlier version.
    """
    found: Sounds = {}
    for features in sorted(Path(work_dir).glob("features_[0-9][0-9][0-9].npz")):
        path = features.with_name(features.name.replace("features", "align"))
        file = dict(np.load(path)) if path.exists() else {}
        if "step_class" not in file:
            raise ValueError(f"{path}: no sounds of every 20 ms there; run recipes.mini.align")
        bounds, classes = file["step_offsets"], file["step_class"]
        for row, clip in enumerate(file["clip"].tolist()):
            found[clip] = classes[bounds[row] : bounds[row + 1]]
    return found


def clip_units(rows: dict[int, dict], pronunciations: str) -> dict[int, str]:
    """The text of each clip as the language model reads it; "" where nothing is to be heard."""
    pronouncer = Pronouncer.from_file(pronunciations)
    found = {}
    for clip, row in rows.items():
        units = pronouncer.to_units(normalized(row))
        found[clip] = units if len(sound_classes(units)) else ""
    return found


def normalized(row: Row) -> str:
    """A clip's text with numbers and signs as its voice reads them out."""
    reading = Reading(hundred_and=row["style"].startswith("b"), ordinal_days=False)
    return normalize(row["text"], reading)


def quiet_steps(audio: np.ndarray) -> np.ndarray:
    """Whether each 20 ms step of (samples,) int16 is silent beside the clip's loud parts."""
    num = -(-len(audio) // SAMPLES_PER_STEP)
    padded = np.zeros(num * SAMPLES_PER_STEP)
    # NOTE: Whisper's steps are centred on multiples of 20 ms, hence half a step of zeros.
    half = SAMPLES_PER_STEP // 2
    padded[half : half + len(audio)] = audio[: len(padded) - half]
    power = (padded.reshape(num, -1) ** 2).mean(1) + 1.0
    return 10 * np.log10(power / np.quantile(power, 0.95)) < QUIET_DB


def read_clips(
    path: Path, rows: dict[int, dict], units: dict[int, str], audio: np.ndarray
) -> Iterator[Clip]:
    """The clips of a features file whose text has units."""
    file = np.load(path)
    semantic, ids = torch.from_numpy(file["semantic"]), file["clip"]
    for clip in dict.fromkeys(ids.tolist()):
        if units[clip]:
            row = rows[clip]
            is_quiet = quiet_steps(audio[row["offset"] : row["offset"] + row["samples"]])
            features = semantic[torch.from_numpy(ids == clip)].flatten(0, 1)[: len(is_quiet)]
            num_frames = -(-row["samples"] // OUTPUT_SAMPLES_PER_FRAME)
            yield Clip(clip, units[clip], num_frames, features.clone(), is_quiet)


def log_probs_of(model: CtcAligner, clips: list[Clip]) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, T, classes) of a batch, and the lengths (B,)."""
    lengths = torch.tensor([len(clip.features) for clip in clips])
    features = pad_sequence([clip.features for clip in clips], batch_first=True)
    return model(features.float(), lengths), lengths


def ctc_loss(model: CtcAligner, clips: list[Clip]) -> Tensor:
    log_probs, lengths = log_probs_of(model, clips)
    targets = [torch.from_numpy(sound_classes(clip.units)) for clip in clips]
    return F.ctc_loss(
        log_probs.transpose(0, 1),
        torch.cat(targets),
        lengths,
        torch.tensor([len(target) for target in targets]),
        zero_infinity=True,
    )


def border_loss(model: CtcAligner, clips: list[Clip], classes: dict[int, np.ndarray]) -> Tensor:
    """Cross-entropy against the classes (T,) of each clip's steps."""
    log_probs, _ = log_probs_of(model, clips)
    targets = [torch.from_numpy(classes[clip.id]) for clip in clips]
    return F.nll_loss(log_probs.mT, pad_sequence(targets, True, -100))


def train(
    model: CtcAligner, loss: Callable[[list[Clip]], Tensor], clips: list[Clip], num_steps: int
) -> float:
    """Takes steps of falling size and returns the mean loss of the last tenth of them.

    Raises:
        ValueError: there are no clips.
    """
    if not clips:
        raise ValueError("no clip to learn the alignment from: none that is not held out has units")
    rng = random.Random(0)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, num_steps)
    last: list[float] = []
    while len(last) < num_steps:
        for batch in _batches(clips, rng)[: num_steps - len(last)]:
            value = loss(batch)
            optimizer.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            last.append(value.item())
    return float(np.mean(last[-max(1, num_steps // 10) :]))


def _batches(clips: list[Clip], rng: random.Random) -> list[list[Clip]]:
    """Random batches of clips of about the same length."""
    order = sorted(clips, key=lambda clip: len(clip.features) * rng.uniform(0.8, 1.25))
    batches = [order[i : i + CLIPS_PER_STEP] for i in range(0, len(order), CLIPS_PER_STEP)]
    rng.shuffle(batches)
    return batches


@torch.inference_mode()
def align(model: CtcAligner, clips: list[Clip]) -> Iterator[tuple[Clip, np.ndarray, float]]:
    """The clips that can be aligned, with the starts (units,) in steps, and the confidence."""
    for batch in _batches(clips, random.Random(0)):
        log_probs, _ = log_probs_of(model, batch)
        for clip, row in zip(batch, log_probs.numpy(), strict=True):
            spans, best = best_path(row[: len(clip.features)], sound_classes(clip.units))
            if len(best):
                confidence = float(np.exp(best).mean())
                yield clip, unit_starts(clip.units, spans, clip.is_quiet), confidence


@torch.inference_mode()
def error_rate(model: CtcAligner, clips: list[Clip]) -> float:
    """Wrong, missing and extra sounds of a greedy reading, in parts of the sounds; NaN of none."""
    errors, total = 0, 0
    for batch in _batches(clips, random.Random(0)):
        log_probs, _ = log_probs_of(model, batch)
        for clip, row in zip(batch, log_probs.numpy(), strict=True):
            classes = sound_classes(clip.units)
            errors += sound_errors(row[: len(clip.features)], classes)
            total += len(classes)
    return errors / total if total else math.nan


def split(clips: list[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Clips to learn from, and those that are held out."""
    learnt = [clip for clip in clips if not is_held_out(clip.id)]
    return learnt, [clip for clip in clips if is_held_out(clip.id)]


def trained_by_ctc(clips: list[Clip], num_steps: int, *sizes: int) -> CtcAligner:
    """A new network of these sizes, trained by CTC."""
    torch.manual_seed(0)
    model = CtcAligner(clips[0].features.shape[1], *sizes)
    learnt, held_out = split(clips)
    loss = train(model, lambda batch: ctc_loss(model, batch), learnt, num_steps)
    print(f"ctc: loss {loss:.3f}, errors {error_rate(model, held_out):.1%}", flush=True)
    return model


def train_aligner(clips: list[Clip]) -> CtcAligner:
    """Trains by CTC, then on the borders that its own alignment gives."""
    began = time.process_time()
    model = trained_by_ctc(clips, CTC_STEPS)
    learnt, held_out = split(clips)
    classes = {
        clip.id: step_classes(clip.units, starts, clip.is_quiet)
        for clip, starts, _ in align(model, learnt)
    }
    learnt = [clip for clip in learnt if clip.id in classes]
    loss = train(model, lambda batch: border_loss(model, batch, classes), learnt, BORDER_STEPS)
    print(f"borders: loss {loss:.3f}, errors {error_rate(model, held_out):.1%}", flush=True)
    print(f"{time.process_time() - began:.0f} s of processor time")
    return model


def frame_centres(num_frames: int) -> np.ndarray:
    """The middle (num_frames,) of each codec frame, in steps; step 0 is centred on 0 s."""
    return (np.arange(num_frames) + 0.5) * STEPS_PER_FRAME + 0.5


def is_up_to_date(target: Path, units: dict[int, str]) -> bool:
    """Whether a file was written from the units that the clips have now."""
    if not target.exists():
        return False
    file = np.load(target)
    if "step_class" not in file:  # of an earlier version
        return False
    done = dict(zip(file["clip"].tolist(), file["units"].tolist(), strict=True))
    done |= dict(zip(file["left_out"].tolist(), file["left_out_units"].tolist(), strict=True))
    return done == {clip: text for clip, text in units.items() if text}


def write_alignment(target: Path, model: CtcAligner, clips: list[Clip]) -> None:
    found = [row for row in align(model, clips) if row[2] >= MIN_CONFIDENCE]
    if not found:
        raise ValueError(f"{target.name}: no clip reaches a confidence of {MIN_CONFIDENCE}")
    found.sort(key=lambda row: row[0].id)
    aligned = {clip.id for clip, _, _ in found}
    others = sorted({clip.id: clip.units for clip in clips if clip.id not in aligned}.items())
    indices = [unit_at(starts, frame_centres(clip.num_frames)) for clip, starts, _ in found]
    classes = [step_classes(clip.units, starts, clip.is_quiet) for clip, starts, _ in found]
    partial = target.with_suffix(".part.npz")
    np.savez(
        partial,
        clip=np.array([clip.id for clip, _, _ in found]),
        units=np.array([clip.units for clip, _, _ in found]),
        offsets=np.cumsum([0, *map(len, indices)]),
        unit_index=np.concatenate(indices),
        step_offsets=np.cumsum([0, *map(len, classes)]),
        step_class=np.concatenate(classes).astype(np.int16),
        confidence=np.array([confidence for _, _, confidence in found], np.float32),
        left_out=np.array([clip for clip, _ in others], np.int64),
        left_out_units=np.array([text for _, text in others], str),
    )
    partial.rename(target)
    sure = np.mean([confidence for _, _, confidence in found])
    print(f"{target.name}: {len(found)} of {len(clips)} clips, confidence {sure:.3f}", flush=True)


def main(work_dir: str, pronunciations: str = PRONUNCIATIONS) -> None:
    work = Path(work_dir)
    rows = read_index(work)
    units = clip_units(rows, pronunciations)
    audio = open_samples(work)
    paths = sorted(work.glob("features_[0-9][0-9][0-9].npz"))
    weights = work / "align_model.pt"
    if not weights.exists():
        clips = [clip for p in paths[:TRAINING_FILES] for clip in read_clips(p, rows, units, audio)]
        with atomic_path(weights) as temporary:
            torch.save(train_aligner(clips).state_dict(), temporary)
    model = CtcAligner().eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    for path in paths:
        target = work / path.name.replace("features", "align")
        mine = {clip: units[clip] for clip in set(np.load(path)["clip"].tolist())}
        if not is_up_to_date(target, mine):
            write_alignment(target, model, list(read_clips(path, rows, units, audio)))


if __name__ == "__main__":
    main(*sys.argv[1:])
