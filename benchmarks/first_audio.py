"""Request to first audible sample: a voice given as a clip, a voice never read, a voice kept.

- clip: the clip is encoded, then all is read;
- cold: the voice's codes are there, but nobody has read them since the model was loaded;
- kept: another turn in a voice that the engine has just spoken in.

The cases take turns. Shares of the stages come from requests of their own, because timing them
costs a little; the total does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import count, cycle
from statistics import median
from typing import Any

import torch

from benchmarks.clock import Spread, interleaved, now, ratio
from benchmarks.options import new_parser, read_settings
from benchmarks.report import Report
from benchmarks.stages import StageClock
from benchmarks.subject import TEXTS, Subject
from fireredtts2.audio import resample
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.narration.conversation import Spoken

ROUNDS, QUICK_ROUNDS = 15, 2
WARM_UP_ROUNDS = 3
MAX_FRAMES = 100
MS_PER_S = 1e3
STAGES = ("text", "encode", "prefill", "frame", "codec", "other")
COLUMNS = {
    "case": "s",
    "ms": ".1f",
    "ms_low": ".1f",
    "ms_high": ".1f",
    "times_kept": ".2f",
    **{f"{stage}_share": ".0%" for stage in STAGES},
}


class NoSoundError(RuntimeError):
    """A turn ended before anything was said."""


class FirstAudio:
    """Requests of one kind, on an engine of their own with one slot.

    Args:
        subject: what speaks.
        voices: the prompts, taken in turn: one alone is kept, two push each other out.
        is_clip: whether a request brings its prompt as a clip.
    """

    def __init__(self, subject: Subject, voices: Sequence[Spoken], is_clip: bool = False) -> None:
        self._subject, self._is_clip = subject, is_clip
        self._engine = subject.engine(1)
        self._clips = [self._clip(voice) for voice in voices] if is_clip else []
        self._voices = cycle(voices)
        self._numbers = count()
        self.clock = StageClock(subject.device)

    def __call__(self) -> float:
        """Seconds to the first sound."""
        return self._first_s()

    def stages(self) -> dict[str, float]:
        """Seconds of each stage of one request."""
        self.clock.reset()
        total_s = self._first_s(watched=True)
        named = dict(self.clock.seconds)
        return {**named, "other": total_s - sum(named.values())}

    def _first_s(self, watched: bool = False) -> float:
        """A turn that ends at once, which a small model may draw, is asked for again."""
        for _ in TEXTS:
            try:
                return self._try(watched)
            except NoSoundError:
                self.clock.reset()
        raise NoSoundError(f"{len(TEXTS)} turns, and not a sound")

    def _try(self, watched: bool) -> float:
        number, voice = next(self._numbers), next(self._voices)
        device, stage = self._subject.device, self.clock.stage
        with self.clock.watching(self._engine) if watched else nullcontext():
            begin = now(device)
            with stage("text") if watched else nullcontext():
                text = self._subject.prepared(TEXTS[number % len(TEXTS)])
            if self._is_clip:
                with stage("encode") if watched else nullcontext():
                    voice = replace(voice, codes=self._encoded(number))
            with stage("text") if watched else nullcontext():
                request = self._subject.turn(self._engine, voice, text, number, MAX_FRAMES)
            with closing(self._engine.stream(request)) as chunks:
                for chunk in chunks:
                    if len(chunk):
                        return now(device) - begin
        raise NoSoundError

    def _encoded(self, number: int) -> torch.Tensor:
        clip = self._clips[number % len(self._clips)]
        codes, _ = self._subject.codec.encode(clip[None].to(self._subject.device))
        return codes[0].cpu()

    def _clip(self, voice: Spoken) -> torch.Tensor:
        codes = voice.codes[None, : self._subject.config.audio_num_codebooks]
        audio = self._subject.codec.decode(codes.to(self._subject.device))[0].cpu()
        return resample(audio, OUTPUT_RATE_HZ, INPUT_RATE_HZ)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures and reports; returns the report."""
    parser = new_parser("first_audio", __doc__)
    settings = read_settings(parser, parser.parse_args(arguments))
    subject = Subject(settings)
    voices = subject.voices
    report = Report("first_audio", settings, COLUMNS)
    cold = FirstAudio(subject, voices)
    first_call_s = cold()  # before anything has run
    cases = {
        "clip": FirstAudio(subject, voices, is_clip=True),
        "cold": cold,
        "kept": FirstAudio(subject, voices[:1]),
    }
    rounds = QUICK_ROUNDS if settings.quick else ROUNDS
    timed: dict[str, Callable[[], float]] = dict(cases)
    interleaved(timed, 1 if settings.quick else WARM_UP_ROUNDS)
    samples = interleaved(timed, rounds)
    for name, case in cases.items():
        stages = list(_stages(case, rounds))
        total_s = median(sum(one.values()) for one in stages)
        stage_ms = {
            stage: median(one.get(stage, 0.0) for one in stages) * MS_PER_S for stage in STAGES
        }
        report.add(
            case=name,
            **Spread.of(samples[name], MS_PER_S).named("ms"),
            times_kept=ratio(samples[name], samples["kept"]),
            **{f"{stage}_share": ms / MS_PER_S / total_s for stage, ms in stage_ms.items()},
            stage_ms=stage_ms,
            voice_frames=[voice.codes.shape[1] for voice in voices],
        )
    return report.finish(first_call_ms=first_call_s * MS_PER_S)


def _stages(case: FirstAudio, rounds: int) -> Iterator[dict[str, float]]:
    for _ in range(rounds):
        yield case.stages()


if __name__ == "__main__":
    main()
