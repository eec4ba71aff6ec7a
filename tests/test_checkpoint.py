"""Checkpoint folders: finding their parts, saying what is missing, converting them."""

import json
import shutil
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fireredtts2.atomic_file import atomic_path
from fireredtts2.checkpoint import MINI_FOLDER, CheckpointFolder, codec_fingerprint
from fireredtts2.convert import convert_folder
from fireredtts2.training.shards import Shard
from fireredtts2.voices import Voice
from fireredtts2.weights import find_weights, read_state, write_state

LLM = {
    "backbone_flavor": "mini-backbone",
    "decoder_flavor": "mini-decoder",
    "text_vocab_size": 300,
    "audio_vocab_size": 131,
    "audio_num_codebooks": 8,
    "decoder_loss_weight": 0.6,
}


def codec_state(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {
        "rvq.quantizers.0.codebook": torch.randn(16, 4),
        "rvq.quantizers.1.codebook": torch.randn(16, 4),
        "rvq.quantizers.0.inited": torch.ones(1, dtype=torch.bool),
        "upsample.weight": torch.randn(6, 5),
    }


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "published"
    path.mkdir()
    (path / "config_llm.json").write_text(json.dumps({"llm_models": LLM}))
    torch.manual_seed(3)
    torch.save({"model": {"text_head.weight": torch.randn(3, 4)}}, path / "llm_pretrain.pt")
    torch.save({"model": {"text_head.weight": torch.randn(3, 4)}}, path / "llm_posttrain.pt")
    torch.save({"generator": codec_state()}, path / "codec.pt")
    (path / "Qwen2.5-1.5B").mkdir()
    (path / "Qwen2.5-1.5B" / "tokenizer.json").write_text("{}")
    return path


def test_parts_of_a_published_folder(folder):
    checkpoint = CheckpointFolder(folder)
    assert checkpoint.llm_config.audio_num_codebooks == 8
    assert checkpoint.llm_path("monologue") == folder / "llm_pretrain.pt"
    assert checkpoint.llm_path("dialogue") == folder / "llm_posttrain.pt"
    assert checkpoint.read_llm("dialogue")["text_head.weight"].shape == (3, 4)
    assert checkpoint.read_codec().keys() == codec_state().keys()
    assert checkpoint.tokenizer_path == folder / "Qwen2.5-1.5B"
    assert checkpoint.voices_path == folder / "voices"
    assert checkpoint.text_config.normalize is False
    assert checkpoint.pronunciations_path is None


def test_safetensors_and_shared_model(folder):
    save_file(codec_state(), folder / "codec.safetensors")
    assert CheckpointFolder(folder).codec_path == folder / "codec.safetensors"
    (folder / "llm_posttrain.pt").rename(folder / "llm.pt")
    assert CheckpointFolder(folder).llm_path("dialogue") == folder / "llm.pt"
    assert CheckpointFolder(folder).llm_path("monologue") == folder / "llm_pretrain.pt"


def test_text_config_names_the_pronunciations(folder):
    (folder / "config_text.json").write_text('{"text": {"normalize": true, "phonemes": "p.gz"}}')
    checkpoint = CheckpointFolder(folder)
    assert checkpoint.text_config.normalize is True
    with pytest.raises(FileNotFoundError, match=r"p\.gz"):
        _ = checkpoint.pronunciations_path
    (folder / "p.gz").touch()
    assert checkpoint.pronunciations_path == folder / "p.gz"


def test_mini_is_the_folder_in_the_package():
    if not MINI_FOLDER.is_dir() or not (MINI_FOLDER / "config_llm.json").exists():
        with pytest.raises(ValueError, match="mini"):
            CheckpointFolder("mini")
    else:
        assert CheckpointFolder("mini").path == MINI_FOLDER


def test_missing_and_empty_folder_say_what_was_looked_for(tmp_path):
    with pytest.raises(ValueError, match=r"absent: no such folder.*config_llm\.json.*download"):
        CheckpointFolder(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"nothing of a checkpoint.*codec.*tokenizer/"):
        CheckpointFolder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="a file, not a folder"):
        CheckpointFolder(tmp_path / "file")


