"""The voice reader: one vector of a speaker, which the decoder hears beside its codes."""

import pytest
import torch

from fireredtts2.codec import RedCodec
from fireredtts2.codec.codec import VOICE_SAMPLES
from tests import tiny

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def codec() -> RedCodec:
    codec = tiny.codec(voice_reader=True)
    assert codec.voice_reader is not None
    torch.nn.init.normal_(
        codec.voice_reader.tell.weight, generator=torch.Generator().manual_seed(0)
    )
    return codec


def told(codec: RedCodec, hertz: float, seconds: float = 1.0) -> torch.Tensor:
    """What is told of a tone that swells."""
    time = torch.arange(int(seconds * RATE_HZ)) / RATE_HZ
    mel = codec.voice_mel(torch.sin(6.28318 * hertz * time) * (0.1 + time))
    assert mel is not None
    voice = codec.read_voice(mel[None])
    assert voice is not None
    return voice


def test_a_voice_is_one_vector_however_long_its_clip_is(codec: RedCodec):
    dim = codec.config.acoustic_decoder.embed_dim
    assert told(codec, 300).shape == told(codec, 300, 3.3).shape == (1, dim)
    near = (told(codec, 300, 2.0) - told(codec, 300)).norm()
    far = (told(codec, 3000) - told(codec, 300)).norm()
    assert near < far / 4


def test_of_a_long_clip_ten_seconds_are_kept(codec: RedCodec):
    mel = codec.voice_mel(torch.randn(VOICE_SAMPLES + RATE_HZ))
    assert mel is not None
    assert mel.shape == (codec.config.ssl.num_mels, 1_000)
    assert mel.dtype == torch.float16


def test_another_voice_says_the_same_codes_otherwise(codec: RedCodec):
    codes = torch.ones(1, 2, 6, dtype=torch.long)
    low, high = (codec.decode(codes, told(codec, hertz)) for hertz in (200, 2000))
    assert (low - high).abs().max() > 1e-4
    nobody = codec.decode(codes)
    assert torch.equal(nobody, codec.decode(codes, torch.zeros(1, 32)))


def test_rows_keep_their_own_voices_streamed_and_whole(codec: RedCodec):
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(tiny.CODEBOOK_SIZE, (2, tiny.NUM_CODEBOOKS, 9), generator=generator)
    voices = torch.cat([told(codec, 200), told(codec, 2000)])
    whole = codec.decode(codes, voices)
    for row in range(2):
        alone = codec.decode(codes[row : row + 1], voices[row : row + 1])
        assert (alone[0] - whole[row]).abs().max() < 1e-5
    state = codec.initial_state(2, 9)
    assert state.voice is not None
    state.voice[:] = voices
    chunks = [codec.decode_chunk(codes[..., at : at + 3], state, at == 6) for at in (0, 3, 6)]
    assert (torch.cat(chunks, 1) - whole).abs().max() < 1e-5


def test_a_fresh_row_has_no_voice(codec: RedCodec):
    state = codec.initial_state(2, 9)
    assert state.voice is not None
    state.voice[:] = 1
    state.reset(1)
    assert state.voice[0].all()
    assert not state.voice[1].any()
    lent = state.select([1, 0], [0, 0]).voice
    assert lent is not None
    assert lent[1].all()
    assert not lent[0].any()


def test_the_published_codec_has_none():
    codec = tiny.codec()
    assert codec.voice_mel(torch.randn(RATE_HZ)) is None
    assert codec.read_voice(torch.randn(1, 16, 100)) is None
    assert codec.initial_state(1, 4).voice is None
    assert not [name for name in codec.state_dict() if "voice" in name]
