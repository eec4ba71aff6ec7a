"""What the named voices sound like: held-out recordings of them, or their decoded prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.clips import for_judges
from fireredtts2.evaluation.codec_round_trip import Codec
from fireredtts2.evaluation.corpus import HeldOutClip, recordings_of
from fireredtts2.evaluation.speaker import SpeakerEncoder, VoiceProfile
from fireredtts2.voices import Voice

RECORDINGS_PER_VOICE = 10


def voice_profiles(
    voices: Mapping[str, Voice],
    clips: Sequence[HeldOutClip],
    codec: Codec,
    encoder: SpeakerEncoder,
    device: torch.device | str = "cpu",
) -> dict[str, VoiceProfile]:
    """Profiles by voice name; a voice without recordings in the corpus is known by its prompt."""
    profiles = {}
    for name, voice in voices.items():
        own = [encoder.embed(_audio(c)) for c in recordings_of(name, clips, RECORDINGS_PER_VOICE)]
        profiles[name] = (
            VoiceProfile(name, np.stack(own), "recordings")
            if own
            else VoiceProfile(name, _prompt_embedding(voice, codec, encoder, device), "prompt")
        )
    return profiles


def _audio(clip: HeldOutClip) -> np.ndarray:
    return for_judges(*clip.audio())


@torch.inference_mode()
def _prompt_embedding(
    voice: Voice, codec: Codec, encoder: SpeakerEncoder, device: torch.device | str
) -> np.ndarray:
    """Embedding (1, D) of the voice's prompt as the codec decodes it."""
    audio = codec.decode(voice.codes[None].to(device))[0].float().cpu()
    return encoder.embed(for_judges(audio, OUTPUT_RATE_HZ))[None]
