"""Step 10: takes of new texts by the model, judged by what they say and whom they sound like.

    python -m recipes.mini.takes WORK_DIR SENTENCES_JSONL_XZ [MODEL_DIR [FIRST STEP]]

Speaks every new text a few times, decodes and judges each take: the characters that Whisper tiny.en
hears wrongly (the evaluation listens with another model, Whisper base), and the cosine to
recordings of the voice. Writes `takes_NNN.jsonl`, a line for each text, for `prefer`. A second run
goes on where it stopped; processes that begin at FIRST 0, 1, ... with the same STEP share the work.
Needs the evaluation extra.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.engine.loading import load_codec, load_llm
from fireredtts2.evaluation.asr import whisper_normalizer
from fireredtts2.evaluation.clips import for_judges
from fireredtts2.evaluation.metrics import char_errors
from fireredtts2.evaluation.short_clips import ShortClipTranscriber
from fireredtts2.evaluation.speaker import ResemblyzerEncoder, VoiceProfile
from fireredtts2.llm.kv_cache import KVCache
from fireredtts2.llm.prompt import Rows, frame_rows, pad_rows
from fireredtts2.llm.sampling import Sampler, SamplingParams
from fireredtts2.narration.pace import Pace
from fireredtts2.training.corpus import Row, is_held_out, open_samples, read_index, sound
from recipes.mini.casting import Casting, PromptRows, Task, new_texts
from recipes.mini.fetch_whisper import WHISPER_FOLDER
from recipes.mini.train_llm import MODEL

log = logging.getLogger(__name__)

TAKES = 4  # of each text
TEXTS_PER_BLOCK = 48
PROMPTS_AT_ONCE = 8
#: Hotter than what ships: takes must differ.
SAMPLING = SamplingParams(temperature=0.7, topk=20, depth_temperature=0.5, depth_topk=10)
RECORDINGS = 5  # of a voice, to compare with
MIN_RECORDING_S = 1.5
MAX_FRAMES = 190
CPU = torch.device("cpu")


class TakeSpeaker:
    """Speaks many prompts at once.

    Args:
        folder: of the checkpoint.
    """

    def __init__(self, folder: CheckpointFolder) -> None:
        self.llm = load_llm(folder, "dialogue", CPU, torch.float32)
        self.codec = load_codec(folder, folder.read_codec(), CPU)

    @torch.inference_mode()
    def takes(
        self, prompts: Sequence[Rows], limits: Sequence[int], count: int, seed: int
    ) -> list[list[Tensor]]:
        """Codes (Q, T) of `count` takes of each prompt; what does not end is cut at its limit."""
        total = count * len(prompts)
        longest = max(map(len, prompts))
        cache = self.llm.new_cache(total, longest + max(limits) + 1)
        state = self._read(prompts, cache)
        for row in range(len(prompts), total):
            source = row % len(prompts)
            cache.copy_rows(source, row, len(prompts[source]))
        generators = [torch.Generator().manual_seed(seed + row) for row in range(total)]
        size = self.codec.config.rvq.codebook_size
        sampler = Sampler([SAMPLING] * total, generators, size)
        frames = [self.llm.draw_frame(state.repeat(count, 1), sampler)]
        bounds = torch.tensor(limits).repeat(count)
        ended = ~frames[0].any(-1)
        while not (ended | (len(frames) >= bounds)).all():
            frames.append(self.llm.next_frame(*frame_rows(frames[-1]), cache, sampler))
            ended |= ~frames[-1].any(-1)
        spoken = torch.stack(frames, 2).unflatten(0, (count, -1)).transpose(0, 1)
        return [
            [until_end(codes, limit) for codes in takes]
            for takes, limit in zip(spoken, limits, strict=True)
        ]

    def _read(self, prompts: Sequence[Rows], cache: KVCache) -> Tensor:
        """Fills the cache's first rows; the state (B, D) after each prompt."""
        states = []
        for first in range(0, len(prompts), PROMPTS_AT_ONCE):
            tokens, mask, counts = pad_rows(prompts[first : first + PROMPTS_AT_ONCE])
            rows = cache.rows(first, first + len(counts))
            states.append(self.llm.extend(tokens, mask, rows, counts))
        return torch.cat(states)

    @torch.inference_mode()
    def sound(self, codes: Tensor) -> np.ndarray:
        """Codes (Q, T) to audio at 24 kHz."""
        if not codes.shape[1]:
            return np.zeros(0, np.float32)
        return self.codec.decode(codes[None])[0].numpy()


def until_end(codes: Tensor, limit: int) -> Tensor:
    """Codes (Q, T) up to the first frame of zeros, and at most `limit` of them."""
    ends = (~codes.any(0)).nonzero()
    return codes[:, : min(int(ends[0]) if len(ends) else codes.shape[1], limit)]


