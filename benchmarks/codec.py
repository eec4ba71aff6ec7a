"""The codec: seconds of computing for a second of audio.

Encoding and decoding whole clips in batches, and decoding in chunks as a stream does: by the
decoder as it is, and each clip by an adapter of its own. All cases take turns within the same
rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.clock import Spread, interleaved, ratio, timed
from benchmarks.options import new_parser, read_settings
from benchmarks.report import Report
from benchmarks.subject import SEED, Subject
from fireredtts2.codec.voice_adapter import VoiceAdapter, adapter_shapes
from fireredtts2.config import FRAME_RATE_HZ, INPUT_SAMPLES_PER_FRAME

BATCHES = (1, 4, 8)
CHUNK_FRAMES = (1, 2, 4, 8)
CLIP_FRAMES, QUICK_CLIP_FRAMES = 75, 8  # 6 s: what the encoder takes at once
ROUNDS, QUICK_ROUNDS = 7, 2
COLUMNS = {
    "what": "s",
    "batch": "d",
    "chunk_frames": "d",
    "cost": ".4f",
    "cost_low": ".4f",
    "cost_high": ".4f",
    "ms_per_call": ".2f",
    "times_whole": ".2f",
}


class CodecCase:
    """One way of using the codec.

    Args:
        subject: whose codec.
        what: "encode", "decode", "stream" or "adapted", a stream with adapters.
        batch: clips at once.
        num_frames: of each clip.
        chunk_frames: of a stream's chunk.
    """

    def __init__(
        self, subject: Subject, what: str, batch: int, num_frames: int, chunk_frames: int
    ) -> None:
        self.what, self.batch, self.chunk_frames = what, batch, chunk_frames
        self._subject, self._num_frames = subject, num_frames
        self._codes = subject.random_codes(num_frames, batch).to(subject.device)
        noise = torch.Generator().manual_seed(SEED)
        audio = torch.randn(batch, num_frames * INPUT_SAMPLES_PER_FRAME, generator=noise)
        self._audio = (0.1 * audio).to(subject.device)
        self._adapters: list[VoiceAdapter] = []
        if what == "adapted":
            shapes = adapter_shapes(subject.codec.config.acoustic_decoder).items()
            self._adapters = [
                VoiceAdapter(**{n: 1e-3 * torch.randn(s, generator=noise) for n, s in shapes})
                for _ in range(batch)
            ]

    @property
    def num_calls(self) -> int:
        """Calls of the codec in one sample."""
        is_whole = self.what in ("encode", "decode")
        return 1 if is_whole else -(-self._num_frames // self.chunk_frames)

    def __call__(self) -> float:
        """Seconds of computing for a second of audio."""
        whole = {"encode": self._encode, "decode": self._decode}
        return timed(whole.get(self.what, self._stream), self._subject.device) / self.audio_s

    @property
    def audio_s(self) -> float:
        """Of all clips together."""
        return self.batch * self._num_frames / FRAME_RATE_HZ

    def _encode(self) -> None:
        self._subject.codec.encode(self._audio)

    def _decode(self) -> None:
        self._subject.codec.decode(self._codes)

    def _stream(self) -> None:
        """Every chunk goes to the host, as a listener's does."""
        codec = self._subject.codec
        state = codec.initial_state(self.batch, self._num_frames)
        for row, adapter in enumerate(self._adapters):
            state.adapt(row, adapter)
        for chunk in self._codes.split(self.chunk_frames, dim=2):
            codec.decode_chunk(chunk, state).cpu()


def all_cases(subject: Subject, num_frames: int) -> dict[str, CodecCase]:
    """By a name that says it all."""
    found = {}
    for batch in BATCHES:
        for what in ("encode", "decode"):
            found[f"{what} {batch}"] = CodecCase(subject, what, batch, num_frames, num_frames)
        if subject.codec.config.acoustic_decoder.causal:  # another cannot be streamed
            for size in CHUNK_FRAMES:
                for what in ("stream", "adapted"):
                    case = CodecCase(subject, what, batch, num_frames, size)
                    found[f"{what} {batch} {size}"] = case
    return found


@torch.inference_mode()
def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures and reports; returns the report."""
    parser = new_parser("codec", __doc__)
    settings = read_settings(parser, parser.parse_args(arguments))
    num_frames = QUICK_CLIP_FRAMES if settings.quick else CLIP_FRAMES
    cases = all_cases(Subject(settings), num_frames)
    report = Report("codec", settings, COLUMNS, {"clip_frames": num_frames})
    timed_cases: dict[str, Callable[[], float]] = dict(cases)
    interleaved(timed_cases, 1)  # warms up
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(QUICK_ROUNDS if settings.quick else ROUNDS):
        if settings.is_late and samples["decode 1"]:
            report.skip("further rounds: out of time")
            break
        for name, found in interleaved(timed_cases, 1).items():
            samples[name] += found
    for name, case in cases.items():
        spread = Spread.of(samples[name])
        # What whole clips, one at a time, cost in the same rounds.
        whole = samples["encode 1" if case.what == "encode" else "decode 1"]
        report.add(
            what=case.what,
            batch=case.batch,
            chunk_frames=case.chunk_frames,
            **spread.named("cost"),
            ms_per_call=spread.median * case.audio_s / case.num_calls * 1e3,
            times_whole=ratio(samples[name], whole),
        )
    return report.finish()


if __name__ == "__main__":
    main()
