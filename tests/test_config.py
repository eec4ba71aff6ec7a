"""Configs: what is wrong in them is named, with its place and what is allowed."""

import json
from pathlib import Path

import pytest

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.config import CodecConfig, LLMConfig, TextConfig, TransformerConfig
from fireredtts2.convert import convert_folder

LLM = {
    "backbone_flavor": "qwen-1.5b",
    "decoder_flavor": "qwen-200m",
    "text_vocab_size": 151_936,
    "audio_vocab_size": 2_051,
    "audio_num_codebooks": 16,
    "decoder_loss_weight": 0.6,
}
ADAPTOR = {"in_dim": 64, "embed_dim": 48, "out_dim": 40, "num_layers": 2, "num_heads": 4}
CODEC = {
    "ssl_adaptor": ADAPTOR,
    "acoustic_encoder": {"embed_dim": 56, "num_layers": 2, "num_heads": 4},
    "downsample": {"embed_dim": 96},
    "rvq": {"input_dim": 96, "rvq_dim": 32, "output_dim": 64},
    "upsample": {"embed_dim": 64},
    "semantic_decoder": ADAPTOR,
    "acoustic_decoder": {"embed_dim": 64, "num_layers": 2, "num_heads": 4},
}


def test_good_ones_are_read():
    assert LLMConfig.from_dict(LLM).backbone.num_layers == 28
    assert CodecConfig.from_dict(CODEC).acoustic_decoder.causal
    assert TransformerConfig(2, 4, 2, 32, 48).head_dim == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_num_codebooks": None}, r"llm_models.audio_num_codebooks: None given; .*whole"),
        ({"audio_num_codebooks": "16"}, r"'16' given; expected a whole number, 1 or above"),
        ({"audio_num_codebooks": 0}, r"0 given"),
        ({"audio_num_codebooks": True}, r"True given"),
        ({"audio_vocab_size": 2_051.0}, r"2051.0 given"),
        ({"backbone_flavor": ["qwen-1.5b"]}, r"expected a text"),
        ({"decoder_loss_weight": float("nan")}, r"nan given; expected a finite number"),
        ({"decoder_loss_weight": "0.6"}, r"'0.6' given"),
        ({"flavors": []}, r"llm_models.flavors: \[\] given; expected an object"),
        ({"flavors": {"tiny": 3}}, r"flavors.tiny: 3 given; expected an object"),
        ({"sampling": None}, r"sampling: None given; expected an object"),
        ({"surplus": 1}, r"unknown keys \['surplus'\]"),
    ],
)
def test_values_of_the_wrong_kind(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        LLMConfig.from_dict({**LLM, **changes})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2, 5, 1, 48, 64), "heads must divide"),
        ((2, 6, 4, 48, 64), "key heads must divide heads"),
        ((2, 4, 2, 12, 64), "rotary positions need an even number"),
    ],
)
def test_sizes_that_do_not_divide(sizes: tuple[int, ...], message: str):
    names = ("num_layers", "num_heads", "num_kv_heads", "embed_dim", "intermediate_dim")
    flavors = {"odd": dict(zip(names, sizes, strict=True))}
    with pytest.raises(ValueError, match=rf"flavors.odd: .*{message}"):
        LLMConfig.from_dict({**LLM, "flavors": flavors})


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("rvq", [], r"codec.rvq: \[\] given; expected an object"),
        ("rvq", None, r"codec.rvq: None given"),
        ("upsample", {"embed_dim": -4}, r"codec.upsample.embed_dim: -4 given"),
        ("acoustic_decoder", {"embed_dim": 64, "num_layers": 1, "num_heads": 0}, r"0 given"),
        (
            "acoustic_decoder",
            {"embed_dim": 64, "num_layers": 1, "num_heads": 4, "causal": "no"},
            r"codec.acoustic_decoder.causal: 'no' given; expected true or false",
        ),
        (
            "acoustic_encoder",
            {"embed_dim": 64, "num_layers": 1, "num_heads": 5},
            r"codec.acoustic_encoder: .*heads must divide",
        ),
    ],
)
def test_parts_of_a_codec(part: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        CodecConfig.from_dict({**CODEC, part: value})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", r'expected an object \{"text"'),
        ('{"text": []}', r'expected an object \{"text"'),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"text": {"piece_bytes": "9"}}', r"text.piece_bytes: '9' given; .* or null"),
    ],
)
def test_files_are_named(tmp_path: Path, content: str, message: str):
    path = tmp_path / "config_text.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"config_text.json: .*{message}"):
        TextConfig.from_file(path)


def test_nothing_is_converted_beside_a_broken_config(tmp_path: Path, tiny_checkpoint: Path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in tiny_checkpoint.iterdir():
        if file.is_file():
            (broken / file.name).write_bytes(file.read_bytes())
    config = json.loads((broken / "config_llm.json").read_text())
    config["llm_models"]["audio_num_codebooks"] = None
    (broken / "config_llm.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="audio_num_codebooks: None given"):
        convert_folder(broken, tmp_path / "made")
    assert not (tmp_path / "made").exists()
    assert CheckpointFolder(tiny_checkpoint).llm_config
