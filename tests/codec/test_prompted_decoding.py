"""A decoder that hears the speaker's clip before a turn."""

import dataclasses

import pytest
import torch

from fireredtts2.codec import RedCodec
from fireredtts2.config import MAX_PROMPT_FRAMES, STEPS_PER_FRAME, DecoderConfig
from tests import tiny
from tests.codec.test_streaming import tolerance

PROMPT, FRAMES = 5, 9


@pytest.fixture(scope="module", params=[True, False], ids=["ours", "plain"])
def codec(request) -> RedCodec:
    """With and without the sources of small decoders."""
    return tiny.codec(
        harmonic_source=request.param,
        noise_source=request.param,
        equalizer=1.0,
        prompt_frames=PROMPT,
    )


def codes(num_frames: int, seed: int, rows: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, tiny.NUM_CODEBOOKS, num_frames)
    return torch.randint(tiny.CODEBOOK_SIZE, shape, generator=generator)


def test_a_prompt_is_heard_and_makes_no_sound(codec: RedCodec):
    clip, one, other = codes(FRAMES, 1), codes(PROMPT, 2), codes(PROMPT, 3)
    plain, prompted = codec.decode(clip), codec.decode(clip, prompt=one)
    assert prompted.shape == plain.shape
    assert (prompted - plain).abs().max() > 1e-3
    assert (prompted - codec.decode(clip, prompt=other)).abs().max() > 1e-3


def test_without_sources_only_what_layers_hear_is_the_prompts():
    """The inverse STFT begins afresh: an independent way to the same samples."""
    codec = tiny.codec()
    clip, prompt = codes(FRAMES, 1), codes(PROMPT, 2)
    decoder, joined = codec.acoustic_decoder, torch.cat([prompt, clip], 2)
    with torch.inference_mode():
        hidden = decoder.hidden(codec._upsampled(joined))[:, STEPS_PER_FRAME * PROMPT :]
        spectrum = decoder.isift.spectrum(hidden)[0].T
    size = decoder.isift.istft.fft_size
    padded = torch.nn.functional.pad(spectrum, (2, 2))
    expected = torch.istft(
        padded, size, size // 4, window=torch.hann_window(size), center=True, length=None
    )
    made = codec.decode(clip, prompt=prompt)[0]
    inner = slice(size, len(made) - size)  # at the ends torch divides by other windows
    found = made[inner]
    offsets = [
        (expected[at : at + len(found)] - found).abs().max()
        for at in range(inner.start, inner.start + 2 * size)
        if at + len(found) <= len(expected)
    ]
    assert min(offsets) < 1e-5


def test_streamed_is_whole(codec: RedCodec):
    clip, prompt = codes(FRAMES, 1, rows=2), codes(PROMPT, 2, rows=2)
    state = codec.initial_state(2, PROMPT + FRAMES)
    codec.hear(prompt, state)
    chunks = [codec.decode_chunk(clip[..., at : at + 3], state, at == 6) for at in (0, 3, 6)]
    whole = codec.decode(clip, prompt=prompt)
    assert torch.cat(chunks, 1).shape == whole.shape
    assert (torch.cat(chunks, 1) - whole).abs().max() < tolerance(codec)


def test_a_row_is_put_where_a_state_stands_and_made_fresh_again(codec: RedCodec):
    clip, prompt = codes(FRAMES, 1, rows=3), codes(PROMPT, 2)
    heard = codec.initial_state(1, PROMPT)
    codec.hear(prompt, heard)
    state = codec.initial_state(3, PROMPT + FRAMES)
    codec.hear(codes(PROMPT, 4, rows=3), state)  # what the rows held before
    for row in (0, 2):
        state.reset(row)
    state.load(1, heard)
    assert state.sound_steps.tolist() == [0, 0, 0]
    assert state.live == PROMPT * STEPS_PER_FRAME
    # Rows that begin at different steps go through in one call.
    audio = codec.decode_steps(clip, state.select([0, 1, 2], state.steps.tolist()))
    trim = codec.acoustic_decoder.isift.istft.trim_samples
    for row, ahead in enumerate((None, prompt, None)):
        expected = codec.decode(clip[row : row + 1], prompt=ahead)[0]
        made = audio[row, trim:]
        assert (made[: -2 * trim] - expected[: len(made) - 2 * trim]).abs().max() < tolerance(codec)


def test_a_timbre_is_what_the_codec_wants_to_know(codec: RedCodec):
    clip = codes(FRAMES, 1)[0]
    known = codec.timbre(clip, torch.zeros(16))
    assert known is not None
    assert known.gains is not None
    assert torch.equal(known.prompt, clip[:, -PROMPT:])  # its end
    unlooked = codec.timbre(clip, None)
    assert unlooked is not None
    assert unlooked.gains is None
    assert codec.timbre(clip[:, :2], None).prompt.shape[1] == 2  # a clip that is shorter
    assert tiny.codec().timbre(clip, torch.zeros(16)) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt_frames": 0}, "prompt_frames 0: must be from 1 to 375"),
        ({"prompt_frames": MAX_PROMPT_FRAMES + 1}, "prompt_frames 376: must be"),
        ({"prompt_frames": 3, "causal": False}, "not causal hears none"),
    ],
)
def test_settings_that_make_no_sense_are_named(values: dict, message: str):
    config = DecoderConfig(32, 1, 2)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **values)


def test_a_prompt_that_a_state_has_no_room_for_is_refused(codec: RedCodec):
    with pytest.raises(ValueError, match="holds 3 frames; 0 are used and 5 more were given"):
        codec.hear(codes(PROMPT, 2), codec.initial_state(1, 3))


def test_codes_of_another_codec_are_refused_in_a_prompt(codec: RedCodec):
    with pytest.raises(ValueError, match="codes must lie in 0 to"):
        codec.decode(codes(FRAMES, 1), prompt=codes(PROMPT, 2) + tiny.CODEBOOK_SIZE)
