"""An adapter learns a voice from a clip, and nothing else changes."""

import dataclasses

import pytest
import torch

from fireredtts2.audio import resample
from fireredtts2.codec import RedCodec
from fireredtts2.codec.voice_adapter import RANK, VoiceAdapter
from fireredtts2.config import INPUT_RATE_HZ, INPUT_SAMPLES_PER_FRAME, OUTPUT_RATE_HZ
from fireredtts2.training.codec.voice_adaptation import (
    CLIP_TOP_HZ,
    Adaptation,
    adapt_voice,
    adapter_learner,
)
from fireredtts2.training.spectral_losses import MultiResolutionMelLoss
from tests import tiny
from tests.codec.test_voice_adapter import adapter

FRAMES = 12
LEARNS = Adaptation(steps=12, learning_rate=0.01)
QUICK = Adaptation(steps=3)


@pytest.fixture(scope="module", params=[True, False], ids=["ours", "plain"])
def codec(request) -> RedCodec:
    """With and without the sources of small decoders."""
    made = tiny.codec(harmonic_source=request.param, noise_source=request.param)
    return made.requires_grad_(False)


def clip_of(codec: RedCodec, num_frames: int = FRAMES) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (Q, T) and what another voice says with them, at 16 kHz: what is to be learnt."""
    generator = torch.Generator().manual_seed(num_frames)
    shape = (tiny.NUM_CODEBOOKS, num_frames)
    codes = torch.randint(tiny.CODEBOOK_SIZE, shape, generator=generator)
    sound = codec.decode(codes[None], adapter=adapter(codec, 1, size=0.2).rows(1))[0]
    return codes, resample(sound, OUTPUT_RATE_HZ, INPUT_RATE_HZ)


def distance(codec: RedCodec, codes: torch.Tensor, audio: torch.Tensor, own=None) -> float:
    """Of what is decoded to a clip, in log-mels up to 8 kHz."""
    rows = None if own is None else own.rows(1)
    made = resample(codec.decode(codes[None], adapter=rows)[0], OUTPUT_RATE_HZ, INPUT_RATE_HZ)
    loss = MultiResolutionMelLoss(rate_hz=INPUT_RATE_HZ)
    return float(loss(made[None], audio[None]).mel)


def test_the_decoder_comes_nearer_to_the_voice_on_other_codes_too(codec: RedCodec):
    codes, audio = clip_of(codec)
    before = {key: value.clone() for key, value in codec.state_dict().items()}
    told: list[tuple[int, int]] = []
    learnt = adapt_voice(codec, codes, audio, LEARNS, lambda *step: told.append(step))
    assert distance(codec, codes, audio, learnt) < 0.8 * distance(codec, codes, audio)
    other = clip_of(codec, FRAMES + 1)
    assert distance(codec, *other, learnt) < 0.8 * distance(codec, *other)
    assert told == [(step, LEARNS.steps) for step in range(1, LEARNS.steps + 1)]
    for key, value in codec.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(parameter.grad is None for parameter in codec.parameters())


def test_what_is_learnt_is_what_a_voices_file_keeps(codec: RedCodec):
    learnt = adapt_voice(codec, *clip_of(codec), QUICK)
    for name, tensor in learnt.items():
        assert tensor.dtype == torch.float32, name
        assert torch.equal(tensor, tensor.half().float()), name
        assert not tensor.requires_grad
    assert learnt.down.shape[1] == RANK
    again = adapt_voice(codec, *clip_of(codec), QUICK)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in learnt.items())
    other = adapt_voice(codec, *clip_of(codec), dataclasses.replace(QUICK, seed=1))
    assert not torch.equal(other.up, learnt.up)


def test_above_what_a_clip_tells_the_decoder_stays_as_it_is():
    """A clip is heard at 16 kHz: its silence above 8 kHz is not learnt."""
    codec = tiny.codec().requires_grad_(False)
    codes, audio = clip_of(codec)
    learnt = adapt_voice(codec, codes, audio, LEARNS)

    def levels(own: VoiceAdapter | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Nepers of power below and above."""
        rows = None if own is None else own.rows(1)
        sound = codec.decode(codes[None], adapter=rows)[0]
        power = torch.fft.rfft(sound).abs().square()
        top = round(len(sound) * CLIP_TOP_HZ / OUTPUT_RATE_HZ)
        return power[:top].mean().log(), power[top:].mean().log()

    (below, above), (now_below, now_above) = levels(None), levels(learnt)
    assert (now_above - above).abs() < 0.5
    assert (now_below - below).abs() > 2 * (now_above - above).abs()


@pytest.mark.parametrize("num_frames", [5, 55])
def test_clips_of_any_length_are_learnt_from(codec: RedCodec, num_frames: int):
    codes, audio = clip_of(codec, num_frames)
    learnt = adapt_voice(codec, codes, audio[: len(audio) - 700], QUICK)  # a last frame in part
    assert learnt.up.abs().max() > 0


def test_what_inference_has_made_is_learnt_from(codec: RedCodec):
    expected = adapt_voice(codec, *clip_of(codec), QUICK)
    with torch.inference_mode():
        codes, audio = clip_of(codec)
        codes, audio = codes + 0, audio + 0
        inside = adapt_voice(codec, codes, audio, QUICK)
    outside = adapt_voice(codec, codes, audio, QUICK)
    for learnt in (inside, outside):
        assert torch.equal(learnt.up, expected.up)


def test_two_takes_are_compared_where_noise_is_drawn():
    codec = tiny.codec(noise_source=True).requires_grad_(False)
    one = adapt_voice(codec, *clip_of(codec), QUICK)
    two = adapt_voice(codec, *clip_of(codec), dataclasses.replace(QUICK, takes=2))
    assert not torch.equal(one.up, two.up)


def test_faults_are_named(codec: RedCodec):
    codes, audio = clip_of(codec)
    with pytest.raises(ValueError, match="has 13 frames, its codes are of 12"):
        adapt_voice(codec, codes, torch.cat([audio, audio[:INPUT_SAMPLES_PER_FRAME]]))
    with pytest.raises(ValueError, match="not causal"):
        adapt_voice(tiny.codec(causal=False), codes, audio)
    told: list[tuple[int, int]] = []
    learn = adapter_learner(codec, lambda *step: told.append(step))
    with pytest.raises(ValueError, match=r"nothing can be learnt from this clip: step 5: .*finite"):
        learn(codes, audio * float("nan"))
    assert len(told) == 4