def test_missing_parts_say_how_to_mend(folder):
    (folder / "llm_posttrain.pt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"dialogue.*llm_posttrain\.safetensors.*llm\.pt.*download"
    ):
        CheckpointFolder(folder).llm_path("dialogue")
    (folder / "codec.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"codec\.safetensors, codec\.pt.*download"):
        CheckpointFolder(folder).read_codec()
    with pytest.raises(ValueError, match=r"config_codec\.json: no such file"):
        _ = CheckpointFolder(folder).codec_config
    (folder / "Qwen2.5-1.5B" / "tokenizer.json").unlink()
    (folder / "Qwen2.5-1.5B").rmdir()
    with pytest.raises(FileNotFoundError, match="download"):
        _ = CheckpointFolder(folder).tokenizer_path


def test_unknown_gen_type(folder):
    with pytest.raises(ValueError, match="'speech'; allowed: monologue, dialogue"):
        CheckpointFolder(folder).llm_path("speech")  # type: ignore[arg-type]


def test_fingerprint_is_of_the_codebooks_alone(folder):
    state = codec_state()
    assert CheckpointFolder(folder).codec_id == codec_fingerprint(state)
    assert codec_fingerprint(state | {"upsample.weight": torch.zeros(1)}) == codec_fingerprint(
        state
    )
    assert codec_fingerprint(codec_state(1)) != codec_fingerprint(state)
    with pytest.raises(ValueError, match="no codebooks"):
        codec_fingerprint({"a": torch.zeros(1)})


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_convert_keeps_values_and_quantizer(folder, tmp_path, dtype):
    new = convert_folder(folder, tmp_path / "new", dtype)
    names = {path.name for path in new.iterdir()}
    assert names == {
        "config_llm.json",
        "Qwen2.5-1.5B",
        "codec.safetensors",
        "llm_pretrain.safetensors",
        "llm_posttrain.safetensors",
    }
    written, state = load_file(new / "codec.safetensors"), codec_state()
    torch_dtype = getattr(torch, dtype)
    assert torch.equal(written["upsample.weight"], state["upsample.weight"].to(torch_dtype))
    assert written["upsample.weight"].dtype == torch_dtype
    assert written["rvq.quantizers.0.inited"].dtype == torch.bool
    assert torch.equal(written["rvq.quantizers.1.codebook"], state["rvq.quantizers.1.codebook"])
    assert CheckpointFolder(new).codec_id == CheckpointFolder(folder).codec_id


def test_convert_copes_with_shared_memory(folder, tmp_path):
    shared = torch.randn(4, 6)
    torch.save({"model": {"a": shared, "b": shared.T, "c": shared[1:]}}, folder / "llm_pretrain.pt")
    written = load_file(convert_folder(folder, tmp_path / "new") / "llm_pretrain.safetensors")
    assert torch.equal(written["a"], shared)
    assert torch.equal(written["b"], shared.T)


def test_convert_refuses_and_leaves_nothing_behind(folder, tmp_path):
    with pytest.raises(ValueError, match="int8"):
        convert_folder(folder, tmp_path / "new", "int8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(ValueError, match="already there"):
        convert_folder(folder, tmp_path / "full")
    torch.save({"model": {"a": torch.tensor([1e6])}}, folder / "llm_pretrain.pt")
    with pytest.raises(ValueError, match=r"a: a value beyond the range of torch\.float16"):
        convert_folder(folder, tmp_path / "new", "float16")
    assert {path.name for path in tmp_path.iterdir()} == {"published", "full"}


def test_convert_notices_what_does_not_read_back(folder, tmp_path, monkeypatch):
    def spoil(path):
        return {key: value + 1 for key, value in load_file(path).items()}

    monkeypatch.setattr("fireredtts2.convert.load_file", spoil)
    with pytest.raises(ValueError, match="did not read back"):
        convert_folder(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("file", "key", "fault"),
    [
        ("llm_posttrain", "text_head.weight", "misshapen"),
        ("llm_posttrain", "text_head.bias", "surplus"),
        ("codec", "semantic_decoder.extra", "surplus"),
    ],
)
def test_parts_that_only_training_uses_must_fit_too(
    tmp_path: Path, tiny_checkpoint: Path, file: str, key: str, fault: str
):
    from fireredtts2 import FireRedTTS2

    folder = tmp_path / "model"
    shutil.copytree(tiny_checkpoint, folder)
    path = find_weights(folder, (file, "llm"))
    state = read_state(path)
    path.unlink()
    write_state(path.with_suffix(".safetensors"), {**state, key: torch.zeros(3)})
    with pytest.raises(ValueError, match=rf"{fault} \(1\): {key}"):
        FireRedTTS2(folder)


def test_a_folder_with_the_other_language_model_says_which(folder: Path):
    (folder / "llm_posttrain.pt").unlink(missing_ok=True)
    (folder / "llm_pretrain.pt").touch()
    with pytest.raises(FileNotFoundError, match=r"for dialogue.*download.*gen_type 'monologue'"):
        CheckpointFolder(folder).llm_path("dialogue")


def test_weights_can_be_read_by_whoever_may_read_other_files(tmp_path: Path):
    other, written = tmp_path / "other.txt", tmp_path / "written.safetensors"
    other.touch()
    write_state(written, {"a": torch.zeros(3)})
    assert written.stat().st_mode == other.stat().st_mode
    written.chmod(0o640)
    with atomic_path(written) as temporary:
        write_state(temporary, {"a": torch.ones(3)})
    assert stat.S_IMODE(written.stat().st_mode) == 0o640
    assert read_state(written)["a"].tolist() == [1, 1, 1]


def test_a_file_that_may_not_be_read_is_not_called_missing(tmp_path: Path, monkeypatch):
    path = tmp_path / "voice.safetensors"
    write_state(path, {"codes": torch.zeros(3)})
    monkeypatch.setattr("os.access", lambda *_: False)
    for read in (read_state, Voice.load, Shard):
        with pytest.raises(PermissionError, match=r"may not read it.*voice\.safetensors"):
            read(path)
