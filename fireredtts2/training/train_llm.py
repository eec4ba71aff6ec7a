"""Trains a dual transformer from codes: monologue first, then conversations (SPEC section 9)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.attention_guide import AttentionGuide, heard_before, near_targets
from fireredtts2.training.averages import follow
from fireredtts2.training.code_noise import with_code_noise
from fireredtts2.training.dual_transformer_trainer import DualTransformerTrainer
from fireredtts2.training.llm_data import Composer, LlmBatch, Mixture
from fireredtts2.training.losses import dual_transformer_loss
from fireredtts2.training.run import run

WARMUP_STEPS = 30
AVERAGE_DECAY = 0.99
AVERAGE_EVERY = 5


@dataclass(frozen=True)
class LlmTrainConfig:
    """One run. `total_steps` fixes the learning-rate schedule, `max_seconds` may cut it short."""

    rows_per_step: int = 2048
    rows_per_sequence: int = 512  # of the longest sample
    total_steps: int = 2000
    cooldown_share: float = 0.35  # of the run, in which the rates fall to zero
    conversation_from: float = 0.4  # share of the run after which conversations come in
    muon_rate: float = 0.01  # at 0.02 a run came apart after 340 steps
    adam_rate: float = 2e-3
    guide_weight: float = 0.2
    guide_layers: tuple[int, ...] = (2, 3)
    prompt_weight: float = 0.2  # of the head that looks at what the speaker said before
    prompt_layers: tuple[int, ...] = (3,)
    voice_weight: float = 0.2  # of naming the speaker from the state
    depth_fraction: float = 0.125
    code_noise: float = 0.04  # share of the codes read that are those of another frame
    max_seconds: float = float("inf")
    save_every: int = 100
    seed: int = 0


MONOLOGUE = Mixture(single=0.5, same=0.5, dialogue=0.0)
CONVERSATION = Mixture(single=0.1, same=0.35, dialogue=0.55)


class LlmTrainer(DualTransformerTrainer[LlmBatch]):
    """The model, its optimizers, its averaged weights and where it stands.

    Beside the model's own loss, three that teach it early what plain prediction teaches late: which
    unit is spoken, where the voice was heard, and whose it is. The last asks a linear layer that
    does not ship to name the speaker, as soon as an earlier segment could have told.
    """

    def __init__(self, model: DualTransformer, config: LlmTrainConfig, num_speakers: int) -> None:
        speaker_head = nn.Linear(model.backbone.config.embed_dim, num_speakers)
        super().__init__(model, config, WARMUP_STEPS, speaker_head.parameters())
        self.config = config
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.text_guide = AttentionGuide(model, config.guide_layers, head=0)
        # The last head: with grouped queries it shares no keys with the first.
        self.prompt_guide = AttentionGuide(model, config.prompt_layers, head=-1)
        self.speaker_head = speaker_head
        nn.init.zeros_(self.speaker_head.weight)
        nn.init.zeros_(self.speaker_head.bias)
        self.hidden: Tensor | None = None
        model.backbone.norm.register_forward_hook(self._catch)

    def _catch(self, _norm: nn.Module, _args: tuple, hidden: Tensor) -> None:
        if torch.is_grad_enabled():
            self.hidden = hidden

    def losses(self, batch: LlmBatch) -> dict[str, Tensor]:
        config = self.config
        losses = dual_transformer_loss(
            self.model,
            batch.tokens,
            batch.mask,
            depth_fraction=config.depth_fraction,
            generator=self.generator,
            inputs=with_code_noise(batch.tokens, batch.mask, config.code_noise, self.generator),
        )
        heard = heard_before(batch.speakers, batch.segments, batch.is_frame)
        guide = self.text_guide.loss(near_targets(batch.targets))
        prompt = self.prompt_guide.loss(heard)
        voice = self._voice_loss(batch, heard.any(-1))
        return {
            "total": losses.total
            + config.guide_weight * guide
            + config.prompt_weight * prompt
            + config.voice_weight * voice,
            "first_code": losses.first_code,
            "depth": losses.depth,
            "text": losses.text,
            "guide": guide,
            "prompt": prompt,
            "voice": voice,
        }

    def _voice_loss(self, batch: LlmBatch, is_known: Tensor) -> Tensor:
        """Cross-entropy of the speaker, in the rows whose speaker was heard before (B, T)."""
        assert self.hidden is not None
        logits = self.speaker_head(self.hidden[is_known])
        self.hidden = None
        summed = F.cross_entropy(logits.float(), batch.speakers[is_known], reduction="sum")
        return summed / max(1, len(logits))

    def step(self, batch: LlmBatch) -> dict[str, float]:
        losses = super().step(batch)
        if self.step_count % AVERAGE_EVERY == 0:
            self._average()
        return losses

    def _average(self) -> None:
        decay = min(AVERAGE_DECAY, self.step_count / (self.step_count + 50))
        follow(dict(self.average.named_parameters()), dict(self.model.named_parameters()), decay)

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "speaker_head": self.speaker_head.state_dict(),
            **self.progress(),
        }

    def load(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.speaker_head.load_state_dict(state["speaker_head"])
        self.load_progress(state)


def train(trainer: LlmTrainer, composer: Composer, out: Path) -> None:
    """Runs to `total_steps` or `max_seconds`, saving to `out` on the way."""
    config = trainer.config
    seed = config.seed + trainer.step_count
    sizes = (config.rows_per_step, config.rows_per_sequence)
    monologue = composer.batches(*sizes, MONOLOGUE, seed)
    conversation = composer.batches(*sizes, CONVERSATION, seed + 1)

    def step() -> dict[str, float]:
        late = trainer.step_count >= config.conversation_from * config.total_steps
        return trainer.step(next(conversation if late else monologue))

    run(trainer, step, config, out, log_every=10)
