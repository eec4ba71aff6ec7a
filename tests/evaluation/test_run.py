import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fireredtts2.evaluation.__main__ import main
from fireredtts2.evaluation.goals import GOALS
from fireredtts2.evaluation.missing import missing_part
from fireredtts2.evaluation.report import Part
from fireredtts2.evaluation.run import Evaluation, EvaluationConfig, EvaluationError
from fireredtts2.evaluation.sets import load_dialogues
from tests.evaluation.fakes import TEXTS, FakeTTS, fake_judges, make_config, tone
from tests.evaluation.test_corpus import write_shard


def evaluation(tmp_path: Path, tts: FakeTTS, *parts: str, **options: object) -> Evaluation:
    config = make_config(tmp_path, *parts, **options)
    return Evaluation(config, lambda: tts, lambda: fake_judges(TEXTS))


def read_report(tmp_path: Path) -> tuple[dict, dict]:
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    return {f["key"]: f for f in report["figures"]}, report["parts"]


def test_from_speech_to_report(tmp_path: Path) -> None:
    tts = FakeTTS(TEXTS)
    evaluation(tmp_path, tts, "wer", "dialogue", "runaways", "codec").run()
    figures, parts = read_report(tmp_path)
    assert figures["sentences.wer"]["value"] == 0
    assert figures["sentences.similarity"]["value"] == pytest.approx(1)
    assert figures["dialogue.wer"]["count"] == 12
    assert figures["dialogue.wrong_voice"]["value"] == 0
    assert (figures["runaways.returned"]["value"], figures["runaways.returned"]["count"]) == (0, 20)
    assert figures["codec.wer_cost"]["verdict"] == "not measured"  # no corpus was named
    assert tts.calls == 4 + 2 + 4
    assert parts["sentences"]["rows"][1]["text"] == TEXTS[1]
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "decoded prompts, which flatters them: anna, ben, cleo." in page
    assert "met, but measured on 4 of 100" in page


def test_a_second_run_speaks_nothing_again_but_other_weights_do(tmp_path: Path) -> None:
    evaluation(tmp_path, FakeTTS(TEXTS), "wer").run()
    again = FakeTTS(TEXTS)
    evaluation(tmp_path, again, "wer", "runaways").run()
    assert again.calls == 2 + 4  # the dialogues and the extra turns of the count
    other_seed = FakeTTS(TEXTS)
    evaluation(tmp_path, other_seed, "wer", seed=1).run()
    assert other_seed.calls == 4
    (tmp_path / "model" / "codec.safetensors").write_bytes(b"trained on")
    new = FakeTTS(TEXTS)
    evaluation(tmp_path, new, "wer", seed=1).run()
    assert new.calls == 4


def test_streams_are_another_report(tmp_path: Path) -> None:
    evaluation(tmp_path, FakeTTS(TEXTS), "wer").run()
    streams = FakeTTS(TEXTS)
    evaluation(tmp_path, streams, "dialogue", streams=True).run()
    assert streams.calls == 2
    assert set(read_report(tmp_path)[1]) == {"dialogue"}


def test_what_a_model_does_not_speak_with_makes_nothing_anew(tmp_path: Path) -> None:
    config = make_config(tmp_path, "wer", out=tmp_path / "model" / "eval")
    Evaluation(config, lambda: FakeTTS(TEXTS), lambda: fake_judges(TEXTS)).run()
    shelf = tmp_path / "model" / "adapters" / "anna"
    shelf.mkdir(parents=True)
    (shelf / "adapter_model.safetensors").write_bytes(b"an adapter")
    (tmp_path / "model" / "README.md").write_text("Prose.", encoding="utf-8")
    again = FakeTTS(TEXTS)
    slash = replace(config, model=f"{config.model}/", parts=("dialogue",))
    Evaluation(slash, lambda: again, lambda: fake_judges(TEXTS)).run()
    assert again.calls == 2, "the dialogues alone"
    report = json.loads((config.out / "report.json").read_text(encoding="utf-8"))
    assert set(report["parts"]) == {"sentences", "dialogue"}
    (tmp_path / "model" / "voices" / "anna.safetensors").unlink()
    fewer = FakeTTS(TEXTS)
    Evaluation(config, lambda: fewer, lambda: fake_judges(TEXTS)).run()
    assert fewer.calls == 4, "other voices are another model"


