"""Learning from takes: their probabilities, the loss, and what a few steps do."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from fireredtts2.llm.prompt import Rows, audio_rows, text_rows
from fireredtts2.training.preference import (
    Pair,
    PreferenceConfig,
    PreferenceTrainer,
    groups_by_length,
    preference_loss,
    take_log_probs,
)
from tests import tiny


def codes(seed: int, frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (tiny.NUM_CODEBOOKS, frames)
    return torch.randint(1, tiny.CODEBOOK_SIZE, shape, generator=generator)


def prompt(seed: int, length: int) -> Rows:
    ids = torch.randint(0, 100, (length,), generator=torch.Generator().manual_seed(seed)).tolist()
    return Rows.concatenate(
        [text_rows(ids, tiny.NUM_CODEBOOKS), audio_rows(codes(seed, 3)),
         text_rows(ids[::-1], tiny.NUM_CODEBOOKS)]
    )  # fmt: skip


def pairs() -> list[Pair]:
    return [
        Pair(prompt(n, 4 + n), codes(10 + n, 3 + n % 3), codes(20 + n, 4 + n % 2)) for n in range(6)
    ]


def plain_log_prob(model: torch.nn.Module, prompt: Rows, take: torch.Tensor) -> float:
    """One code after the other, as inference draws them: the twin of `take_log_probs`."""
    total = 0.0
    for frame in range(take.shape[1] + 1):
        rows = Rows.concatenate([prompt, audio_rows(take[:, :frame], end=False)])
        state = model(rows.tokens[None], rows.mask[None])[0, -1]
        ends = frame == take.shape[1]
        wanted = torch.zeros(tiny.NUM_CODEBOOKS).long() if ends else take[:, frame]
        total += model.codebook0_head(state).log_softmax(-1)[wanted[0]].item()
        for codebook in range(1, 1 if ends else tiny.NUM_CODEBOOKS):
            known = wanted.clone()
            known[codebook:] = 0  # not looked at
            logits = model.depth_logits(state[None], known[None])[0, codebook - 1]
            total += logits.log_softmax(-1)[wanted[codebook]].item()
    return total


@torch.no_grad()
def test_a_take_is_as_likely_as_its_codes_one_by_one() -> None:
    model = tiny.llm()
    takes = [(pair.prompt, pair.better) for pair in pairs()]
    found = take_log_probs(model, takes)
    wanted = [plain_log_prob(model, *take) for take in takes]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


def test_the_loss_is_the_papers() -> None:
    policy = torch.tensor([[-10.0, -7.0], [-12.0, -7.0]])
    reference = torch.tensor([[-11.0, -7.0], [-11.0, -7.0]])
    loss = preference_loss(policy, reference, beta=0.5)
    assert loss[0].item() == pytest.approx(-math.log(1 / (1 + math.exp(-0.5 * 2))))
    assert loss[1].item() == pytest.approx(math.log(2))


def test_groups_hold_every_pair_once_within_their_rows() -> None:
    given = pairs()
    groups = groups_by_length(given, 80)
    assert sorted(index for group in groups for index in group) == list(range(len(given)))
    for group in groups:
        assert 2 * len(group) * max(given[index].num_rows for index in group) <= 80
    with pytest.raises(ValueError, match="steps of 10 rows cannot hold a pair of"):
        groups_by_length(given, 10)


def trainer(**changes: float) -> PreferenceTrainer:
    torch.manual_seed(0)
    settings = {"rows_per_step": 160, "laps": 6, "learning_rate": 3e-3, "likelihood_weight": 0.1}
    return PreferenceTrainer(tiny.llm(), pairs(), PreferenceConfig(**{**settings, **changes}))


def test_the_better_take_becomes_likelier_than_the_worse_one() -> None:
    made = trainer()
    before = copy.deepcopy(made.reference.state_dict())
    rows = [made.step() for _ in range(made.total_steps)]
    assert rows[0]["preference"] == pytest.approx(math.log(2), abs=0.02)
    assert rows[-1]["preference"] < 0.3
    with torch.no_grad():
        gains = [
            take_log_probs(made.model, takes) - take_log_probs(made.reference, takes)
            for takes in ([(p.prompt, p.better) for p in pairs()],
                          [(p.prompt, p.worse) for p in pairs()])
        ]  # fmt: skip
    assert (gains[0] > gains[1]).all()
    after = made.reference.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_likelihood_keeps_the_better_take_from_becoming_less_likely() -> None:
    gains = {}
    for weight in (0.0, 5.0):
        made = trainer(likelihood_weight=weight)
        rows = [made.step() for _ in range(made.total_steps)]
        gains[weight] = rows[-1]["better_gain"]
    assert gains[5.0] > gains[0.0]


def test_a_run_that_was_cut_equals_one_that_was_not() -> None:
    whole = trainer()
    for _ in range(5):
        whole.step()
    first = trainer()
    for _ in range(2):
        first.step()
    state = copy.deepcopy(first.state())
    second = PreferenceTrainer(tiny.llm(seed=9), pairs(), first.config)
    second.load(state)
    for _ in range(3):
        second.step()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_a_step_that_is_no_number_leaves_the_weights_alone() -> None:
    made = trainer()
    broken = replace(made.config, beta=math.nan)
    made.config = broken
    before = copy.deepcopy(made.model.state_dict())
    made.step()
    assert all(torch.equal(value, made.model.state_dict()[n]) for n, value in before.items())
    assert made.step_count == 1
