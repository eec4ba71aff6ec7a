"""The listener: how clearly every sound of a text is heard, wherever it lies in the take."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.proofing.ctc_aligner import (
    NO_SOUND,
    SOUND_CLASSES,
    SOUNDS,
    CtcAligner,
    log_ratios,
)
from fireredtts2.proofing.listener import STEPS_TOGETHER, Listener
from tests import tiny

SECOND = torch.zeros(24_000)
STEPS_A_SECOND = 50


class Scripted(CtcAligner):
    """Hears what it is told: a probability and a class for each step, else no sound."""

    def __init__(self) -> None:
        super().__init__(16)
        self.heard: list[tuple[int, float]] = []

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        steps = [*self.heard, *[(NO_SOUND, 0.99)] * (features.shape[1] - len(self.heard))]
        classes = torch.tensor([sound for sound, _ in steps])
        sure = torch.tensor([probability for _, probability in steps])
        rest = ((1 - sure) / len(SOUNDS))[:, None].expand(-1, 1 + len(SOUNDS)).clone()
        return rest.scatter(1, classes[:, None], sure[:, None]).log()[None]


@pytest.fixture(scope="module")
def codec() -> RedCodec:
    return tiny.codec()


@pytest.fixture
def ear() -> Scripted:
    return Scripted()


def steps_of(units: str, probability: float = 0.9) -> list[tuple[int, float]]:
    """Two steps a sound."""
    return [(SOUND_CLASSES[unit], probability) for unit in units for _ in range(2)]


def test_what_is_heard_as_it_is_written_is_perfectly_clear(codec: RedCodec, ear: Scripted):
    ear.heard = steps_of("KÆTSBɪG")
    assert Listener(codec, ear, -1.0).clearness(SECOND, "KÆTS, BɪG.") == 0


def test_the_least_clear_stretch_counts(codec: RedCodec, ear: Scripted):
    clear, wrong = steps_of("KÆTS" * 10), steps_of("BɪGN")
    for heard in (clear + wrong, wrong + clear, clear + wrong + clear):
        ear.heard = heard
        audio = torch.zeros(480 * len(heard))  # a step is 20 ms at 24 kHz
        text = "KÆTS" * (len(heard) // 8)
        # Where other sounds are heard, each step is as unlikely as the next.
        ratio = np.log(0.1 / len(SOUNDS)) - np.log(0.9)
        clearness = Listener(codec, ear, -1.0).clearness(audio, text)
        assert clearness == pytest.approx(len(wrong) * ratio / STEPS_TOGETHER, rel=0.1)


def test_a_word_that_is_left_out_is_heard_to_be_missing(codec: RedCodec, ear: Scripted):
    ear.heard = steps_of("KÆTSBɪGT")
    listener = Listener(codec, ear, -1.0)
    assert listener.clearness(SECOND, "KÆTS BɪGT") == 0
    assert listener.clearness(SECOND, "KÆTS DÔNʧ BɪGT") < -0.3


def test_a_word_too_many_is_heard(codec: RedCodec, ear: Scripted):
    ear.heard = steps_of("KÆTSDÔNʧBɪGT")
    listener = Listener(codec, ear, -1.0)
    assert listener.clearness(SECOND, "KÆTS DÔNʧ BɪGT") == 0
    assert listener.clearness(SECOND, "KÆTS BɪGT") < -0.3


def test_an_unsure_ear_holds_nothing_against_a_take(codec: RedCodec, ear: Scripted):
    ear.heard = steps_of("KÆTS") + steps_of("BɪGT", 0.3)
    assert Listener(codec, ear, -1.0).clearness(SECOND, "KÆTS BɪGT") == pytest.approx(0)


@pytest.mark.parametrize("classes", [[1], [1, 2], [2, 2], [1, 2, 1]])
def test_the_best_path_is_the_best_of_all(classes: list[int]):
    num_steps = 5
    log_probs = np.log(np.random.default_rng(len(classes)).dirichlet(np.ones(4), num_steps))
    states = [NO_SOUND]
    for sound in classes:
        states += [sound, NO_SOUND]
    totals = [
        sum(log_probs[step, states[state]] for step, state in enumerate(path))
        for path in itertools.product(range(len(states)), repeat=num_steps)
        if path[0] <= 1 and path[-1] >= len(states) - 2 and all(map(may_follow, path, path[1:]))
    ]
    ratios = log_ratios(log_probs, np.array(classes))
    assert (ratios <= 0).all()
    assert ratios.sum() == pytest.approx(max(totals) - log_probs.max(1).sum())


def may_follow(state: int, later: int) -> bool:
    """No sound is passed over; the gap between two may be."""
    return later - state in (0, 1) or (later - state == 2 and later % 2 == 1)


def test_marks_are_not_looked_for(codec: RedCodec, ear: Scripted):
    ear.heard = steps_of("KÆTS")
    listener = Listener(codec, ear, -1.0)
    assert listener.clearness(SECOND, "KÆTS, 你!") == 0
    assert listener.clearness(SECOND, "...") == 0.0


def test_a_word_without_a_pronunciation_may_sound_in_any_way(codec: RedCodec, ear: Scripted):
    listener = Listener(codec, ear, -1.0)
    ear.heard = steps_of("KÆTSDÔNʧBɪG")
    assert listener.clearness(SECOND, "KÆTS qzx BɪG") == 0
    assert listener.clearness(SECOND, "KÆTS qzxqz BɪG") == 0  # some letters are silent


def test_a_word_without_a_pronunciation_is_heard_to_be_missing(codec: RedCodec, ear: Scripted):
    listener = Listener(codec, ear, -1.0)
    ear.heard = steps_of("KÆTS") + [(NO_SOUND, 0.99)] * 2 + steps_of("BɪG")
    assert listener.clearness(SECOND, "KÆTS BɪG") == 0
    assert listener.clearness(SECOND, "KÆTS qzxqzx BɪG") < -0.1
    ear.heard = []
    assert listener.clearness(SECOND, "qzx") < -0.1


def test_more_sounds_than_fit_are_not_clear_at_all(codec: RedCodec, ear: Scripted):
    listener = Listener(codec, ear, -1.0)
    assert listener.clearness(SECOND, "KÆTS" * STEPS_A_SECOND) == -np.inf
    assert listener.clearness(torch.zeros(0), "KÆTS") == -np.inf


def test_long_takes_are_heard_in_the_codecs_chunks(codec: RedCodec):
    audio = 0.1 * torch.randn(16_000 * 8, generator=torch.Generator().manual_seed(0))
    features = codec.semantic(audio)
    assert features.shape == (8 * STEPS_A_SECOND, 16)
    first = codec.ssl(codec.mel(audio[None, : 6 * 16_000]))[0]
    assert torch.allclose(features[: 6 * STEPS_A_SECOND], first, atol=1e-5)


def test_it_is_read_from_a_file(codec: RedCodec, tmp_path: Path):
    path = tmp_path / "listener.safetensors"
    state = CtcAligner(16).state_dict()
    save_file({name: value.half() for name, value in state.items()}, path)
    listener = Listener.from_file(path, codec, -1.5)
    assert listener.is_clear == -1.5
    audio = 0.1 * torch.randn(24_000, generator=torch.Generator().manual_seed(0))
    assert -20 < listener.clearness(audio, "KÆTS") < 0
    larger = CtcAligner(16, hidden_dim=24, num_blocks=3)
    save_file(larger.state_dict(), path)
    assert -20 < Listener.from_file(path, codec, -1.5).clearness(audio, "KÆTS") < 0
    save_file(CtcAligner(24).state_dict(), path)
    with pytest.raises(ValueError, match=r"listener\.safetensors: not this codec's listener"):
        Listener.from_file(path, codec, -1.5)