def test_parts_of_an_earlier_run_stay_in_the_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluation(tmp_path, FakeTTS(TEXTS), "wer").run()
    evaluation(tmp_path, FakeTTS(TEXTS), "dialogue", sentences=3).run()
    figures, parts = read_report(tmp_path)
    assert set(parts) == {"sentences", "dialogue"}
    assert figures["sentences.wer"]["count"] == 4  # each part tells its own size
    caplog.set_level("INFO")
    evaluation(tmp_path, FakeTTS(TEXTS), "dialogue", seed=2).run()
    assert set(read_report(tmp_path)[1]) == {"dialogue"}
    assert "wer.json is left out" in caplog.text


def test_a_turn_that_fails_loses_its_words_and_those_after_it(tmp_path: Path) -> None:
    failing = load_dialogues(2)[0].lines[4].text
    evaluation(tmp_path, FakeTTS(TEXTS, fails=failing), "dialogue", "runaways").run()
    figures, parts = read_report(tmp_path)
    rows = {row["id"]: row for row in parts["dialogue"]["rows"]}
    first = load_dialogues(1)[0].id
    assert rows[f"dialogue_{first}_3"]["error"] == ""
    for turn in (4, 5):
        row = rows[f"dialogue_{first}_{turn}"]
        assert row["error"] == "no end"
        assert row["word_errors"] == row["words"] > 0
    assert figures["runaways.given_up"]["value"] == 2
    assert figures["runaways.returned"]["value"] == 0


def test_a_wrong_voice_is_noticed(tmp_path: Path) -> None:
    spoken = load_dialogues(1)[0].lines[2].text
    run = evaluation(tmp_path, FakeTTS(TEXTS, wrong=spoken), "dialogue")
    # The pair of the first dialogue must not hold "cleo" as the speaker of that turn.
    assert run.materials.dialogues[0].voices["S1"] != "cleo"
    run.run()
    row = read_report(tmp_path)[1]["dialogue"]["rows"][2]
    assert row["similarity"] == pytest.approx(0)
    pair = set(run.materials.dialogues[0].voices.values())
    assert ("cleo" in pair) == (row["heard_voice"] == "cleo") == bool(row["wrong_voice"])


def test_an_endless_turn_is_counted_as_returned(tmp_path: Path) -> None:
    class Endless(FakeTTS):
        def say(self, text, voice, *, seed):
            speech = super().say(text, voice, seed=seed)
            object.__setattr__(speech.turns[0], "audio", torch.from_numpy(tone(200, 29.0)))
            return speech

    evaluation(tmp_path, Endless(TEXTS), "runaways", runaway_turns=0).run()
    figures, parts = read_report(tmp_path)
    assert figures["runaways.returned"]["value"] == 4
    assert figures["runaways.returned"]["verdict"] == "fail"
    assert {row["fault"] for row in parts["runaways"]["rows"]} == {"runaway"}


