"""Streamed decoding equals whole decoding, for any chunks and any rows."""

import pytest
import torch
import torch.nn.functional as F

from fireredtts2.codec.decoder import CausalUpsample
from fireredtts2.codec.resampling import UpConv
from fireredtts2.config import UpsampleConfig
from tests import tiny

NUM_FRAMES = 24
TRIM = 360


@pytest.fixture(
    scope="module",
    params=[(False, False), (True, False), (False, True), (True, True)],
    ids=["published", "harmonic", "noise", "both"],
)
def codec(request):
    harmonic, noise = request.param
    return tiny.codec(harmonic_source=harmonic, noise_source=noise)


@pytest.fixture(scope="module")
def codes(codec):
    generator = torch.Generator().manual_seed(1)
    config = codec.config.rvq
    shape = (2, config.num_quantizers, NUM_FRAMES)
    return torch.randint(config.codebook_size, shape, generator=generator)


def tolerance(codec) -> float:
    """Pulses remember the rounding of every pitch before them."""
    return 1e-5 if codec.acoustic_decoder.source is None else 3e-4


def streamed(codec, codes, sizes):
    state, chunks, at = codec.initial_state(len(codes), codes.shape[2]), [], 0
    for size in sizes:
        last = at + size == codes.shape[2]
        chunks.append(codec.decode_chunk(codes[:, :, at : at + size], state, last))
        at += size
    assert at == codes.shape[2]
    return torch.cat(chunks, dim=1)


@pytest.mark.parametrize(
    "sizes", [[1] * 24, [2] * 12, [3] * 8, [7, 7, 7, 3], [1, 5, 2, 9, 4, 3], [23, 1], [24]], ids=str
)
def test_streamed_equals_whole(codec, codes, sizes):
    whole = codec.decode(codes)
    assert whole.shape == (2, NUM_FRAMES * 1920)
    assert (streamed(codec, codes, sizes) - whole).abs().max() < tolerance(codec)


def test_batched_equals_single(codec, codes):
    both = codec.decode(codes)
    for row in range(2):
        difference = codec.decode(codes[row : row + 1]) - both[row : row + 1]
        assert difference.abs().max() < tolerance(codec)


def test_a_row_restarts_while_its_neighbour_goes_on(codec, codes):
    state = codec.initial_state(2, NUM_FRAMES)
    first = codec.decode_steps(codes[:, :, :10], state)
    state.reset(1)
    fresh = torch.stack([codes[0, :, 10:], codes[1, :, :14]])
    second = codec.decode_steps(fresh, state)
    whole = codec.decode(codes)
    row0 = torch.cat([first[0], second[0]])[TRIM:]
    assert (row0 - whole[0, : len(row0)]).abs().max() < tolerance(codec)
    row1 = second[1, TRIM:]
    assert (row1 - whole[1, : len(row1)]).abs().max() < tolerance(codec)


def test_fewer_codebooks_decode(codec, codes):
    assert codec.decode(codes[:, :1]).shape == (2, NUM_FRAMES * 1920)


@pytest.mark.parametrize("bad", [-1, tiny.CODEBOOK_SIZE])
def test_codes_out_of_range_are_named(codec, codes, bad):
    wrong = codes.clone()
    wrong[0, 0, 0] = bad
    with pytest.raises(ValueError, match=f"0 to {tiny.CODEBOOK_SIZE - 1}"):
        codec.decode(wrong)


def test_a_full_state_is_refused(codec, codes):
    state = codec.initial_state(2, 8)
    with pytest.raises(ValueError, match="holds 8 frames"):
        codec.decode_steps(codes[:, :, :9], state)


def test_encoding_ignores_what_lies_beyond_a_row(codec):
    generator = torch.Generator().manual_seed(2)
    audio = torch.randn(2, 100_000, generator=generator) * 0.1
    codes, lengths = codec.encode(audio, torch.tensor([100_000, 20_000]))
    single, _ = codec.encode(audio[1:, :20_000])
    assert lengths.tolist() == [79, 16]
    assert torch.equal(codes[1:, :, :16], single)


@pytest.mark.parametrize("shape", [(5,), (1, 0), (1, 2, 3)])
def test_encoding_refuses_other_shapes(codec, shape):
    with pytest.raises(ValueError, match="samples"):
        codec.encode(torch.zeros(shape))


def test_non_causal_variant_decodes_but_does_not_stream():
    codec = tiny.codec(causal=False)
    codes = torch.zeros(1, codec.num_codebooks, 3, dtype=torch.long)
    assert codec.decode(codes).shape == (1, 3 * 1920)
    names = {k for k in codec.state_dict() if "prior_net.0." in k}
    assert "acoustic_decoder.backbone.prior_net.0.block1.0.weight" in names
    with pytest.raises(ValueError, match="not causal"):
        codec.initial_state(1, 4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_an_upsampling_is_the_convolution_that_torch_has(stride: int, num_steps: int) -> None:
    up = CausalUpsample(8, stride)
    x = torch.randn(2, 8, num_steps)
    whole = F.conv_transpose1d(x, up.weight, up.bias, stride)
    torch.testing.assert_close(up(x), whole[:, :, : stride * num_steps])


def test_frames_unfold_as_torch_has_it() -> None:
    up = UpConv(UpsampleConfig(embed_dim=6, stride=4))
    x = torch.randn(2, 3, 6)
    wide = up.in_proj(x).transpose(1, 2)
    torch.testing.assert_close(
        up(x), F.conv_transpose1d(wide, up.up_conv.weight, stride=4).transpose(1, 2)
    )
