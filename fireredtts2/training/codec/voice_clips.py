"""What an adapter learns from: pieces of a voice's clips, as codes and as sound."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.audio import resample
from fireredtts2.codec import RedCodec
from fireredtts2.config import (
    INPUT_RATE_HZ,
    INPUT_SAMPLES_PER_FRAME,
    OUTPUT_RATE_HZ,
    OUTPUT_SAMPLES_PER_FRAME,
)

#: Longer clips are heard in pieces, drawn anew for each update.
PIECE_FRAMES = 50
#: Every other piece stands behind a prompt, as a turn does: of another clip, or its own beginning.
MIN_PROMPT_FRAMES = 12
#: Above, a clip says nothing (it is heard at 16 kHz) or little: there the decoder stays as it is.
CLIP_TOP_HZ = 7_600


class VoiceClips:
    """Some seconds of one voice.

    Args:
        codec: whose decoder is to learn.
        clips: codes (q, T) and audio (samples,) at 16 kHz of each.
        random: draws the pieces.

    Raises:
        ValueError: no clip, or one that is not as long as its codes.
    """

    def __init__(
        self, codec: RedCodec, clips: Sequence[tuple[Tensor, Tensor]], random: torch.Generator
    ) -> None:
        if not clips:
            raise ValueError("an adapter learns from one clip or more; none was given")
        # NOTE: what inference mode has made takes no part in gradients: copies do.
        self._clips = [
            (codes.clone(), sound_to_learn(codec, codes, audio.clone())) for codes, audio in clips
        ]
        self._random = random

    @property
    def num_frames(self) -> int:
        """Of all clips together."""
        return sum(codes.shape[1] for codes, _ in self._clips)

    def piece(self, has_prompt: bool) -> tuple[Tensor, Tensor]:
        """Codes (1, q, p + t) and the sound (1, 1920 * t) of what follows the prompt.

        p is 0 where `has_prompt` is not set, and where there is nothing to take one from.
        """
        sizes = torch.tensor([float(codes.shape[1]) for codes, _ in self._clips])
        chosen = int(sizes.multinomial(1, generator=self._random))
        codes, sound = self._clips[chosen]
        length = min(codes.shape[1], PIECE_FRAMES)
        begin = self._below(codes.shape[1] - length + 1)
        end = begin + length
        ahead = codes[:, :0]
        if has_prompt and len(self._clips) > 1:
            ahead = self._prompt(chosen)
        elif has_prompt and length >= 2 * MIN_PROMPT_FRAMES:
            num_heard = MIN_PROMPT_FRAMES + self._below(length // 2 - MIN_PROMPT_FRAMES + 1)
            ahead = codes[:, begin : begin + num_heard]
            begin += num_heard
        span = slice(begin * OUTPUT_SAMPLES_PER_FRAME, end * OUTPUT_SAMPLES_PER_FRAME)
        return torch.cat([ahead, codes[:, begin:end]], 1)[None], sound[:, span]

    def _prompt(self, chosen: int) -> Tensor:
        """(q, p) of another clip."""
        other = (chosen + 1 + self._below(len(self._clips) - 1)) % len(self._clips)
        codes = self._clips[other][0]
        longest = min(codes.shape[1], PIECE_FRAMES)
        shortest = min(MIN_PROMPT_FRAMES, longest)
        length = shortest + self._below(longest - shortest + 1)
        begin = self._below(codes.shape[1] - length + 1)
        return codes[:, begin : begin + length]

    def _below(self, bound: int) -> int:
        return int(torch.randint(bound, (), generator=self._random))


def sound_to_learn(codec: RedCodec, codes: Tensor, audio: Tensor) -> Tensor:
    """A clip at 24 kHz, (1, 1920 * T), and above what it tells what the decoder makes of it.

    Args:
        codec: as it is.
        codes: (q, T).
        audio: (samples,) at 16 kHz.

    Raises:
        ValueError: they are not as long as each other.
    """
    num_frames = -(-len(audio) // INPUT_SAMPLES_PER_FRAME)
    if num_frames != codes.shape[1]:
        raise ValueError(
            f"a clip of {len(audio)} samples at {INPUT_RATE_HZ} Hz has {num_frames} frames, its "
            f"codes are of {codes.shape[1]}"
        )
    padded = F.pad(audio, (0, num_frames * INPUT_SAMPLES_PER_FRAME - len(audio)))
    clip = resample(padded.cpu(), INPUT_RATE_HZ, OUTPUT_RATE_HZ)
    made = codec.decode(codes[None])[0].cpu()
    hz = torch.fft.rfftfreq(len(made), 1 / OUTPUT_RATE_HZ)
    both = torch.where(hz < CLIP_TOP_HZ, torch.fft.rfft(clip), torch.fft.rfft(made))
    return torch.fft.irfft(both, len(made))[None].to(codes.device)
