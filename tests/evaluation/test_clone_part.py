import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fireredtts2.evaluation.clone_part import PromptVoices, draw_items
from fireredtts2.evaluation.clone_sets import CloneItem, SetSource
from fireredtts2.evaluation.run import Evaluation, EvaluationError
from tests.evaluation.fakes import PITCH_HZ, TEXTS, FakeTTS, fake_judges, make_config, tone


def write_set(folder: Path, rows: list[dict[str, Any]], seconds: float = 1.0) -> SetSource:
    """A set of JSON lines; prompts are named after the fake voices."""
    for name, hz in PITCH_HZ.items():
        soundfile.write(folder / f"{name}.wav", tone(hz, seconds), 24_000)
    whole = [{"prompt_audio": "anna.wav", "prompt_text": "A prompt.", **row} for row in rows]
    path = folder / "clones.jsonl"
    path.write_text("\n".join(map(json.dumps, whole)), encoding="utf-8")
    return SetSource("jsonl", path)


def evaluation(tmp_path: Path, source: SetSource, tts: FakeTTS, **options: Any) -> Evaluation:
    config = make_config(tmp_path, sets=[source], **options)
    return Evaluation(config, lambda: tts, lambda: fake_judges(TEXTS))


def rows_of(tmp_path: Path, part: str = "jsonl-clones") -> dict[str, dict[str, Any]]:
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    return {row["id"]: row for row in report["parts"][part]["rows"]}


def test_each_text_is_spoken_in_the_voice_of_its_prompt(tmp_path: Path) -> None:
    source = write_set(
        tmp_path,
        [
            {"id": "one", "text": TEXTS[0], "reference_audio": "anna.wav"},
            {"id": "two", "text": TEXTS[1], "prompt_audio": "ben.wav"},
        ],
    )
    tts = FakeTTS(TEXTS, wrong=TEXTS[1])
    for path in (make_config(tmp_path, "wer").out.parent / "model" / "voices").iterdir():
        path.unlink()  # a set brings its own voices
    (part,) = evaluation(tmp_path, source, tts).run()
    assert part.name == "jsonl-clones"
    first, second = rows_of(tmp_path).values()
    assert (first["word_errors"], first["similarity"]) == (0, pytest.approx(1))
    assert second["similarity"] == pytest.approx(0)  # the prompt was Ben, and Cleo spoke
    assert first["mcd"] < 1  # the recording is the same tone
    assert second["mcd"] is None
    assert Path(first["audio_prompt"]) == tmp_path / "anna.wav"
    assert second["voice"] == "ben.wav"
    figures = {figure.key: figure for figure in part.figures}
    assert figures["jsonl-clones.similarity"].value == pytest.approx(0.5)
    assert figures["jsonl-clones.mcd"].count == 1


def test_a_prompt_that_is_refused_loses_its_words_and_no_more(tmp_path: Path) -> None:
    source = write_set(tmp_path, [{"id": str(n), "text": TEXTS[n]} for n in range(2)])
    soundfile.write(tmp_path / "long.wav", tone(200, 2.5), 24_000)
    with source.path.open("a", encoding="utf-8") as file:
        row = {"id": "bad", "text": TEXTS[2], "prompt_text": "Long.", "prompt_audio": "long.wav"}
        file.write("\n" + json.dumps(row))
    evaluation(tmp_path, source, FakeTTS(TEXTS)).run()
    rows = rows_of(tmp_path)
    bad = rows.pop("jsonl-clones_bad_0")
    assert bad["error"] == "refused: a voice prompt is of at most 2 s"
    assert bad["word_errors"] == bad["words"] == len(TEXTS[2].split())
    assert bad["audio"] is None
    assert [row["word_errors"] for row in rows.values()] == [0, 0]


def test_a_prompt_that_cannot_be_read_loses_its_words_and_no_more(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": TEXTS[n]} for n in range(3)]
    source = write_set(tmp_path, [rows[0], {**rows[1], "prompt_audio": "bad.wav"}, rows[2]])
    (tmp_path / "bad.wav").write_text("no sound", encoding="utf-8")
    evaluation(tmp_path, source, FakeTTS(TEXTS)).run()
    first, bad, last = rows_of(tmp_path).values()
    assert bad["word_errors"] == bad["words"]
    assert bad["error"].startswith("refused: ")
    assert (first["word_errors"], last["word_errors"]) == (0, 0)


def test_a_reference_that_cannot_be_read_is_named_before_anything_is_spoken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"id": str(n), "text": TEXTS[n], "reference_audio": "anna.wav"} for n in range(2)]
    source = write_set(tmp_path, [rows[0], {**rows[1], "reference_audio": "bad.wav"}])
    (tmp_path / "bad.wav").write_text("no sound", encoding="utf-8")
    tts = FakeTTS(TEXTS)
    with pytest.raises(EvaluationError, match="lacks jsonl-clones"):
        evaluation(tmp_path, source, tts).run()
    assert tts.calls == 0
    assert "the reference cannot be read of 1 (" in caplog.text


