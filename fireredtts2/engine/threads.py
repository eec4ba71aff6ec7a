"""How many threads of a CPU a model is served with."""

from __future__ import annotations

import os

import torch

from fireredtts2.config import LLMConfig

#: Up to this width of the backbone one thread is as good as several, or better.
SMALL_DIM = 512


def use_suited_threads(config: LLMConfig, device: torch.device) -> None:
    """Gives a small model on a CPU one thread, for the whole process.

    Its products are over before a second thread has woken: two are a fifth faster on an idle
    machine, and where anything else keeps a core busy each waits for the other thousands of times a
    second (30 times slower on two cores). `OMP_NUM_THREADS` comes first.
    """
    is_small = config.backbone.embed_dim <= SMALL_DIM
    if device.type == "cpu" and is_small and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
