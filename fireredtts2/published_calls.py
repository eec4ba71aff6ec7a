"""The published calls: `generate_*` as they have always been called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import torch

from fireredtts2.audio import AudioSource
from fireredtts2.checkpoint import MINI, CheckpointFolder, GenType
from fireredtts2.config import (
    DEFAULT_TURN_LIMIT_MS,
    FRAME_RATE_HZ,
    MONOLOGUE_MAX_FRAMES,
)
from fireredtts2.engine.device import DTypeName, resolve_devices, resolve_dtype
from fireredtts2.engine.memory_plan import Auto
from fireredtts2.engine.threads import use_suited_threads
from fireredtts2.narration.options import MoreOptionValues
from fireredtts2.narration.studio import Direction, Studio
from fireredtts2.speech import AudioChunk, Segment, Turn

if TYPE_CHECKING:
    from typing_extensions import Unpack

Result = TypeVar("Result")

MONOLOGUE_LIMIT_MS = MONOLOGUE_MAX_FRAMES * 1000 / FRAME_RATE_HZ


class PublishedCalls(ABC, Generic[Result]):
    """Loading, and the published calls; `Result` is what they give.

    Arguments are those of `FireRedTTS2`.
    """

    #: Whether a turn is let out only when it is known to be good.
    holds: bool

    def __init__(
        self,
        pretrained_dir: str | Path = MINI,
        gen_type: GenType = "dialogue",
        device: str | torch.device = "auto",
        use_bf16: bool = False,
        *,
        dtype: DTypeName = "auto",
        num_slots: int | Auto = 1,
        num_threads: int | Auto | None = None,
        compile: bool = False,
        adapter: str | Path | None = None,
        adapters: Sequence[str | Path] = (),
    ) -> None:
        devices = resolve_devices(device)
        self.device = devices[0]
        weights = resolve_dtype(dtype, use_bf16, device, self.device)
        if num_threads == "auto":
            use_suited_threads(CheckpointFolder(pretrained_dir).llm_config, self.device)
        elif num_threads is not None:
            torch.set_num_threads(num_threads)
        self.studio = Studio(
            pretrained_dir, gen_type, devices, weights, num_slots, compile, adapter, adapters
        )
        self.codec = self.studio.codec
        self.voices = self.studio.voices

    @abstractmethod
    def _result(self, chunks: Iterator[AudioChunk]) -> Result: ...

    def _direction(self, **options: object) -> Direction:
        chosen = self.studio.options(options, self.holds)
        return Direction(chosen, hold=self.holds, keeps_turns=self.holds)

    def generate_dialogue(
        self,
        text_list: Sequence[str],
        prompt_wav_list: Sequence[AudioSource] | None = None,
        prompt_text_list: Sequence[str] | None = None,
        temperature: float | None = None,
        topk: int | None = None,
        **options: Unpack[MoreOptionValues],
    ) -> Result:
        """Speaks a conversation with cloned or random voices.

        Args:
            text_list: turns like "[S1]Hello.", for `[S1]` to `[S4]`.
            prompt_wav_list: a clip for every speaker to be cloned.
            prompt_text_list: their transcripts, tagged: "[S1]What is said in the clip."
            temperature: of code 0; the checkpoint's own by default, which is 0.9 for the published.
            topk: for code 0; the checkpoint's own by default, which is 30 for the published.
            **options: see the class; a runaway turn is tried again, then kept up to its limit.

        Returns:
            (1, samples) float32 at 24 kHz on the CPU; of `FireRedTTS2_Stream`, an iterator of such
            tensors.

        Raises:
            ValueError: bad tags, texts or clips; clips and transcripts that do not pair.
            SpeechError: a turn stayed empty in every attempt.
        """
        sampling = {"temperature": temperature, "topk": topk}
        direction = self._direction(**{"on_runaway": "cut", **options, **sampling})
        prompts = self.studio.prompter.from_clips(prompt_wav_list, prompt_text_list)
        return self._result(self.studio.cloned_dialogue(text_list, prompts, direction))

    def generate_monologue(
        self,
        text: str,
        prompt_wav: AudioSource | None = None,
        prompt_text: str | None = None,
        temperature: float | None = None,
        topk: int | None = None,
        **options: Unpack[MoreOptionValues],
    ) -> Result:
        """Speaks a text in a cloned voice, or in a random one; see `generate_dialogue`."""
        sampling = {"temperature": temperature, "topk": topk}
        limits = {"on_runaway": "cut", "turn_limit_ms": MONOLOGUE_LIMIT_MS}
        direction = self._direction(**{**limits, **options, **sampling})
        prompt = self.studio.prompter.from_optional_clip(prompt_wav, prompt_text)
        return self._result(self.studio.monologue(text, prompt, direction))

    def generate(
        self,
        text: str,
        speaker: str,
        context: Sequence[Segment | Turn],
        max_audio_length_ms: float = DEFAULT_TURN_LIMIT_MS,
        temperature: float | None = None,
        topk: int | None = None,
        **options: Unpack[MoreOptionValues],
    ) -> Result:
        """Speaks one turn after a context.

        Args:
            text: what to say, without a tag.
            speaker: "S1" to "S4", or "[S1]" to "[S4]".
            context: what was said before, in order: segments, or turns of an earlier `Speech`.
            max_audio_length_ms: the turn stops here at the latest.
            temperature: of code 0.
            topk: for code 0.
            **options: see the class.

        Returns:
            As `generate_dialogue`.
        """
        sampling = {"temperature": temperature, "topk": topk}
        limits = {"on_runaway": "accept", "turn_limit_ms": max_audio_length_ms}
        direction = self._direction(**{**limits, **options, **sampling})
        return self._result(self.studio.turn(text, speaker, context, direction))

    def generate_single(
        self,
        context: Sequence[Segment | Turn],
        temperature: float | None = None,
        topk: int | None = None,
        **options: Unpack[MoreOptionValues],
    ) -> Result:
        """Continues a prompt: the last segment's audio goes on until its text has been said.

        Args:
            context: segments; the last one's text says more than its audio does. A last segment
                without audio is spoken from its beginning.
            temperature: of code 0.
            topk: for code 0.
            **options: see the class.

        Returns:
            As `generate_dialogue`: what is new, without the prompt.
        """
        sampling = {"temperature": temperature, "topk": topk}
        limits = {"on_runaway": "accept", "turn_limit_ms": MONOLOGUE_LIMIT_MS}
        direction = self._direction(**{**limits, **options, **sampling})
        return self._result(self.studio.single(context, direction))
