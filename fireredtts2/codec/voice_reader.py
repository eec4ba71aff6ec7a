"""Voice reader of a small codec: its decoder knows whose voice it makes, whatever the codes say.

The published decoder is told nothing but codes. A small codec's codes say little of a voice that
it has not learnt from, and a small language model draws them in a voice that only resembles its
prompt's. So here the decoder is told of the speaker beside them, by one vector that is read from a
clip: statistics of learnt features over its frames (as speaker embeddings pool theirs: Snyder et
al. 2018), added to what every step reads. Without a clip nothing is added.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 5  # 50 ms
FIRST_WEIGHTS = 0.02  # deviation of the last weights where training begins: nearly no voice
LEAST_VARIANCE = 1e-5


class VoiceReader(nn.Module):
    """Log-mels (B, num_mels, T at 100 Hz) of clips to a vector (B, D) of each speaker."""

    def __init__(self, num_mels: int, embed_dim: int) -> None:
        super().__init__()
        sizes = (num_mels, embed_dim, embed_dim)
        self.layers = nn.ModuleList(
            nn.Conv1d(inputs, outputs, KERNEL, padding=KERNEL // 2)
            for inputs, outputs in pairwise(sizes)
        )
        self.tell = nn.Linear(2 * embed_dim, embed_dim)
        nn.init.normal_(self.tell.weight, std=FIRST_WEIGHTS)
        nn.init.zeros_(self.tell.bias)

    def forward(self, mel: Tensor) -> Tensor:
        heard = mel
        for layer in self.layers:
            heard = F.gelu(layer(heard))
        variance = heard.var(2, correction=0).clamp(min=LEAST_VARIANCE)
        return self.tell(torch.cat([heard.mean(2), variance.sqrt()], dim=1))
