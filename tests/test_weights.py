"""Reading checkpoints: what is accepted, what is refused, and what the refusal says."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fireredtts2.codec.codec import RedCodec
from fireredtts2.config import (
    AdaptorConfig,
    CodecConfig,
    DecoderConfig,
    DownsampleConfig,
    EncoderConfig,
    RvqConfig,
    UpsampleConfig,
)
from fireredtts2.weights import (
    MAX_LISTED_KEYS,
    build_empty,
    check_fit,
    find_weights,
    load_into,
    read_state,
)
from tests.reference import REFERENCE, needs_reference


class Small(nn.Module):
    """Parameters, a stored buffer, and one that no file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.head = nn.Linear(2, 4, bias=False)
        self.register_buffer("ready", torch.ones(1, dtype=torch.bool))
        self.register_buffer("window", torch.hann_window(8))
        self.register_buffer("angles", torch.arange(5.0), persistent=False)


class Malicious:
    """Its unpickling makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {key: value.clone() for key, value in Small().state_dict().items()}


@pytest.mark.parametrize("wrapper", [None, "model", "generator"])
@pytest.mark.parametrize("old_layout", [False, True])
def test_pt_is_read_bare_and_wrapped(tmp_path, state, wrapper, old_layout):
    content = state if wrapper is None else {wrapper: state}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not old_layout)
    read = read_state(tmp_path / "a.pt")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_safetensors_are_preferred(tmp_path, state):
    torch.save({"other": torch.zeros(1)}, tmp_path / "codec.pt")
    assert find_weights(tmp_path, ("codec",)) == tmp_path / "codec.pt"
    save_file(state, tmp_path / "codec.safetensors")
    path = find_weights(tmp_path, ("absent", "codec"))
    assert path == tmp_path / "codec.safetensors"
    assert read_state(path).keys() == state.keys()
    assert find_weights(tmp_path, ("absent",)) is None


@pytest.mark.parametrize("wrap", [lambda bad: bad, lambda bad: {"model": {"weight": bad}}])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", ["pickle 2", "pickle 4", "torch"])
def test_pickle_that_runs_code_is_refused_and_not_run(tmp_path, wrap, writer):
    victim = tmp_path / "victim"
    content = wrap(Malicious(victim))
    path = tmp_path / "llm.pt"
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=int(writer[-1])))
    # What is newer than torch's own pickles is not even looked into.
    says = "not a checkpoint" if writer == "pickle 4" else "mkdir.*nothing was run"
    with pytest.raises(ValueError, match=rf"llm\.pt.*{says}"):
        read_state(path)
    assert not victim.exists()
    if writer != "torch":  # the file is a real attack: the plain reader falls for it
        pickle.loads(path.read_bytes())
        assert victim.is_dir()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_file_cut_short(tmp_path, state, suffix, kept):
    path = tmp_path / f"codec{suffix}"
    if suffix == ".pt":
        torch.save({"generator": state}, path)
    else:
        save_file(state, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ValueError, match=r"(?s)codec.*(cut short|empty).*download"):
        read_state(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_not_a_checkpoint(tmp_path, suffix):
    path = tmp_path / f"llm{suffix}"
    path.write_bytes(b"<html>404 not found</html>" * 40)
    with pytest.raises(ValueError, match=r"llm.*cut short or not a"):
        read_state(path)


def test_missing_file_folder_and_other_suffix(tmp_path):
    with pytest.raises(FileNotFoundError, match="fireredtts2 download"):
        read_state(tmp_path / "llm.pt")
    (tmp_path / "codec.pt").mkdir()
    with pytest.raises(ValueError, match="folder"):
        read_state(tmp_path / "codec.pt")
    with pytest.raises(ValueError, match=r"\.safetensors or \.pt"):
        read_state(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([torch.zeros(1)], "holds a list"),
        ({"model": {"a": torch.zeros(1), "epoch": 3}}, "epoch"),
        ({"epoch": 3, "optimizer": {}}, "epoch, optimizer"),
        ({}, "holds nothing"),
    ],
)
def test_other_contents_are_named(tmp_path, content, says):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=says):
        read_state(tmp_path / "a.pt")


@pytest.mark.parametrize("meta", [False, True])
def test_load_fills_every_value(state, meta):
    module = build_empty(Small) if meta else Small()
    assert load_into(module, state, "a.pt") == []
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key])
    assert torch.equal(module.angles, torch.arange(5.0))


def test_meta_module_takes_tensors_over_without_a_copy(state):
    module = build_empty(Small)
    assert module.linear.weight.is_meta
    assert not module.angles.is_meta
    load_into(module, state, "a.pt")
    assert module.linear.weight.data_ptr() == state["linear.weight"].data_ptr()
    assert isinstance(module.linear.weight, nn.Parameter)


@pytest.mark.parametrize("file_dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("module_dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("meta", [False, True])
def test_module_keeps_its_dtype(state, file_dtype, module_dtype, meta):
    stored = {
        key: value.to(file_dtype) if value.is_floating_point() else value
        for key, value in state.items()
    }
    module = (build_empty(Small) if meta else Small()).to(module_dtype)
    load_into(module, stored, "a.pt")
    assert module.linear.weight.dtype == module_dtype
    assert module.ready.dtype == torch.bool
    expected = stored["linear.weight"].to(module_dtype)
    assert torch.equal(module.linear.weight, expected)


def test_every_fault_is_named(state):
    del state["linear.bias"]
    state["linear.weight"] = torch.zeros(3, 2)
    state["head.bias"] = torch.zeros(4)
    state["ready"] = torch.zeros(1)
    module = Small()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"codec\.pt: does not fit Small") as caught:
        load_into(module, state, "codec.pt")
    message = str(caught.value)
    assert "missing (1): linear.bias" in message
    assert "surplus (1): head.bias" in message
    assert "linear.weight (file: (3, 2) float32, model: (2, 3) float32)" in message
    assert "ready (file: (1,) float32, model: (1,) bool)" in message
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_long_lists_are_capped_with_the_count(state):
    surplus = {f"extra.{number}": torch.zeros(1) for number in range(MAX_LISTED_KEYS + 7)}
    with pytest.raises(ValueError, match=r"surplus \(27\): extra\.0.* and 7 more"):
        load_into(Small(), state | surplus, "a.pt")


@pytest.mark.parametrize("meta", [False, True])
def test_optional_keys_may_be_absent_but_never_random(state, meta):
    del state["head.weight"], state["window"]
    module = build_empty(Small) if meta else Small()
    with pytest.raises(ValueError, match=r"missing \(2\)"):
        load_into(module, state, "a.pt")
    assert set(load_into(module, state, "a.pt", optional=("head.*", "window"))) == {
        "head.weight",
        "window",
    }
    assert module.head.weight.isnan().all()
    assert torch.equal(module.window, torch.hann_window(8))


def test_optional_keys_may_be_surplus(state):
    state["discriminator.weight"] = torch.zeros(3)
    with pytest.raises(ValueError, match="surplus"):
        load_into(Small(), state, "a.pt")
    assert load_into(Small(), state, "a.pt", optional=("discriminator.*",)) == []


def test_optional_parts_that_the_module_has_must_fit_where_they_are_there(state):
    optional = ("head.*",)
    with pytest.raises(ValueError, match=r"surplus \(1\): head\.extra"):
        check_fit(Small(), {**state, "head.extra": torch.zeros(1)}, "a.pt", optional)
    with pytest.raises(ValueError, match=r"misshapen \(1\): head\.weight"):
        check_fit(Small(), {**state, "head.weight": torch.zeros(1)}, "a.pt", optional)


def test_buffers_left_on_meta_are_an_error(state):
    module = Small().to("meta")
    with pytest.raises(RuntimeError, match=r"angles.*build_empty"):
        load_into(module, state, "a.pt")


def test_build_empty_leaves_no_trace():
    build_empty(Small)
    assert not nn.Linear(2, 2).weight.is_meta

    def fail() -> nn.Module:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build_empty(fail)
    assert not nn.Linear(2, 2).weight.is_meta


def test_build_empty_is_cheap():
    """Values drawn for nothing would make torch import its compiler, which takes seconds."""
    program = (
        "import sys\n"
        "from fireredtts2.codec.codec import RedCodec\n"
        "from fireredtts2.config import LLMConfig\n"
        "from fireredtts2.llm.dual_transformer import DualTransformer\n"
        "from fireredtts2.weights import build_empty\n"
        "from tests.test_weights import SMALL_CODEC\n"
        "before = 'torch._dynamo' in sys.modules\n"
        "config = LLMConfig('mini-backbone', 'mini-decoder', 300, 131, 8, 0.6)\n"
        "codec = build_empty(lambda: RedCodec(SMALL_CODEC))\n"
        "model = build_empty(lambda: DualTransformer(config))\n"
        "assert all(p.is_meta for m in (codec, model) for p in m.parameters())\n"
        "assert before or 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def manifest(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    keys = json.loads((REFERENCE / "manifest" / name).read_text())["keys"]
    return {key: (tuple(entry["shape"]), entry["dtype"]) for key, entry in keys.items()}


def forms(module: nn.Module) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    return {key: (tuple(value.shape), value.dtype) for key, value in module.state_dict().items()}


SMALL_CODEC = CodecConfig(
    ssl=EncoderConfig(64, 2, 4),
    ssl_adaptor=AdaptorConfig(64, 48, 40, 2, 4),
    acoustic_encoder=EncoderConfig(56, 2, 4),
    downsample=DownsampleConfig(96),
    rvq=RvqConfig(96, 32, 64),
    upsample=UpsampleConfig(64),
    semantic_decoder=AdaptorConfig(64, 48, 64, 1, 4),
    acoustic_decoder=DecoderConfig(64, 3, 4),
)


@needs_reference
def test_codec_has_the_published_keys():
    types = {"F32": torch.float32, "BOOL": torch.bool}
    published = {
        key: (shape, types[dtype]) for key, (shape, dtype) in manifest("codec_small.json").items()
    }
    assert forms(build_empty(lambda: RedCodec(SMALL_CODEC))) == published


@needs_reference
def test_full_whisper_part_has_the_published_keys():
    """The sizes that no config names: Whisper large-v3's, which `CodecConfig` has by default."""
    config = CodecConfig(
        **{
            part: getattr(SMALL_CODEC, part)
            for part in SMALL_CODEC.__dataclass_fields__
            if part != "ssl"
        }
    )
    codec = build_empty(lambda: RedCodec(config))
    assert all(parameter.is_meta for parameter in codec.ssl.parameters())
    ours = {key: form for key, form in forms(codec).items() if key.startswith("ssl.")}
    published = {
        key: (shape, getattr(torch, dtype))
        for key, (shape, dtype) in manifest("codec_ssl_full.json").items()
    }
    assert ours == published


@needs_reference
def test_reference_codec_loads_and_decodes():
    folder = REFERENCE / "codec"
    values = json.loads((folder / "config_codec.json").read_text())["codec"]
    sizes = json.loads((folder / "golden.json").read_text())["ssl"]
    state = read_state(folder / "codec.pt")
    known = {name: sizes[name] for name in EncoderConfig.__dataclass_fields__ if name in sizes}
    config = CodecConfig.from_dict({**values, "ssl": known})
    codec = build_empty(lambda: RedCodec(config)).eval()
    assert load_into(codec, state, folder / "codec.pt") == []
    assert codec.decode(torch.zeros(1, 16, 2, dtype=torch.int64)).isfinite().all()
