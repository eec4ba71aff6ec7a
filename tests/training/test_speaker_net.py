"""Speakers are told apart, also those of clips that were not learnt; voices nearer are nearer."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fireredtts2.training.corpus import is_held_out
from fireredtts2.training.speaker_net import EMBEDDING_DIM, SpeakerNet, VoiceLoss
from fireredtts2.training.train_decoder import DecoderTrainConfig, StageTwo
from fireredtts2.training.train_speakers import (
    SpeakerData,
    SpeakerTrainConfig,
    SpeakerTrainer,
    margin_loss,
    train,
)
from tests import tiny

RATE_HZ = 24_000
PITCHES = {"high": 220.0, "low": 110.0, "middle": 160.0}


def speech(hz: float, seconds: float, seed: int = 0) -> torch.Tensor:
    """(samples,): harmonics of a pitch that moves a little, and noise."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phases = 2 * math.pi * hz * (times + 0.002 * np.sin(2 * math.pi * 3 * times + seed))
    tone = sum(np.sin(n * phases) / n for n in range(1, 20))
    noise = 0.05 * rng.standard_normal(len(times))
    return torch.from_numpy((0.1 * (tone + noise)).astype(np.float32))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Clips of three speakers; ids 0 to 3 are held out, and one clip is too short."""
    parts, rows, offset = [], [], 0
    for number in range(16):
        name = sorted(PITCHES)[number % 3]
        clip = speech(PITCHES[name], 0.5 if number == 15 else 1.4, number)
        parts.append((clip.numpy() * 32_767).clip(-32_768, 32_767).astype(np.int16))
        rows.append({"id": number, "speaker": name, "offset": offset, "samples": len(clip)})
        offset += len(clip)
    (tmp_path / "audio_24k.i16").write_bytes(np.concatenate(parts).tobytes())
    (tmp_path / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def config(**changes: float) -> SpeakerTrainConfig:
    values = {"width": 16, "seconds_per_step": 12.0, "learning_rate": 4e-3, "warmup_steps": 3}
    return SpeakerTrainConfig(**{**values, "total_steps": 40, "margin_steps": 40, **changes})


def trainer(**changes: float) -> SpeakerTrainer:
    torch.manual_seed(0)
    return SpeakerTrainer(SpeakerNet(3, 16), config(**changes))


def test_speakers_of_clips_that_were_not_learnt_are_named(work: Path) -> None:
    data, learner = SpeakerData(work), trainer()
    train(learner, data, work / "speakers.pt")
    held_out = [speech(PITCHES[name], 1.2, 99) for name in data.speakers]
    _, embeddings = learner.net(torch.stack(held_out))
    assert embeddings.shape == (3, EMBEDDING_DIM)
    assert embeddings.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert learner.net.similarities(embeddings).argmax(1).tolist() == [0, 1, 2]


def test_neither_held_out_nor_short_clips_are_learnt(work: Path) -> None:
    learnt = [row["id"] for row in SpeakerData(work).rows]
    assert learnt == [number for number in range(15) if not is_held_out(number)]
    audio, speakers = next(SpeakerData(work).batches(12, 0))
    assert len(audio) == len(speakers)
    assert RATE_HZ <= audio.shape[1] <= 1.4 * RATE_HZ


def test_a_folder_without_clips_of_a_second_is_refused(work: Path) -> None:
    rows = [json.loads(line) for line in (work / "index.jsonl").read_text().splitlines()]
    short = "".join(json.dumps(row | {"samples": 9_000}) + "\n" for row in rows)
    (work / "index.jsonl").write_text(short)
    with pytest.raises(ValueError, match="as long as 1 s"):
        SpeakerData(work)


def test_a_resumed_run_goes_on_from_where_it_was(work: Path) -> None:
    data, out = SpeakerData(work), work / "speakers.pt"
    first = trainer(total_steps=2)
    train(first, data, out)
    state = torch.load(out, weights_only=True)
    assert state["step"] == 2
    second = trainer(total_steps=3)
    second.load(state)
    for name, value in first.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[name])
    train(second, data, out)
    assert second.step_count == 3
    moments = second.optimizer.state_dict()["state"][0]
    assert moments["step"].item() == 3


def test_a_margin_asks_for_more_than_the_right_answer() -> None:
    cosines = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    right = torch.tensor([0, 1])
    plain, harder = (margin_loss(cosines, right, margin) for margin in (0.0, 0.2))
    wanted = torch.nn.functional.cross_entropy(24 * cosines, right)
    assert plain == pytest.approx(wanted.item(), rel=1e-3)
    assert harder > 2 * plain


@pytest.fixture
def loss() -> VoiceLoss:
    torch.manual_seed(0)
    return VoiceLoss(SpeakerNet(3, 16))


def test_equal_sounds_are_one_voice_and_another_pitch_is_further(loss: VoiceLoss) -> None:
    real = speech(150, 1.0)[None]
    near, far = (loss(speech(hz, 1.0)[None], real).item() for hz in (152, 230))
    assert loss(real, real).item() == pytest.approx(0, abs=1e-3)
    assert 0 < near < 0.8 * far


def test_gradients_reach_the_sound_and_not_the_network(loss: VoiceLoss) -> None:
    made = (speech(150, 1.0)[None] * 0.9).requires_grad_(True)
    loss(made, speech(150, 1.0)[None]).backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in loss.net.parameters())


def test_the_decoder_learns_by_it_where_its_weight_says_so(loss: VoiceLoss) -> None:
    values = {"codebooks": (4,), "adversarial_from_step": 9, "total_steps": 9}
    codes = torch.randint(tiny.CODEBOOK_SIZE, (2, tiny.NUM_CODEBOOKS, 12))
    audio = speech(150, 0.96)[None].repeat(2, 1)
    found = {}
    for weight in (0.0, 10.0, 20.0):
        torch.manual_seed(0)
        stage = StageTwo(
            tiny.codec(), DecoderTrainConfig(**values, voice_weight=weight, loud_weight=1.0), loss
        )
        found[weight] = stage.step(codes, audio)
    assert "voice" not in found[0.0]
    assert found[20.0]["voice"] == pytest.approx(2 * found[10.0]["voice"], rel=1e-3)
    assert found[0.0]["loud"] > 0
    with pytest.raises(ValueError, match="voice_weight: 10 given"):
        StageTwo(tiny.codec(), DecoderTrainConfig(**values, voice_weight=10.0))
