"""Adapters of a decoder to voices: each row has its own, and the others none."""

import dataclasses

import pytest
import torch

from fireredtts2.codec import RedCodec
from fireredtts2.codec.voice_adapter import RANK, VoiceAdapter, adapter_shapes, decoder_id
from tests import tiny
from tests.codec.test_prompted_decoding import FRAMES, PROMPT, codes
from tests.codec.test_streaming import tolerance


@pytest.fixture(scope="module", params=[True, False], ids=["ours", "plain"])
def codec(request) -> RedCodec:
    """With and without the sources of small decoders."""
    return tiny.codec(harmonic_source=request.param, noise_source=request.param)


def adapter(codec: RedCodec, seed: int, size: float = 0.1) -> VoiceAdapter:
    """One that is heard."""
    generator = torch.Generator().manual_seed(seed)
    shapes = adapter_shapes(codec.config.acoustic_decoder)
    return VoiceAdapter(
        **{name: size * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    )


def test_what_it_adds_is_a_low_rank_change_and_a_constant(codec: RedCodec):
    own, block = adapter(codec, 1), 2
    x = torch.randn(1, codec.config.acoustic_decoder.embed_dim, 7)
    expected = x.clone()
    for step in range(7):
        for channel in range(RANK):
            heard = (own.down[block, channel] * x[0, :, step]).sum()
            expected[0, :, step] += own.up[block, :, channel] * heard
        expected[0, :, step] += own.bias[block]
    torch.testing.assert_close(own.rows(1).after(block, x), expected)


def test_a_scaled_one_adds_as_much_less(codec: RedCodec):
    own = adapter(codec, 1)
    x = torch.randn(1, codec.config.acoustic_decoder.embed_dim, 7)
    for strength in (0.0, 0.5, 2.0):
        scaled = own.scaled(strength).rows(1)
        wanted = x + strength * (own.rows(1).after(1, x) - x)
        torch.testing.assert_close(scaled.after(1, x), wanted)
        wanted = strength * own.rows(1).head(x.mT)
        torch.testing.assert_close(scaled.head(x.mT), wanted)


def test_every_block_and_the_head_are_changed(codec: RedCodec):
    clip = codes(FRAMES, 1)
    plain, own = codec.decode(clip), adapter(codec, 1)
    none = {name: torch.zeros_like(one) for name, one in own.items()}
    assert torch.equal(codec.decode(clip, adapter=VoiceAdapter(**none).rows(1)), plain)
    for name in ("bias", "head_bias"):
        for block in range(len(own.bias) if name == "bias" else 1):
            one = {key: value.clone() for key, value in none.items()}
            place = one[name][block] if name == "bias" else one[name]
            place.copy_(torch.randn(place.shape))
            changed = codec.decode(clip, adapter=VoiceAdapter(**one).rows(1))
            assert (changed - plain).abs().max() > 1e-4, (name, block)


def test_rows_of_one_batch_have_their_own(codec: RedCodec):
    clip = codes(FRAMES, 1, rows=2)
    ours = [adapter(codec, seed) for seed in (1, 2)]
    both = VoiceAdapter(
        **{name: torch.stack([own.tensors[name] for own in ours]) for name, _ in ours[0].items()}
    )
    together = codec.decode(clip, adapter=both)
    for row, own in enumerate(ours):
        alone = codec.decode(clip[row : row + 1], adapter=own.rows(1))[0]
        assert (together[row] - alone).abs().max() < tolerance(codec)
    assert (together - codec.decode(clip)).abs().max() > 1e-2


def test_streamed_is_whole_and_prompts_are_heard_with_it(codec: RedCodec):
    clip, prompt, own = codes(FRAMES, 1), codes(PROMPT, 2), adapter(codec, 1)
    state = codec.initial_state(1, PROMPT + FRAMES)
    state.adapt(0, own)
    codec.hear(prompt, state)
    chunks = [codec.decode_chunk(clip[..., at : at + 3], state, at == 6) for at in (0, 3, 6)]
    whole = codec.decode(clip, prompt=prompt, adapter=own.rows(1))
    assert torch.cat(chunks, 1).shape == whole.shape
    assert (torch.cat(chunks, 1) - whole).abs().max() < tolerance(codec)


def test_a_row_keeps_it_until_it_is_reset_and_its_neighbours_have_none(codec: RedCodec):
    clip, own = codes(FRAMES, 1, rows=3), adapter(codec, 1)
    state = codec.initial_state(3, 2 * FRAMES)
    state.adapt(1, own)
    trim = codec.acoustic_decoder.isift.istft.trim_samples

    def check(rows: list[int], adapted: set[int]) -> None:
        selected = state.select(rows, [0] * len(rows))
        assert (selected.adapter is None) == adapted.isdisjoint(rows)
        audio = codec.decode_steps(clip[rows], selected)
        for place, row in enumerate(rows):
            one = own.rows(1) if row in adapted else None
            expected = codec.decode(clip[row : row + 1], adapter=one)[0]
            made = audio[place, trim:]
            ends = slice(None, -2 * trim)
            apart = (made[ends] - expected[: len(made)][ends]).abs().max()
            assert apart < 3 * tolerance(codec)  # what an adapter changes is far more
            state.reset(row)

    check([2, 1], {1})
    check([0, 1, 2], set())
    state.adapt(2, own)
    check([0, 2], {2})
    state.adapt(2, own)
    check([0, 1], set())


def test_a_timbre_carries_it_and_the_equaliser_knows_of_it():
    codec = tiny.codec(equalizer=1.0)
    own, clip, spectrum = adapter(codec, 1), codes(FRAMES, 1)[0], torch.zeros(16)
    known = codec.timbre(clip, spectrum, own)
    assert known is not None
    assert known.adapter is own
    assert known.gains is not None
    assert not torch.equal(known.gains, codec.timbre(clip, spectrum).gains)
    assert tiny.codec().timbre(clip, spectrum, own).adapter is own


def test_tensors_of_another_decoder_are_refused(codec: RedCodec):
    config, own = codec.config.acoustic_decoder, adapter(codec, 1)
    again = VoiceAdapter.from_tensors({name: one.half() for name, one in own.items()}, config)
    assert again.down.dtype == torch.float32
    other = dataclasses.replace(config, num_layers=2)
    with pytest.raises(ValueError, match=r"an adapter of \{.*\(7, 4, 32\).*; this decoder's are"):
        VoiceAdapter.from_tensors(own.tensors, other)
    with pytest.raises(ValueError, match="an adapter of"):
        VoiceAdapter.from_tensors({"down": own.down}, config)


def test_a_digest_tells_adapters_apart(codec: RedCodec):
    assert adapter(codec, 1).digest == adapter(codec, 1).digest
    assert adapter(codec, 1).digest != adapter(codec, 2).digest


def test_a_decoder_is_named_by_its_weights():
    state = tiny.codec().acoustic_decoder.state_dict()
    name = decoder_id(state)
    other = {**state, "isift.out.weight": state["isift.out.weight"] + 0.1}
    assert decoder_id(other) != name
    assert decoder_id(tiny.codec(seed=1).acoustic_decoder.state_dict()) != name
