"""The codec against the published code's numbers."""

import itertools
import json

import pytest
import torch
from safetensors.torch import load_file

from fireredtts2.codec import RedCodec
from fireredtts2.codec.mel import LogMel
from fireredtts2.config import CodecConfig
from tests.reference import REFERENCE, needs_reference

pytestmark = needs_reference


@pytest.fixture(scope="module")
def golden():
    return load_file(REFERENCE / "codec" / "golden.safetensors")


@pytest.fixture(scope="module")
def codec():
    values = json.loads((REFERENCE / "codec" / "config_codec.json").read_text())["codec"]
    ssl = {"embed_dim": 64, "num_layers": 2, "num_heads": 4}
    codec = RedCodec(CodecConfig.from_dict({**values, "ssl": ssl})).eval()
    state = torch.load(REFERENCE / "codec" / "codec.pt", weights_only=True)["generator"]
    codec.load_state_dict(state, strict=True)
    return codec


@pytest.mark.parametrize(
    "case",
    ["chirp_1p5s", "chirp_6s", "silence_1s", "odd_len_12345", "quiet_0p5s", "half_silent_1s"],
)
def test_mel(case):
    numbers = load_file(REFERENCE / "mel" / "mel.safetensors")
    mel = LogMel(128)(numbers[f"{case}.wave"].reshape(1, -1))[0].T
    assert (mel - numbers[f"{case}.mel"]).abs().max() < 1e-4


@pytest.mark.parametrize("wave", ["a", "b"])
def test_codes_are_equal(codec, golden, wave):
    codes, lengths = codec.encode(golden[f"wave_{wave}"][None])
    assert torch.equal(codes, golden[f"tokens_{wave}"])
    assert torch.equal(lengths, golden[f"len_{wave}"])


def test_batch_equals_singles(codec, golden):
    a, b = golden["wave_a"], golden["wave_b"]
    batch = torch.full((2, len(a)), 0.5)
    batch[0], batch[1, : len(b)] = a, b
    codes, lengths = codec.encode(batch, torch.tensor([len(a), len(b)]))
    assert lengths.tolist() == golden["len_batch"].tolist()
    assert torch.equal(codes[:1], golden["tokens_a"])
    assert torch.equal(codes[1:, :, : lengths[1]], golden["tokens_b"])


@pytest.mark.parametrize("samples", [1, 159, 160, 1279, 1280, 1281, 95999, 96000, 96001])
def test_edge_lengths(codec, golden, samples):
    codes, _ = codec.encode(golden["wave_a"][None, :samples])
    assert torch.equal(codes, golden[f"tokens_edge_{samples}"])


def test_encoder_steps(codec, golden):
    chunks = torch.zeros(2, 96_000)
    wave = golden["wave_a"]
    chunks[0], chunks[1, : len(wave) - 96_000] = wave[:96_000], wave[96_000:]
    with torch.inference_mode():
        mel = codec.mel(chunks)
        semantic = codec.ssl(mel)
        steps = {
            "mel": mel.transpose(1, 2),
            "ssl": semantic,
            "sem": codec.ssl_adaptor(semantic),
            "aco": codec.acoustic_encoder(mel),
            "down": codec.encoded(mel, semantic),
        }
    for name, value in steps.items():
        assert (value - golden[f"chunks_a_{name}"]).abs().max() < 1e-4, name


@pytest.mark.parametrize("case", ["a", "b", "rand"])
def test_audio(codec, golden, case):
    audio = codec.decode(golden[f"tokens_{case}"])
    assert audio.shape == golden[f"audio_{case}"].shape
    assert (audio - golden[f"audio_{case}"]).abs().max() < 1e-4


def test_audio_of_fewer_codebooks_and_one_frame(codec, golden):
    first8 = codec.decode(golden["tokens_rand"][:, :8])
    assert (first8 - golden["audio_rand_first8_codebooks"]).abs().max() < 1e-4
    one = codec.decode(golden["tokens_rand"][:, :, :1])
    assert (one - golden["audio_rand_one_token"]).abs().max() < 1e-4


def test_stream_matches_published_chunks(codec, golden):
    codes = golden["tokens_rand"]
    state = codec.initial_state(1, codes.shape[2])
    chunks = [
        codec.decode_chunk(codes[:, :, t : t + 1], state, t == codes.shape[2] - 1)
        for t in range(codes.shape[2])
    ]
    assert [c.shape[1] for c in chunks] == [1560] + [1920] * (len(chunks) - 2) + [2280]
    for i in range(3):
        assert (chunks[i] - golden[f"stream_rand_chunk{i}"]).abs().max() < 1e-5
    assert (torch.cat(chunks, 1) - golden["stream_rand"]).abs().max() < 1e-5


@pytest.mark.parametrize("sizes", [[1], [2], [3], [7], [5, 1, 12, 2]], ids=str)
@pytest.mark.parametrize("case", ["b", "rand"])
def test_any_chunks_are_the_published_stream(codec, golden, case, sizes):
    codes = golden[f"tokens_{case}"]
    num_frames = codes.shape[2]
    state = codec.initial_state(1, num_frames)
    made, begin = [], 0
    for size in itertools.cycle(sizes):
        end = min(begin + size, num_frames)
        made.append(codec.decode_chunk(codes[:, :, begin:end], state, last=end == num_frames))
        begin = end
        if begin == num_frames:
            break
    audio = torch.cat(made, 1)
    assert (audio - golden[f"stream_{case}"]).abs().max() < 1e-4
    assert (audio - codec.decode(codes)).abs().max() < 1e-5


def test_one_frame_streamed(codec, golden):
    codes = golden["tokens_rand"][:, :, :1]
    audio = codec.decode_chunk(codes, codec.initial_state(1, 1), last=True)
    assert (audio - golden["stream_rand_one_token"]).abs().max() < 1e-5


@torch.inference_mode()
def test_quantizer_input_and_decoder_steps(codec, golden):
    chunks = torch.zeros(2, 96_000)
    wave = golden["wave_a"]
    chunks[0], chunks[1, : len(wave) - 96_000] = wave[:96_000], wave[96_000:]
    mel = codec.mel(chunks)
    encoded = codec.encoded(mel, codec.ssl(mel))
    rvq_in = codec.rvq.input_proj(encoded.transpose(1, 2))
    assert (rvq_in - golden["chunks_a_rvq_in"]).abs().max() < 1e-4
    values = codec.rvq.decode(golden["tokens_b"])
    assert (values - golden["dec_b_vq"]).abs().max() < 1e-4
    up = codec.upsample(values.transpose(1, 2))
    assert (up - golden["dec_b_up"]).abs().max() < 1e-4
    hidden = codec.acoustic_decoder.hidden(up)
    assert (hidden - golden["dec_b_backbone"]).abs().max() < 1e-4
