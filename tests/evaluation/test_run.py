import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fireredtts2.evaluation.__main__ import main
from fireredtts2.evaluation.run import Evaluation, EvaluationConfig
from fireredtts2.evaluation.sets import load_dialogues, load_sentences
from tests.evaluation.fakes import FakeTTS, fake_judges, make_checkpoint, tone
from tests.evaluation.test_corpus import write_shard

TEXTS = [*load_sentences(4), *(line.text for d in load_dialogues(2) for line in d.lines)]


def evaluation(tmp_path: Path, tts: FakeTTS, *parts: str, **options: object) -> Evaluation:
    model = tmp_path / "model"
    if not model.exists():
        make_checkpoint(model)
    settings = {"sentences": 4, "dialogues": 2, "runaway_turns": 20, "device": "cpu", **options}
    config = EvaluationConfig(str(model), tmp_path / "out", parts, **settings)
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


def test_parts_of_an_earlier_run_stay_in_the_report(tmp_path: Path) -> None:
    evaluation(tmp_path, FakeTTS(TEXTS), "wer").run()
    evaluation(tmp_path, FakeTTS(TEXTS), "dialogue").run()
    assert set(read_report(tmp_path)[1]) == {"sentences", "dialogue"}
    evaluation(tmp_path, FakeTTS(TEXTS), "dialogue", seed=2).run()
    assert set(read_report(tmp_path)[1]) == {"dialogue"}


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
    assert run._dialogues[0].voices["S1"] != "cleo"
    run.run()
    row = read_report(tmp_path)[1]["dialogue"]["rows"][2]
    assert row["similarity"] == pytest.approx(0)
    pair = set(run._dialogues[0].voices.values())
    assert ("cleo" in pair) == (row["heard_voice"] == "cleo")


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


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'tea'"):
        EvaluationConfig("mini", tmp_path, ("tea",))
    with pytest.raises(ValueError, match="at least 1"):
        EvaluationConfig("mini", tmp_path, codec_clips=0)


def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    missing = tmp_path / "nowhere"
    assert main(["--model", str(missing), "--out", str(tmp_path / "out")]) == 1
    assert "nowhere" in caplog.text
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--part", "tea"])
