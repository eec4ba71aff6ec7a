"""The doctor: finds what is wrong, says how to mend it, and never falls ill itself."""

import json
import shutil
from pathlib import Path

import pytest

from fireredtts2 import doctor
from fireredtts2.cli.errors import ExitCode
from fireredtts2.doctor import CORE_PACKAGES, Finding, cpu_features, examine
from tests.shell import Shell

pytest_plugins = ("tests.speaking",)


def finding(findings: list[Finding], subject: str) -> Finding:
    return next(found for found in findings if found.subject == subject)


def test_a_healthy_installation(tiny_mini: Path) -> None:
    findings = list(examine("mini", "cpu"))
    assert [found for found in findings if found.status == "fault"] == []
    assert "2: af_heart, am_michael" in finding(findings, "voices").detail
    assert "s of audio in" in finding(findings, "speech").detail
    assert finding(findings, "torch").detail.startswith("2.")


def test_every_fault_comes_with_its_remedy(tiny_mini: Path, voiced_checkpoint: Path) -> None:
    shutil.copytree(voiced_checkpoint, tiny_mini / "broken")
    (tiny_mini / "broken" / "codec.safetensors").unlink()
    findings = list(examine("broken", "cpu"))
    faults = [found for found in findings if found.status == "fault"]
    assert [fault.subject for fault in faults] == ["model"]
    assert "codec.safetensors" in faults[0].detail
    assert "fireredtts2 download" in faults[0].detail


@pytest.mark.parametrize(
    ("kind", "name"), [("monologue", "llm_pretrain"), ("dialogue", "llm_posttrain")]
)
def test_a_folder_for_one_kind_only(
    tiny_mini: Path, voiced_checkpoint: Path, kind: str, name: str
) -> None:
    shutil.copytree(voiced_checkpoint, tiny_mini / "half")
    weights = tiny_mini / "half" / "llm.safetensors"
    weights.rename(weights.with_name(f"{name}.safetensors"))
    findings = list(examine("half", "cpu"))
    assert [found for found in findings if found.status == "fault"] == []
    assert f"for {kind} only" in finding(findings, "model").detail


def test_wrong_weights_are_found_by_speaking(tiny_mini: Path, voiced_checkpoint: Path) -> None:
    shutil.copytree(voiced_checkpoint, tiny_mini / "broken")
    path = tiny_mini / "broken" / "llm.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert finding(list(examine("broken", "cpu")), "speech").status == "fault"
    assert all(found.subject != "speech" for found in examine("broken", "cpu", speak=False))


def test_a_device_that_is_not_there(tiny_mini: Path) -> None:
    fault = finding(list(examine("mini", "cuda:99")), "speech")
    assert fault.status == "fault"
    assert "cpu" in fault.detail


def test_a_package_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CORE_PACKAGES, "soxr", "no_such_module")
    fault = finding(list(doctor.examine_packages()), "soxr")
    assert fault.status == "fault"
    assert fault.remedy == "pip install --force-reinstall soxr"


def test_no_player(tiny_mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    note = doctor.examine_players()
    assert note.status == "note"
    assert "ffplay" in note.detail
    assert "FFmpeg" in note.remedy


def test_no_voices(tiny_mini: Path, voiced_checkpoint: Path) -> None:
    shutil.copytree(voiced_checkpoint, tiny_mini / "bare")
    shutil.rmtree(tiny_mini / "bare" / "voices")
    note = doctor.examine_voices("bare")
    assert note.status == "note"
    assert "voices add" in note.remedy


def test_silence_is_a_fault(tiny_mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SILENCE_PEAK", 1e9)
    assert doctor.examine_speech("mini", "cpu").status == "fault"


def test_idle_card_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    note = doctor.examine_graphics()
    assert note.status == "note"
    assert "without CUDA" in note.detail
    assert "pip install" in note.remedy


def test_cpu_features(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nflags : fpu avx2 avx512f amx_bf16\n")
    assert cpu_features(path) == ["avx2", "avx512f", "amx_bf16"]


def test_the_command(shell: Shell) -> None:
    result = shell("doctor", "--device", "cpu")
    assert result.code == 0
    assert "ok    speech:" in result.text
    ill = shell("doctor", "--model", "nowhere", "--json")
    assert ill.code == ExitCode.FAULT
    report = json.loads(ill.text)
    assert report["ok"] is False
    assert [f["subject"] for f in report["findings"] if f["status"] == "fault"] == ["model"]
