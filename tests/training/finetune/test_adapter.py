"""Adapters: what was trained is what is merged, exported and spoken with."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("accelerate", reason="fine-tuning needs the training extra")
pytest.importorskip("peft", reason="adapters need the training extra")

from fireredtts2 import FireRedTTS2
from fireredtts2.adapters import Adapter, AdapterConfig
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.cli.main import main
from fireredtts2.engine.loading import load_llm
from fireredtts2.training.finetune.recipe import recipe_from
from fireredtts2.training.finetune.run import Run
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture
def trained(values: Callable[..., Any]) -> tuple[Run, Path]:
    run = Run(recipe_from(values(optim__ema_decay=0.0, lora__dropout=0.0)))
    return run, run.carry_out().path


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 16, (1, 20, tiny.NUM_CODEBOOKS + 1), generator=generator)
    return tokens, torch.ones_like(tokens, dtype=torch.bool)


def test_merged_at_load_equals_the_trained_forward(
    trained: tuple[Run, Path], tiny_checkpoint: Path
) -> None:
    run, path = trained
    folder = CheckpointFolder(tiny_checkpoint)
    plain = load_llm(folder, "dialogue", CPU, torch.float32)
    merged = load_llm(folder, "dialogue", CPU, torch.float32, Adapter.load(path))
    with torch.no_grad():
        wanted = run.model.eval()(*rows())
        torch.testing.assert_close(merged(*rows()), wanted, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(plain(*rows()), wanted, atol=1e-3)


def test_merge_writes_a_folder_that_equals_merging_at_load(
    trained: tuple[Run, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    _, path = trained
    made, source = tmp_path / "merged", tmp_path / "source"
    shutil.copytree(tiny_checkpoint, source)
    assert main(["adapter", "export", str(path), "anna", "--model", str(source)]) == 0
    assert main(["adapter", "merge", str(path), str(made), "--model", str(source)]) == 0
    assert not (made / "adapters").exists(), "they were made for the model before"
    merged = load_llm(CheckpointFolder(made), "dialogue", CPU, torch.float32)
    loaded = load_llm(
        CheckpointFolder(tiny_checkpoint), "dialogue", CPU, torch.float32, Adapter.load(path)
    )
    for (name, one), other in zip(merged.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_an_exported_adapter_is_found_by_name(
    trained: tuple[Run, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    _, path = trained
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    assert main(["adapter", "export", str(path), "anna", "--model", str(folder)]) == 0
    by_name = FireRedTTS2(folder, device="cpu", adapter="anna")
    by_path = FireRedTTS2(folder, device="cpu", adapter=path)
    plain = FireRedTTS2(folder, device="cpu")
    spoken = [
        tts.generate_dialogue(["[S1]Hello there."], seed=3, turn_limit_ms=800)
        for tts in (by_name, by_path, plain)
    ]
    assert torch.equal(spoken[0], spoken[1])
    assert spoken[0].shape != spoken[2].shape or not torch.equal(spoken[0], spoken[2])
    with pytest.raises(ValueError, match=r"the checkpoint's own \(anna\)"):
        FireRedTTS2(folder, device="cpu", adapter="anne")


def test_info(trained: tuple[Run, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapter", "info", str(trained[1])]) == 0
    assert "rank 4, alpha 8" in capsys.readouterr().out


def test_an_adapter_knows_the_weights_that_it_was_made_for(
    trained: tuple[Run, Path], tiny_checkpoint: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    adapter = Adapter.load(trained[1])
    base = CheckpointFolder(tiny_checkpoint).read_llm("dialogue")
    adapter.check_fits(base)
    adapter.check_fits({name: weight.bfloat16() for name, weight in base.items()})
    assert not caplog.records, "the same weights, also in another type"
    adapter.check_fits(adapter.merged(base))
    assert "made for other weights than these" in caplog.text


def test_an_adapter_of_another_size_is_refused(tmp_path: Path) -> None:
    pairs = {"backbone.layers.0.attn.q_proj": (torch.zeros(2, 64), torch.zeros(64, 2))}
    adapter = Adapter(AdapterConfig(2, 2.0, "dialogue", "elsewhere"), pairs)
    with pytest.raises(ValueError, match="made for elsewhere"):
        adapter.merged(tiny.llm().state_dict())


def test_faulty_adapters_are_named(trained: tuple[Run, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an adapter"):
        Adapter.load(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(trained[1], copy)
    config = json.loads((copy / "adapter_config.json").read_text())
    config["fireredtts2_adapter"]["rank"] = 5
    (copy / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="expected \\(5, in\\)"):
        Adapter.load(copy)
    (copy / "adapter.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cut short"):
        Adapter.load(copy)


def test_a_full_run_writes_a_checkpoint(values: Callable[..., Any], tiny_checkpoint: Path) -> None:
    path = Run(recipe_from(values(model__method="full"))).carry_out().path
    new = load_llm(CheckpointFolder(path), "dialogue", CPU, torch.float32)
    old = load_llm(CheckpointFolder(tiny_checkpoint), "dialogue", CPU, torch.float32)
    assert not torch.equal(new.projection.weight, old.projection.weight)
    assert CheckpointFolder(path).codec_id == CheckpointFolder(tiny_checkpoint).codec_id


def test_several_at_once_each_call_with_its_own(
    trained: tuple[Run, Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    _, path = trained
    adapter = Adapter.load(path)
    turned = {name: (down, -up) for name, (down, up) in adapter.pairs.items()}
    Adapter(adapter.config, turned).save(tmp_path / "turned")
    shutil.copytree(path, tmp_path / "anna")
    both = FireRedTTS2(
        tiny_checkpoint,
        device="cpu",
        num_slots=3,
        adapters=[tmp_path / "anna", tmp_path / "turned"],
    )
    assert both.studio.adapters == ("anna", "turned")
    wanted = {
        "": FireRedTTS2(tiny_checkpoint, device="cpu"),
        "anna": FireRedTTS2(tiny_checkpoint, device="cpu", adapter=path),
        "turned": FireRedTTS2(tiny_checkpoint, device="cpu", adapter=tmp_path / "turned"),
    }
    how = {"seed": 3, "turn_limit_ms": 800, "on_runaway": "accept"}
    # All three are under way at the same time, and what one has read is not another's.
    for _ in range(2):
        streams = {name: both.stream_say("Hello there.", adapter=name, **how) for name in wanted}
        heard: dict[str, list[torch.Tensor]] = {name: [] for name in wanted}
        while streams:
            for name in list(streams):
                chunk = next(streams[name], None)
                if chunk is None:
                    del streams[name]
                else:
                    heard[name].append(chunk.audio)
        for name, tts in wanted.items():
            alone = tts.say("Hello there.", **how).audio
            torch.testing.assert_close(torch.cat(heard[name]), alone, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match=r"'anne': not loaded; loaded are: anna, turned"):
        both.say("Hello.", adapter="anne")
    with pytest.raises(ValueError, match="another one is called"):
        FireRedTTS2(
            tiny_checkpoint,
            device="cpu",
            adapters=[tmp_path / "anna", path.parent / path.name, tmp_path / "anna"],
        )