def test_the_codec_on_held_out_clips(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_shard(corpus / "shard_000.tar", [0, 1, 2, 50])
    evaluation(tmp_path, FakeTTS(TEXTS), "codec", corpus=corpus, codec_clips=2).run()
    figures, parts = read_report(tmp_path)
    assert figures["codec.wer_cost"]["value"] == 0
    assert figures["codec.wer_cost"]["verdict"] == "too few"
    assert figures["codec.similarity"]["value"] == pytest.approx(1)
    assert len(parts["codec"]["rows"]) == 2
    assert np.isfinite(figures["codec.mel"]["value"])


def test_a_part_that_fails_leaves_the_others_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = evaluation(tmp_path, FakeTTS(TEXTS), "wer", "dialogue", "runaways")

    def full_disk() -> Part:
        raise OSError("no space\nleft | on the disk")

    monkeypatch.setattr(run, "dialogue", full_disk)
    with pytest.raises(EvaluationError, match=r"report\.md lacks dialogue"):
        run.run()
    figures, parts = read_report(tmp_path)
    assert list(parts) == ["sentences", "dialogue", "runaways"]
    assert figures["sentences.wer"]["verdict"] == "too few"
    assert figures["dialogue.wrong_voice"]["verdict"] == "not measured"
    assert parts["dialogue"]["notes"] == ["Not measured: it failed: no space left | on the disk."]
    assert "no space left" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    # It is not kept: the next run measures it.
    assert not (tmp_path / "out" / "parts" / "dialogue.json").exists()
    evaluation(tmp_path, FakeTTS(TEXTS), "dialogue").run()
    assert read_report(tmp_path)[0]["dialogue.wer"]["value"] == 0


def test_what_was_measured_stays_where_it_cannot_be_measured_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_shard(corpus / "shard_000.tar", [0, 1, 2, 50])
    evaluation(tmp_path, FakeTTS(TEXTS), "wer", "codec", corpus=corpus, codec_clips=2).run()
    before = read_report(tmp_path)
    evaluation(tmp_path, FakeTTS(TEXTS), "codec").run()
    assert read_report(tmp_path) == before
    assert "codec: Not measured: it needs the corpus folder (--corpus). The report" in caplog.text
    run = evaluation(tmp_path, FakeTTS(TEXTS), "wer", "dialogue")

    def mistyped() -> Part:
        raise ValueError("/nope: not a folder")

    monkeypatch.setattr(run, "sentences", mistyped)
    monkeypatch.setattr(run, "dialogue", mistyped)
    message = r"report\.md lacks dialogue: failed, as it says there; it has sentences as measured"
    with pytest.raises(EvaluationError, match=message):
        run.run()
    _, parts = read_report(tmp_path)
    assert {name: parts[name] for name in before[1]} == before[1]
    assert parts["dialogue"]["notes"] == ["Not measured: it failed: /nope: not a folder."]


@pytest.mark.parametrize(
    ("voices", "measured"), [((), set()), (("anna",), {"sentences", "runaways"})]
)
def test_a_model_with_few_named_voices(
    tmp_path: Path, voices: tuple[str, ...], measured: set[str]
) -> None:
    run = evaluation(tmp_path, FakeTTS(TEXTS), "wer", "dialogue", "runaways", "speed")
    for path in (tmp_path / "model" / "voices").iterdir():
        if path.stem not in voices:
            path.unlink()
    run.run()
    figures, parts = read_report(tmp_path)
    missing = {name for name, part in parts.items() if "Not measured" in " ".join(part["notes"])}
    assert set(parts) - missing == measured
    assert f"and {len(voices)} are in" in parts["speed"]["notes"][0]
    assert figures["speed.load"]["verdict"] == "not measured"
    if voices:
        assert figures["runaways.returned"]["count"] == 20  # sentences stand in for the dialogues


def test_every_goal_of_a_part_that_is_missing_is_named() -> None:
    names = {key.partition(".")[0] for key in GOALS}
    missing = [figure for name in names for figure in missing_part(name, "why").figures]
    assert {figure.key for figure in missing} == set(GOALS)
    assert {figure.verdict for figure in missing} == {"not measured"}


def test_a_corpus_without_held_out_clips_is_said_to_be_so(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_shard(corpus / "shard_000.tar", [50])
    evaluation(tmp_path, FakeTTS(TEXTS), "codec", corpus=corpus).run()
    figures, parts = read_report(tmp_path)
    assert figures["codec.wer_cost"]["verdict"] == "not measured"
    assert parts["codec"]["notes"] == [f"Not measured: no held-out sentences in {corpus}."]


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'tea'"):
        EvaluationConfig("mini", tmp_path, ("tea",))
    with pytest.raises(ValueError, match="at least 1"):
        EvaluationConfig("mini", tmp_path, codec_clips=0)
    with pytest.raises(ValueError, match="nothing to measure"):
        EvaluationConfig("mini", tmp_path, ())
    for count in (0, 101):
        with pytest.raises(ValueError, match=f"{count} sentences asked for, 1 to 100 are there"):
            EvaluationConfig("mini", tmp_path, sentences=count)
    with pytest.raises(ValueError, match="11 dialogues asked for, 1 to 10 are there"):
        EvaluationConfig("mini", tmp_path, dialogues=11)
    with pytest.raises(ValueError, match="seed -1; allowed: 0 or above"):
        EvaluationConfig("mini", tmp_path, seed=-1)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("sentence_001.json", b'{"model": '),
        ("sentence_001.json", b"[]"),
        ("sentence_001.json", b"\xff"),
        ("sentence_001_0.wav", b"RIFF"),
    ],
)
def test_a_kept_item_that_is_damaged_is_spoken_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: bytes
) -> None:
    evaluation(tmp_path, FakeTTS(TEXTS), "wer").run()
    before = read_report(tmp_path)
    (tmp_path / "out" / "audio" / name).write_bytes(damage)
    again = FakeTTS(TEXTS)
    evaluation(tmp_path, again, "wer").run()
    assert again.calls == 1
    assert "sentence_001.json: cannot be used, spoken anew" in caplog.text
    assert read_report(tmp_path) == before


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "nowhere"
    assert main(["--model", str(missing), "--out", str(tmp_path / "out")]) == 1
    assert "nowhere" in caplog.text
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--part", "tea"])
