"""An adapter learns a voice from a clip, and nothing else changes."""

import dataclasses

import pytest
import torch

from fireredtts2.audio import resample
from fireredtts2.codec import RedCodec
from fireredtts2.codec.voice_adapter import RANK, VoiceAdapter
from fireredtts2.config import (
    INPUT_RATE_HZ,
    INPUT_SAMPLES_PER_FRAME,
    OUTPUT_RATE_HZ,
    OUTPUT_SAMPLES_PER_FRAME,
)
from fireredtts2.training.codec.voice_adaptation import Adaptation, adapt_voice, adapter_learner
from fireredtts2.training.codec.voice_clips import (
    CLIP_TOP_HZ,
    MIN_PROMPT_FRAMES,
    PIECE_FRAMES,
    VoiceClips,
    sound_to_learn,
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


def clip_of(
    codec: RedCodec, num_frames: int = FRAMES, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes (Q, T) and what another voice says with them, at 16 kHz: what is to be learnt."""
    generator = torch.Generator().manual_seed(seed)
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
    learnt = adapt_voice(codec, [(codes, audio)], LEARNS, lambda *step: told.append(step))
    assert distance(codec, codes, audio, learnt) < 0.8 * distance(codec, codes, audio)
    other = clip_of(codec, seed=1)
    assert distance(codec, *other, learnt) < 0.8 * distance(codec, *other)
    assert told == [(step, LEARNS.steps) for step in range(1, LEARNS.steps + 1)]
    for key, value in codec.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(parameter.grad is None for parameter in codec.parameters())


def test_what_is_learnt_is_what_a_voices_file_keeps(codec: RedCodec):
    learnt = adapt_voice(codec, [clip_of(codec)], QUICK)
    for name, tensor in learnt.items():
        assert tensor.dtype == torch.float32, name
        assert torch.equal(tensor, tensor.half().float()), name
        assert not tensor.requires_grad
    assert learnt.down.shape[1] == RANK
    again = adapt_voice(codec, [clip_of(codec)], QUICK)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in learnt.items())
    half = adapt_voice(codec, [clip_of(codec)], dataclasses.replace(QUICK, strength=0.375))
    torch.testing.assert_close(2 * half.up, learnt.up, rtol=2e-3, atol=1e-6)
    other = adapt_voice(codec, [clip_of(codec)], dataclasses.replace(QUICK, seed=1))
    assert not torch.equal(other.up, learnt.up)


def test_above_what_a_clip_tells_the_decoder_stays_as_it_is():
    """A clip is heard at 16 kHz: its silence above 8 kHz is not learnt."""
    codec = tiny.codec().requires_grad_(False)
    codes, audio = clip_of(codec)
    learnt = adapt_voice(codec, [(codes, audio)], LEARNS)

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


def test_there_are_more_updates_where_there_is_more_to_learn_from():
    how = Adaptation(steps=30, most_steps=100)
    assert [how.steps_for(frames) for frames in (5, 50, 100, 1_000)] == [30, 30, 60, 100]
    codec = tiny.codec().requires_grad_(False)
    told: list[tuple[int, int]] = []
    clips = [clip_of(codec, 40, seed) for seed in range(3)]
    adapt_voice(codec, clips, Adaptation(steps=1), lambda *step: told.append(step))
    assert told == [(1, 2), (2, 2)]


def test_pieces_are_what_the_clips_say_at_their_places(codec: RedCodec):
    """With prompts out of other clips, or out of the only one before the piece."""
    clips = [clip_of(codec, frames, frames) for frames in (8, 60, 90)]
    sounds = [sound_to_learn(codec, *clip) for clip in clips]

    def places(part: torch.Tensor, within: torch.Tensor) -> list[int]:
        size = part.shape[-1]
        every = range(within.shape[-1] - size + 1)
        return [at for at in every if torch.equal(within[..., at : at + size], part)]

    heard = VoiceClips(codec, clips, torch.Generator().manual_seed(0))
    assert heard.num_frames == 158
    seen = set()
    for number in range(24):
        codes, sound = heard.piece(has_prompt=number % 2 == 0)
        num_frames = sound.shape[1] // OUTPUT_SAMPLES_PER_FRAME
        num_heard = codes.shape[2] - num_frames
        assert num_frames <= PIECE_FRAMES
        ahead, own = codes[0, :, :num_heard], codes[0, :, num_heard:]
        (clip,) = (n for n, (all_codes, _) in enumerate(clips) if places(own, all_codes))
        (at,) = places(own, clips[clip][0])
        begin, end = (OUTPUT_SAMPLES_PER_FRAME * frame for frame in (at, at + num_frames))
        assert torch.equal(sound, sounds[clip][:, begin:end])
        seen.add(clip)
        if number % 2:
            assert num_heard == 0
        else:
            (other,) = (n for n, (all_codes, _) in enumerate(clips) if places(ahead, all_codes))
            assert other != clip
            assert min(MIN_PROMPT_FRAMES, clips[other][0].shape[1]) <= num_heard <= PIECE_FRAMES
    assert seen == {0, 1, 2}
    alone = VoiceClips(codec, clips[1:2], torch.Generator().manual_seed(0))
    codes, sound = alone.piece(has_prompt=True)
    num_heard = codes.shape[2] - sound.shape[1] // OUTPUT_SAMPLES_PER_FRAME
    assert num_heard >= MIN_PROMPT_FRAMES
    assert len(places(codes[0], clips[1][0])) == 1  # the prompt is what is said before it
    short = VoiceClips(codec, clips[:1], torch.Generator().manual_seed(0))
    assert short.piece(has_prompt=True)[0].shape[2] == 8


@pytest.mark.parametrize("num_frames", [5, 55])
def test_clips_of_any_length_are_learnt_from(codec: RedCodec, num_frames: int):
    codes, audio = clip_of(codec, num_frames)
    learnt = adapt_voice(codec, [(codes, audio[: len(audio) - 700])], QUICK)  # a last frame in part
    assert learnt.up.abs().max() > 0


def test_what_inference_has_made_is_learnt_from(codec: RedCodec):
    expected = adapt_voice(codec, [clip_of(codec)], QUICK)
    with torch.inference_mode():
        codes, audio = clip_of(codec)
        codes, audio = codes + 0, audio + 0
        inside = adapt_voice(codec, [(codes, audio)], QUICK)
    outside = adapt_voice(codec, [(codes, audio)], QUICK)
    for learnt in (inside, outside):
        assert torch.equal(learnt.up, expected.up)


def test_two_takes_are_compared_where_noise_is_drawn():
    codec = tiny.codec(noise_source=True).requires_grad_(False)
    one = adapt_voice(codec, [clip_of(codec)], QUICK)
    two = adapt_voice(codec, [clip_of(codec)], dataclasses.replace(QUICK, takes=2))
    assert not torch.equal(one.up, two.up)


def test_faults_are_named(codec: RedCodec):
    codes, audio = clip_of(codec)
    with pytest.raises(ValueError, match="has 13 frames, its codes are of 12"):
        adapt_voice(codec, [(codes, torch.cat([audio, audio[:INPUT_SAMPLES_PER_FRAME]]))])
    with pytest.raises(ValueError, match="not causal"):
        adapt_voice(tiny.codec(causal=False), [(codes, audio)])
    with pytest.raises(ValueError, match="one clip or more; none was given"):
        adapt_voice(codec, [])
    told: list[tuple[int, int]] = []
    learn = adapter_learner(codec, lambda *step: told.append(step))
    with pytest.raises(ValueError, match=r"nothing can be learnt from these clips: step 5: .*fin"):
        learn([(codes, audio * float("nan"))])
    assert len(told) == 4
