"""Learning from one's own takes: the better of two becomes likelier, the worse less likely.

Direct preference optimisation (Rafailov et al. 2023) of a dual transformer. Its probability of a
take is that of all its codes, the first of each frame and those of the depth decoder, and of its
end.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.prompt import Rows, audio_rows, pad_rows
from fireredtts2.training.schedule import trapezoid

WARMUP_STEPS = 20


@dataclass(frozen=True)
class Pair:
    """Two takes of one text.

    Attributes:
        prompt: what was read before either of them.
        better: (Q, frames) int64.
        worse: (Q, frames) int64.
    """

    prompt: Rows
    better: Tensor
    worse: Tensor

    @property
    def num_rows(self) -> int:
        """Of the longer one."""
        return len(self.prompt) + max(self.better.shape[1], self.worse.shape[1]) + 1


@dataclass(frozen=True)
class PreferenceConfig:
    """One run.

    Attributes:
        rows_per_step: the most rows in a step, padding included.
        laps: how often every pair is seen.
        learning_rate: of AdamW, at its peak; it falls to zero in `cooldown_share` of the run.
        beta: how dearly a step away from the reference is paid (formula 7 of the paper).
        likelihood_weight: of the better take's own likelihood, in nats a code, without which both
            takes may become less likely (Pang et al. 2024).
        seed: of the order.
    """

    rows_per_step: int = 4096
    laps: int = 2
    learning_rate: float = 5e-5
    cooldown_share: float = 0.6
    beta: float = 0.1
    likelihood_weight: float = 0.5
    max_seconds: float = float("inf")
    save_every: int = 50
    seed: int = 0


def take_log_probs(model: DualTransformer, takes: Sequence[tuple[Rows, Tensor]]) -> Tensor:
    """Log-probabilities (N,) in nats, float32, of takes (Q, frames) after their prompts.

    Of every code of the take and of the first code of the end row: at inference the codes that
    follow it are not looked at.

    Args:
        model: whose probabilities are asked for.
        takes: (prompt, codes) each.
    """
    whole = [Rows.concatenate([prompt, audio_rows(codes)]) for prompt, codes in takes]
    tokens, mask, _ = pad_rows(whole)
    is_frame = torch.zeros(tokens.shape[:2], dtype=torch.bool)
    for row, (prompt, codes) in zip(is_frame, takes, strict=True):
        row[len(prompt) : len(prompt) + codes.shape[1] + 1] = True
    hidden = model(tokens, mask)[:, :-1][is_frame[:, 1:]]
    frames = tokens[:, 1:, :-1][is_frame[:, 1:]]
    first = -F.cross_entropy(model.codebook0_head(hidden).float(), frames[:, 0], reduction="none")
    is_end = ~frames.any(-1)
    depth_logits = model.depth_logits(hidden, frames).float()
    depth = -F.cross_entropy(depth_logits.mT, frames[:, 1:], reduction="none").sum(-1)
    each = first + depth.masked_fill(is_end, 0.0)
    owner = torch.arange(len(takes))[:, None].expand(tokens.shape[:2])[:, 1:][is_frame[:, 1:]]
    return torch.zeros(len(takes)).index_add(0, owner, each)


def preference_loss(policy: Tensor, reference: Tensor, beta: float) -> Tensor:
    """-log sigmoid(beta * (how much more the better take gained than the worse one)), (N,).

    Args:
        policy: log-probabilities (2, N) of the better and the worse takes by what is trained.
        reference: the same by the model that it began as.
        beta: see `PreferenceConfig`.
    """
    gains = policy - reference
    return -F.logsigmoid(beta * (gains[0] - gains[1]))


def groups_by_length(pairs: Sequence[Pair], num_rows: int) -> list[list[int]]:
    """Numbers of pairs of about one length, each group of at most `num_rows` rows when padded.

    Raises:
        ValueError: a pair has more rows than that.
    """
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(pairs)), key=lambda index: -pairs[index].num_rows):
        size = 2 * pairs[index].num_rows
        if size > num_rows:
            raise ValueError(f"steps of {num_rows} rows cannot hold a pair of {size}")
        if not groups or 2 * longest * (len(groups[-1]) + 1) > num_rows:
            groups.append([])
            longest = pairs[index].num_rows
        groups[-1].append(index)
    return groups


class PreferenceTrainer:
    """The model, what it began as, and where it stands.

    Args:
        model: learns.
        pairs: what it learns from.
        config: how.
    """

    def __init__(
        self, model: DualTransformer, pairs: Sequence[Pair], config: PreferenceConfig
    ) -> None:
        self.model, self.pairs, self.config = model, pairs, config
        self.reference = copy.deepcopy(model).eval().requires_grad_(False)
        self.groups = groups_by_length(pairs, config.rows_per_step)
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.step_count = 0

    @property
    def total_steps(self) -> int:
        return self.config.laps * len(self.groups)

    @property
    def max_seconds(self) -> float:
        return self.config.max_seconds

    @property
    def save_every(self) -> int:
        return self.config.save_every

    def next_group(self) -> list[Pair]:
        """The pairs of the step that comes; each lap has an order of its own."""
        lap, place = divmod(self.step_count, len(self.groups))
        generator = torch.Generator().manual_seed(self.config.seed + lap)
        order = torch.randperm(len(self.groups), generator=generator)
        return [self.pairs[index] for index in self.groups[int(order[place])]]

    def step(self) -> dict[str, float]:
        """One step; its losses, and the share of pairs of which the better take gained more."""
        config, pairs = self.config, self.next_group()
        factor = trapezoid(self.step_count, WARMUP_STEPS, self.total_steps, config.cooldown_share)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        takes = [(p.prompt, p.better) for p in pairs] + [(p.prompt, p.worse) for p in pairs]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.no_grad():
                reference = take_log_probs(self.reference, takes).view(2, -1)
            policy = take_log_probs(self.model, takes).view(2, -1)
        preference = preference_loss(policy, reference, config.beta)
        num_codes = torch.tensor([float(p.better.numel()) for p in pairs])
        likelihood = -(policy[0] / num_codes)
        loss = (preference + config.likelihood_weight * likelihood).mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if norm.isfinite():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step_count += 1
        gains = (policy - reference).detach()
        return {
            "preference": preference.mean().item(),
            "likelihood": likelihood.mean().item(),
            "better_gain": gains[0].mean().item(),
            "worse_gain": gains[1].mean().item(),
            "told_apart": (gains[0] > gains[1]).float().mean().item(),
            "norm": float(norm),
        }

    def state(self) -> dict:
        """For `torch.save`; `average` is the model, as the other trainers name what ships."""
        return {
            "average": self.model.state_dict(),
            "reference": self.reference.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_count,
        }

    def load(self, state: dict) -> None:
        self.model.load_state_dict(state["average"])
        self.reference.load_state_dict(state["reference"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count = state["step"]