def test_a_text_without_a_word_is_refused_before_anything_is_spoken(tmp_path: Path) -> None:
    source = write_set(tmp_path, [{"id": "one", "text": TEXTS[0]}, {"id": "two", "text": "..."}])
    tts = FakeTTS(TEXTS)
    with pytest.raises(EvaluationError, match="lacks jsonl-clones"):
        evaluation(tmp_path, source, tts).run()
    assert tts.calls == 0
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "no word in the text of two" in page


def test_all_sets_are_read_before_anything_is_spoken(tmp_path: Path) -> None:
    source = write_set(tmp_path, [{"id": "one", "text": TEXTS[0]}])
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text("{", encoding="utf-8")
    for other, message in (
        (SetSource("librispeech", tmp_path / "nowhere"), "nowhere: no such file or folder"),
        (SetSource("jsonl", wrong), r"wrong\.jsonl, line 1: not JSON"),
    ):
        tts = FakeTTS(TEXTS)
        config = make_config(tmp_path, "wer", sets=[source, other])
        with pytest.raises(ValueError, match=message):
            Evaluation(config, lambda tts=tts: tts, lambda: fake_judges(TEXTS)).run()
        assert tts.calls == 0


def test_a_set_of_which_the_model_refuses_everything_is_not_measured(tmp_path: Path) -> None:
    source = write_set(tmp_path, [{"id": n, "text": TEXTS[0]} for n in "ab"], seconds=2.5)
    with pytest.raises(EvaluationError, match="lacks jsonl-clones"):
        evaluation(tmp_path, source, FakeTTS(TEXTS)).run()
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    reason = "no item was spoken; the first was refused: a voice prompt is of at most 2 s."
    assert reason in page


def test_the_second_run_speaks_and_judges_nothing_and_other_prompts_do(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": TEXTS[n]} for n in range(3)]
    source = write_set(tmp_path, rows)
    evaluation(tmp_path, source, FakeTTS(TEXTS), set_items=0).run()
    before = rows_of(tmp_path)
    again = FakeTTS(TEXTS)
    evaluation(tmp_path, source, again, set_items=0).run()
    assert again.calls == 0
    assert rows_of(tmp_path) == before
    evaluation(tmp_path, write_set(tmp_path, rows, seconds=1.2), again, set_items=0).run()
    assert again.calls == 3


def test_a_set_may_be_measured_once_more_with_adapted_voices(tmp_path: Path) -> None:
    source = write_set(tmp_path, [{"id": "a", "text": TEXTS[0]}])
    tts = FakeTTS(TEXTS)
    evaluation(tmp_path, source, tts).run()
    assert tts.adapted == [False]
    evaluation(tmp_path, replace(source, adapt=True), tts).run()
    assert tts.adapted == [False, True]
    plain, adapted = (rows_of(tmp_path, f"jsonl-clones{end}") for end in ("", "-adapted"))
    assert len(plain) == len(adapted) == 1
    assert plain.keys() != adapted.keys()  # their sounds lie side by side


def test_items_are_drawn_by_seed_in_the_order_of_the_set() -> None:
    items = [CloneItem(str(n), "Any.", Path("a"), "Any.") for n in range(50)]
    drawn = draw_items(items, 10, seed=3)
    assert drawn == draw_items(items, 10, seed=3) != draw_items(items, 10, seed=4)
    assert drawn == sorted(drawn, key=items.index)
    assert len({item.id for item in drawn}) == 10
    assert draw_items(items, 0, 0) == draw_items(items, 50, 0) == draw_items(items, 99, 0) == items


def test_a_voice_is_made_once_for_all_its_items(tmp_path: Path) -> None:
    class Counting(FakeTTS):
        made = 0

        def make_voice(self, name, wav, text, adapt=False):
            self.made += 1
            return super().make_voice(name, wav, text, adapt)

    soundfile.write(tmp_path / "a.wav", tone(200), 24_000)
    items = [CloneItem(str(n), "Any.", tmp_path / "a.wav", "Prompt.") for n in range(3)]
    maker = Counting(TEXTS)
    voices = PromptVoices(maker, items)
    assert maker.made == 0
    assert [int(voices[item.voice_name].codes[0, 0]) for item in items] == [200] * 3
    assert (maker.made, len(voices), list(voices)) == (1, 1, [items[0].voice_name])
    assert np.all(voices[items[0].voice_name].codes.numpy() == 200)