class TakeJudge:
    """What takes say, and whom they sound like.

    Args:
        work: the recipe's folder; the Whisper of `fetch_whisper` listens.
    """

    def __init__(self, work: Path) -> None:
        self.transcriber = ShortClipTranscriber(work / WHISPER_FOLDER)
        self.normalize = whisper_normalizer()
        self.encoder = ResemblyzerEncoder()
        self.samples = open_samples(work)
        self.rows: dict[str, list[Row]] = {}
        for row in read_index(work).values():
            if row["samples"] >= MIN_RECORDING_S * OUTPUT_RATE_HZ and not is_held_out(row["id"]):
                self.rows.setdefault(row["speaker"], []).append(row)
        self.profile = lru_cache(maxsize=None)(self._profile)

    def heard(self, sounds: Sequence[np.ndarray]) -> list[str]:
        """What is said in audio at 24 kHz."""
        return self.transcriber.transcribe([for_judges(one, OUTPUT_RATE_HZ) for one in sounds])

    def judged(self, audio: np.ndarray, heard: str, text: str, speaker: str) -> dict[str, Any]:
        """Errors for each character of the text, and the cosine to the voice."""
        hypothesis = self.normalize(heard)
        errors = char_errors(self.normalize(text), hypothesis).rate
        near = 0.0
        if len(audio):
            embedding = self.encoder.embed(for_judges(audio, OUTPUT_RATE_HZ))
            near = self.profile(speaker).similarity(embedding)
        return {"errors": round(errors, 4), "cosine": round(near, 4), "heard": hypothesis}

    def _profile(self, speaker: str) -> VoiceProfile:
        rows = self.rows[speaker]
        chosen = rows[:: max(1, len(rows) // RECORDINGS)][:RECORDINGS]
        own = [self.encoder.embed(for_judges(self._recording(r), OUTPUT_RATE_HZ)) for r in chosen]
        return VoiceProfile(speaker, np.stack(own), "recordings")

    def _recording(self, row: Row) -> np.ndarray:
        begin = row["offset"]
        return sound(self.samples, begin, begin + row["samples"], row["samples"])


def spoken_block(
    tasks: Sequence[Task],
    prompts: PromptRows,
    speaker: TakeSpeaker,
    judge: TakeJudge,
    pace: Pace,
    block: int,
) -> list[dict[str, Any]]:
    """A line for each task: prompt, takes, and what the judges say of them."""
    tasks = sorted(tasks, key=lambda task: len(prompts.of(task)))  # little padding
    rows = [prompts.of(task) for task in tasks]
    limits = [pace.max_frames(prompts.frontend.prepare(task.text), MAX_FRAMES) for task in tasks]
    spoken = speaker.takes(rows, limits, TAKES, seed=block * TAKES * TEXTS_PER_BLOCK)
    audio = [[speaker.sound(codes) for codes in takes] for takes in spoken]
    heard = iter(judge.heard([sound for sounds in audio for sound in sounds]))
    lines = []
    for task, codes_of_takes, sounds, limit in zip(tasks, spoken, audio, limits, strict=True):
        takes = [
            {
                "codes": codes.tolist(),
                "ran_away": codes.shape[1] >= limit,
                **judge.judged(sound, next(heard), task.text, task.speaker),
            }
            for codes, sound in zip(codes_of_takes, sounds, strict=True)
        ]
        said = [[one.tag, one.text, one.codes.tolist()] for one in task.said]
        lines.append(
            {"text": task.text, "tag": task.tag, "speaker": task.speaker, "said": said,
             "takes": takes}
        )  # fmt: skip
    return lines


def means(lines: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Of errors and of cosines over all takes."""
    takes = [take for line in lines for take in line["takes"]]
    errors = [min(1.0, take["errors"]) for take in takes]
    return float(np.mean(errors)), float(np.mean([take["cosine"] for take in takes]))


def main(
    work_dir: str, sentences: str, model_dir: str = str(MODEL), first: str = "0", step: str = "1"
) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    work, folder = Path(work_dir), CheckpointFolder(model_dir)
    casting, prompts, speaker = Casting(work, folder), PromptRows(folder), TakeSpeaker(folder)
    judge = TakeJudge(work)
    pace = Pace(folder.text_config.max_frames_per_unit)
    texts = new_texts(Path(sentences), work, judge.normalize)
    np.random.default_rng(0).shuffle(texts)
    for block in range(int(first), len(texts) // TEXTS_PER_BLOCK, int(step)):
        target = work / f"takes_{block:03d}.jsonl"
        if target.exists():
            continue
        rng = np.random.default_rng(block)
        chosen = texts[block * TEXTS_PER_BLOCK : (block + 1) * TEXTS_PER_BLOCK]
        tasks = [prompts.shortened(casting.task(text, rng)) for text in chosen]
        lines = spoken_block(tasks, prompts, speaker, judge, pace, block)
        with atomic_path(target) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines))
        log.info("block %d: %.3f errors, cosine %.3f", block, *means(lines))


if __name__ == "__main__":
    main(*sys.argv[1:])
