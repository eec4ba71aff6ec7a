"""A listener beside the model: whether every sound of a text is heard in a take.

A small language model says some words wrong. Its likelihoods tell little of which take has fewer
(recipes/mini/README.md has the figures); an ear tells more. The codec's own Whisper branch hears
the take, the aligner over its features finds the best way through the text, and the stretch in
which that is least likely beside what is heard is what a take is judged by.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fireredtts2.audio import resample
from fireredtts2.codec import RedCodec
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.phonemes import LETTERS
from fireredtts2.proofing.ctc_aligner import NO_SOUND, SOUND_CLASSES, CtcAligner, log_ratios
from fireredtts2.weights import build_empty, load_into, read_state

#: Steps of 20 ms in a row whose mean counts. Of the lengths tried on lines whose takes have known
#: word errors, this one's choice had the fewest; half a second did no worse on short lines.
STEPS_TOGETHER = 75
#: The class of a letter, which stands in a word without a pronunciation: some sound, not silence.
SOME_SOUND = 1 + len(SOUND_CLASSES)
LOOKED_FOR = SOUND_CLASSES | dict.fromkeys(LETTERS, SOME_SOUND)
LISTENER_FILE = "listener.safetensors"


class Listener:
    """Judges takes of a model that reads phonemes.

    Args:
        codec: whose Whisper branch hears.
        aligner: over its features.
        is_clear: the clearness of a take that needs no other one.
    """

    def __init__(self, codec: RedCodec, aligner: CtcAligner, is_clear: float) -> None:
        self._codec, self._aligner = codec, aligner.eval().requires_grad_(False)
        self.is_clear = is_clear

    @classmethod
    def from_file(cls, path: Path, codec: RedCodec, is_clear: float) -> Listener:
        """Reads an aligner's weights.

        Raises:
            ValueError: damaged, or of another size.
        """
        state, dim = read_state(path), codec.config.ssl.embed_dim
        aligner = build_empty(lambda: CtcAligner(dim, *CtcAligner.sizes_of(state)))
        device = next(codec.parameters()).device
        load_into(aligner, state, f"{path}: not this codec's listener", device=device)
        return cls(codec, aligner, is_clear)

    @torch.inference_mode()
    def clearness(self, audio: Tensor, units: str) -> float:
        """The least mean, over `STEPS_TOGETHER` steps in a row, of the text's log-ratio.

        That is `log_ratios`: how much less likely than what is heard the text is. It is a goodness
        of pronunciation (Witt and Young 2000) that also minds what was said without being asked
        for. 0 is perfectly clear, also where there are no sounds to be heard; -inf where the
        sounds do not fit into the audio. Where a word has no pronunciation, any sounds will do,
        one for each letter.

        Args:
            audio: (n,) float32 at 24 kHz on the CPU.
            units: the text as the model reads it.
        """
        classes = np.array([LOOKED_FOR[unit] for unit in units if unit in LOOKED_FOR], np.int64)
        if not len(classes):
            return 0.0
        heard = resample(audio, OUTPUT_RATE_HZ, INPUT_RATE_HZ)
        if not len(heard):
            return -np.inf
        features = self._codec.semantic(heard)[None]
        lengths = torch.tensor([features.shape[1]], device=features.device)
        log_probs = self._aligner(features, lengths)[0].cpu().numpy()
        if len(classes) > len(log_probs):
            return -np.inf
        some_sound = np.delete(log_probs, NO_SOUND, axis=1).max(1, keepdims=True)
        ratios = log_ratios(np.hstack([log_probs, some_sound]), classes)
        together = min(STEPS_TOGETHER, len(ratios))
        return float(np.convolve(ratios, np.full(together, 1 / together), "valid").min())
