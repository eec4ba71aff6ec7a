"""What a run leaves: a codec that loads, whose codes mean what they should."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("yaml", reason="recipes need the training extra")

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.codec import RedCodec
from fireredtts2.config import WHISPER_LARGE_V3, CodecConfig
from fireredtts2.training.codec.export import config_values, write_codec
from fireredtts2.training.codec.recipe import recipe_from
from fireredtts2.training.codec.run import CodecRun
from fireredtts2.training.codec.start import Start, open_start, read_encoder
from fireredtts2.weights import build_empty, load_into
from tests import tiny
from tests.training.codec.conftest import KINDS, journal, made_sound, start_with

MakeValues = Callable[..., dict[str, Any]]


def load_codec(path: Path) -> RedCodec:
    folder = CheckpointFolder(path)
    codec = build_empty(lambda: RedCodec(folder.codec_config))
    load_into(codec, folder.read_codec(), folder.codec_path)
    return codec.eval()


def test_stage_two_changes_no_code_and_the_result_speaks(
    values: MakeValues, tiny_checkpoint: Path
) -> None:
    from fireredtts2 import FireRedTTS2

    path = CodecRun(recipe_from(values(**KINDS["two"]))).carry_out().path
    before, after = load_codec(tiny_checkpoint), load_codec(path)
    audio = torch.from_numpy(made_sound(7.0, 4, 16_000))[None]
    codes = before.encode(audio)[0]
    assert torch.equal(codes, after.encode(audio)[0])
    changed = changed_names(before, after)
    decoding = ("rvq.output_proj.", "upsample.", "acoustic_decoder.")
    assert changed
    assert all(key.startswith(decoding) for key in changed)
    assert CheckpointFolder(path).codec_id == CheckpointFolder(tiny_checkpoint).codec_id
    assert not torch.equal(before.decode(codes), after.decode(codes))
    state = after.initial_state(1, codes.shape[2])
    parts = [after.decode_chunk(codes[:, :, :30], state),
             after.decode_chunk(codes[:, :, 30:], state, last=True)]  # fmt: skip
    assert torch.allclose(torch.cat(parts, 1), after.decode(codes), atol=1e-5)
    FireRedTTS2(str(path), device="cpu")


def changed_names(before: RedCodec, after: RedCodec) -> set[str]:
    """Of weights and buffers."""
    old, new = before.state_dict(), after.state_dict()
    return {name for name, value in old.items() if not torch.equal(value, new[name])}


def test_a_harmonic_source_learns_its_excitation(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    codec = tiny.codec(harmonic_source=True)
    start = start_with(codec, tiny_checkpoint, tmp_path / "harmonic")
    path = CodecRun(recipe_from(values("two", model__start=str(start)))).carry_out().path
    source = "acoustic_decoder.source."
    named = {f"{source}{part}.{kind}" for part in ("hear", "name") for kind in ("weight", "bias")}
    assert named <= changed_names(codec, load_codec(path))
    rows = journal(tmp_path / "run", "train")
    assert all(row["excitation"] > 0 for row in rows)


def test_a_noise_source_learns_from_two_takes_and_keeps_its_noise(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    codec = tiny.codec(harmonic_source=True, noise_source=True)
    start = start_with(codec, tiny_checkpoint, tmp_path / "noisy")
    recipe = recipe_from(values("two", model__start=str(start), loss__takes=2))
    path = CodecRun(recipe).carry_out().path
    after = load_codec(path)
    assert after.decode(torch.zeros(1, 2, 9, dtype=torch.long)).isfinite().all()
    changed = changed_names(codec, after)
    noise = "acoustic_decoder.noise."
    learnt = {f"{noise}into_backbone.weight", f"{noise}into_head.weight"}
    assert {name for name in changed if name.startswith(noise)} == learnt


def test_two_takes_need_a_noise_source(values: MakeValues) -> None:
    with pytest.raises(
        ValueError, match=r"loss\.takes: 2 given; this codec's decoder has no noise"
    ):
        CodecRun(recipe_from(values("two", loss__takes=2))).carry_out()


def test_stage_two_keeps_the_files_types(values: MakeValues, tmp_path: Path) -> None:
    start = tiny.write_checkpoint(tmp_path / "half")
    state = load_file(start / "codec.safetensors")
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()
            if not k.startswith("semantic_decoder.")}  # fmt: skip
    save_file(half, start / "codec.safetensors")
    recipe = recipe_from(values("two", model__start=str(start), optim__total_steps=1))
    stored = load_file(CodecRun(recipe).carry_out().path / "codec.safetensors")
    assert {k: v.dtype for k, v in stored.items()} == {k: v.dtype for k, v in half.items()}
    assert torch.equal(stored["rvq.quantizers.0.codebook"], half["rvq.quantizers.0.codebook"])
    assert torch.equal(stored["ssl.conv1.weight"], half["ssl.conv1.weight"])


def test_stage_one_writes_a_codec_alone(values: MakeValues, tiny_checkpoint: Path) -> None:
    run = CodecRun(recipe_from(values(**KINDS["one-spectrogram"])))
    path = run.carry_out().path
    assert {file.name for file in path.iterdir()} == {"codec.safetensors", "config_codec.json"}
    codec = load_codec(path)
    assert codec.config == tiny.codec_config()
    start = load_codec(tiny_checkpoint)
    assert torch.equal(codec.ssl.conv1.weight, start.ssl.conv1.weight)
    for quantizer in codec.rvq.levels:
        assert bool(quantizer.inited)
        assert int(quantizer.cluster_size.argmin()) == 0
    audio = torch.from_numpy(made_sound(2.0, 4, 16_000))[None]
    assert codec.decode(codec.encode(audio)[0]).isfinite().all()


def test_stage_one_may_go_on_from_a_codec(values: MakeValues, tiny_checkpoint: Path) -> None:
    changes = values("one", model__start=str(tiny_checkpoint), optim__total_steps=1)
    del changes["codec"], changes["model"]["semantic"]
    run = CodecRun(recipe_from(changes))
    assert run.stage.phase == "quantized"
    assert run.carry_out().num_skipped == 0


def test_the_published_form(values: MakeValues, tmp_path: Path) -> None:
    path = CodecRun(recipe_from(values("two", run__format="pt", optim__total_steps=1)))
    folder = path.carry_out().path
    content = torch.load(folder / "codec.pt", weights_only=True)
    assert set(content) == {"generator"}
    assert content["generator"].keys() == tiny.codec().state_dict().keys()
    assert not (folder / "codec.safetensors").exists()
    load_codec(folder)


def test_the_published_config_names_nothing_of_ours() -> None:
    """Keys as in the published file, whose semantic encoder goes without saying."""
    config = dataclasses.replace(tiny.codec_config(), ssl=WHISPER_LARGE_V3)
    encoder = dataclasses.replace(config.acoustic_encoder, num_mels=128)
    values = config_values(dataclasses.replace(config, acoustic_encoder=encoder))
    assert set(values) == {
        "ssl_adaptor", "acoustic_encoder", "downsample", "rvq", "upsample", "semantic_decoder",
        "acoustic_decoder",
    }  # fmt: skip
    assert set(values["acoustic_encoder"]) == {"embed_dim", "num_layers", "num_heads"}
    assert set(values["acoustic_decoder"]) == {
        "embed_dim", "num_layers", "num_heads", "hop_length", "causal",
    }  # fmt: skip
    own = config_values(tiny.codec_config())
    assert CodecConfig.from_dict(json.loads(json.dumps(own))) == tiny.codec_config()


def test_an_older_result_goes_when_the_new_one_is_there(
    values: MakeValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_from(values("two"))
    start = open_start(recipe)
    path = tmp_path / "codec"
    path.mkdir()
    (path / "old").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("fireredtts2.training.codec.export.write_state", full)
        with pytest.raises(OSError, match="disk is full"):
            write_codec(path, start, recipe, {})
    assert (path / "old").exists()
    write_codec(path, Start(start.codec), recipe, {})
    assert not (path / "old").exists()
    load_codec(path)


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder.", "ssl."])
def test_whisper_is_read_as_others_name_it(tmp_path: Path, prefix: str) -> None:
    wanted = tiny.codec().ssl.state_dict()
    state = {f"{prefix}{key}": value.contiguous() for key, value in wanted.items()}
    state["decoder.layers.0.fc1.weight"] = torch.zeros(2)
    save_file(state, tmp_path / "model.safetensors")
    for source in (tmp_path, tmp_path / "model.safetensors"):
        found, path = read_encoder(str(source))
        assert path.name == "model.safetensors"
        codec = tiny.codec(seed=7)
        if prefix:
            load_into(codec.ssl, found, path)
            assert torch.equal(codec.ssl.conv1.weight, wanted["conv1.weight"])


def test_a_file_without_an_encoder_is_named(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="no Whisper encoder in it"):
        read_encoder(str(tmp_path))


def test_a_codec_without_a_semantic_decoder_cannot_begin_stage_one(
    values: MakeValues, tmp_path: Path
) -> None:
    start = tiny.write_checkpoint(tmp_path / "start")
    state = load_file(start / "codec.safetensors")
    kept = {k: v for k, v in state.items() if not k.startswith("semantic_decoder.")}
    save_file(kept, start / "codec.safetensors")
    changes = values("one", model__start=str(start))
    del changes["model"]["semantic"]
    with pytest.raises(ValueError, match="no semantic_decoder"):
        open_start(recipe_from(changes))
