import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fireredtts2.evaluation.comparison import Difference, compare
from fireredtts2.evaluation.comparison_report import write_comparison
from fireredtts2.evaluation.report import PROMPT_NOTE, Figure, Part, write_report
from fireredtts2.evaluation.saved_report import SavedReport


def row(number: int, errors: int, **values: Any) -> dict[str, Any]:
    meant = {"id": f"s_{number}", "text": f"Text number {number}."}
    return {**meant, "heard": "", "word_errors": errors, "words": 10, **values}


def report(folder: Path, rows: list[dict[str, Any]], *more: Part) -> SavedReport:
    write_report(folder, {"model": folder.name}, [Part("sentences", [], rows), *more])
    return SavedReport.load(folder)


def hard_and_easy(shift: int = 0) -> list[dict[str, Any]]:
    """Items of which some are far harder than others, all `shift` errors worse."""
    draw = random.Random(0)
    return [row(n, draw.choice([0, 4, 9]) + shift, similarity=0.8) for n in range(40)]


def outcomes(first: SavedReport, second: SavedReport) -> dict[str, str]:
    return {d.key: d.outcome for d in compare(first, second).differences}


def test_a_report_cannot_be_told_from_itself(tmp_path: Path) -> None:
    same = report(tmp_path / "a", hard_and_easy())
    found = compare(same, SavedReport.load(tmp_path / "a"))
    assert {d.key for d in found.differences} == {"wer", "similarity"}
    for d in found.differences:
        assert (d.difference, d.interval, d.outcome) == (0, (0, 0), "not distinguishable")
    assert (len(found.pairs), found.missing) == (40, 0)


def test_a_small_steady_difference_is_seen_through_large_ones_between_items(
    tmp_path: Path,
) -> None:
    """Each side's own interval is wide; pairing takes out that some items are harder."""
    first, second = (
        report(tmp_path / "a", hard_and_easy()),
        report(tmp_path / "b", hard_and_easy(1)),
    )
    assert outcomes(first, second) == {"wer": "worse", "similarity": "not distinguishable"}
    assert outcomes(second, first)["wer"] == "better"
    wer = compare(first, second).differences[0]
    assert wer.difference == pytest.approx(10)
    assert wer.interval == pytest.approx((10, 10))


def test_noise_around_nothing_is_not_a_difference(tmp_path: Path) -> None:
    draw = random.Random(1)
    sides = [
        report(tmp_path / name, [row(n, draw.randint(0, 4)) for n in range(60)]) for name in "ab"
    ]
    assert outcomes(*sides) == {"wer": "not distinguishable"}


def test_measures_without_a_better_side_are_higher_or_lower(tmp_path: Path) -> None:
    first = report(tmp_path / "a", [row(n, 0, words_per_s=2.0 + n / 100) for n in range(20)])
    second = report(tmp_path / "b", [row(n, 0, words_per_s=3.0 + n / 100) for n in range(20)])
    assert outcomes(first, second)["pace"] == "higher"
    assert outcomes(second, first)["pace"] == "lower"


def test_few_items_are_too_few(tmp_path: Path) -> None:
    draw = random.Random(2)
    for count, outcome in ((4, "too few items"), (9, "too few items"), (10, "worse")):
        first = report(tmp_path / "a", [row(n, 0) for n in range(count)])
        second = report(tmp_path / "b", [row(n, draw.randint(2, 4)) for n in range(count)])
        found = compare(first, second)
        assert [d.outcome for d in found.differences] == [outcome]
        assert (found.differences[0].interval is None) == (outcome != "worse")
        write_comparison(tmp_path, found)
        for name in ("comparison.md", "comparison.html"):
            page = (tmp_path / name).read_text(encoding="utf-8")
            assert outcome in page
            assert (" points to +" in page) == (outcome == "worse")


def dialogue_rows(
    failed: set[int], names: Sequence[str | None], num_turns: int = 6
) -> list[dict[str, Any]]:
    """Dialogues of which some failed, with all their turns."""
    return [
        row(n * num_turns + turn, 10 * (n in failed), **({"group": name} if name else {}))
        for n, name in enumerate(names)
        for turn in range(num_turns)
    ]


def test_turns_of_a_dialogue_are_one_item(tmp_path: Path) -> None:
    def compared(num_dialogues: int, named: tuple[bool, bool]) -> Difference:
        sides = []
        for side, is_named in enumerate(named):
            names = [f"d{n}" if is_named else None for n in range(num_dialogues)]
            # Four dialogues of 20 failed in the second report, one in the first.
            failed = {0, 5, 10, 15} if side else {7}
            sides.append(report(tmp_path / f"{side}", dialogue_rows(failed, names)))
        return compare(*sides).differences[0]

    alone, together = compared(20, (False, False)), compared(20, (True, True))
    assert (alone.outcome, alone.count, alone.groups) == ("worse", 120, 120)
    assert (together.outcome, together.count, together.groups) == ("not distinguishable", 120, 20)
    assert together.difference == pytest.approx(alone.difference)
    # The groups of either report do, where the other was written before they were named.
    assert compared(20, (False, True)) == compared(20, (True, False)) == together
    nine = compared(9, (True, True))
    assert (nine.outcome, nine.interval, nine.groups) == ("too few items", None, 9)
    write_comparison(tmp_path, compare(*(SavedReport.load(tmp_path / side) for side in "01")))
    assert "| 54 in 9 groups |" in (tmp_path / "comparison.md").read_text(encoding="utf-8")


def test_the_voice_is_compared_within_a_voice_only(tmp_path: Path) -> None:
    values = {"similarity": 0.8, "pitch_st": 1.0, "pitch_range_st": 5.0, "words_per_s": 2.0}
    others = {"similarity": 0.6, "pitch_st": 9.0, "pitch_range_st": 2.0, "words_per_s": 3.0}
    first = report(tmp_path / "a", [row(n, 0, voice="anna", **values) for n in range(50)])
    rows = [
        row(n, 0, voice="anna", **values) if n % 2 else row(n, 0, voice="ben", **others)
        for n in range(50)
    ]
    second = report(tmp_path / "b", rows)
    found = compare(first, second)
    counts = {d.key: (d.count, d.outcome) for d in found.differences}
    same = (25, "not distinguishable")
    assert {counts[key] for key in ("similarity", "pitch", "pitch_range")} == {same}
    assert counts["wer"][0] == 50
    assert counts["pace"] == (50, "higher")
    assert found.cautions == [
        "sentences: 25 of 50 pairs are in different voices; cosine and pitch are compared without "
        "them."
    ]
    assert compare(first, first).cautions == []
    # What one report says of a voice that the other did not speak in is no matter.
    notes = {"sentences": [PROMPT_NOTE + "ben."]}
    assert compare(first, replace(second, notes=notes)).cautions == found.cautions
    nameless = report(tmp_path / "c", [row(n, 0, **values) for n in range(50)])
    (d,) = (d for d in compare(first, nameless).differences if d.key == "similarity")
    assert d.count == 50  # an older report may not say who spoke


def test_a_cosine_to_recordings_and_one_to_prompts_are_pointed_out(tmp_path: Path) -> None:
    def saved(name: str, similarity: float | None, *prompts: str) -> SavedReport:
        rows = [row(n, 0, voice="anna", similarity=similarity) for n in range(20)]
        notes = ["Heard by a fake.", "", PROMPT_NOTE + ", ".join(prompts) + "."]
        write_report(
            tmp_path / name, {}, [Part("sentences", [], rows, notes if prompts else notes[:1])]
        )
        return SavedReport.load(tmp_path / name)

    recordings, prompts = saved("a", 0.9), saved("b", 0.95, "anna", "ben")
    assert prompts.prompt_voices("sentences") == {"anna", "ben"}
    for sides in ((recordings, prompts), (prompts, recordings)):
        (caution,) = compare(*sides).cautions
        assert caution.startswith("sentences: the cosine was not measured against the same sounds.")
        assert "recordings of anna, the other their decoded prompts" in caution
    assert compare(prompts, saved("c", 0.9, "anna", "cleo")).cautions == []
    assert compare(prompts, saved("d", None)).cautions == []  # no cosine at all


def test_only_items_of_both_count(tmp_path: Path) -> None:
    first = report(tmp_path / "a", [row(n, 1) for n in range(8)])
    rows = [row(n, 1) for n in range(6)] + [{**row(6, 1), "text": "Another text."}]
    extra = Part("dialogue", [], [row(50, 0)])
    found = compare(first, report(tmp_path / "b", rows, extra))
    assert [pair.first["id"] for pair in found.pairs] == [f"s_{n}" for n in range(6)]
    assert found.missing == 2 + 1 + 1
    assert found.differences[0].count == 6


def test_a_measure_that_one_side_lacks_is_left_out(tmp_path: Path) -> None:
    first = report(tmp_path / "a", [row(n, 0, dnsmos=3.0) for n in range(20)])
    second = report(tmp_path / "b", [row(n, 0, dnsmos=None) for n in range(20)])
    assert outcomes(first, second) == {"wer": "not distinguishable"}


def test_speed_and_runaways_are_compared_by_their_figures(tmp_path: Path) -> None:
    def speed(value: float, failed: int) -> tuple[Part, Part]:
        figure = Figure("speed.load", "Load", value, "s", 1)
        lost = Figure("runaways.returned", "Empty or runaway turns", failed, "turns", 300)
        rows = [{"id": f"x_{n}", "text": "Any.", "fault": "empty"} for n in range(failed)]
        return Part("runaways", [lost], rows), Part("speed", [figure], [{"id": "speed_0"}])

    first = report(tmp_path / "a", hard_and_easy(), *speed(2.0, 3))
    second = report(tmp_path / "b", hard_and_easy(), *speed(2.5, 0))
    found = compare(first, second)
    assert [(f.key, f.first, f.second) for f in found.figures] == [
        ("runaways.returned", 3, 0),
        ("speed.load", 2.0, 2.5),
    ]
    assert found.missing == 0  # rows of runaways are only those that went wrong
    write_comparison(tmp_path / "out", found)
    page = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| speed | Load | 2.000 s | 2.500 s | +0.500 s |" in page
    assert "| runaways | Empty or runaway turns | 3 | 0 | -3 |" in page
    values = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert values["figures"][1]["difference"] == pytest.approx(0.5)
    only_speed = [
        SavedReport(tmp_path, r.about, {}, figures=r.figures, notes={}) for r in (first, second)
    ]
    assert len(compare(*only_speed).figures) == 2


def test_other_recognisers_are_pointed_out(tmp_path: Path) -> None:
    for name, recogniser in (("a", "Whisper base"), ("b", "Whisper tiny")):
        notes = ["", f"Heard by {recogniser}, greedy, texts normalised."]
        write_report(tmp_path / name, {}, [Part("sentences", [], hard_and_easy(), notes)])
    first, second = (SavedReport.load(tmp_path / name) for name in "ab")
    assert compare(first, first).cautions == []
    (caution,) = compare(first, second).cautions
    assert "sentences" in caution
    assert "Whisper base" in caution
    assert "Whisper tiny" in caution
    write_comparison(tmp_path, compare(first, second))
    assert caution in (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "Whisper tiny" in (tmp_path / "comparison.html").read_text(encoding="utf-8")


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    first = report(tmp_path / "a", [row(1, 0)])
    with pytest.raises(ValueError, match="no item in common"):
        compare(first, report(tmp_path / "b", [row(2, 0)]))
    with pytest.raises(ValueError, match="no item in common"):
        compare(first, report(tmp_path / "c", []))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"parts": [], "about": {}}', '{"parts": {"a": 1}, "about": {}}', "{"]
)
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="it is not a report"):
        SavedReport.load(tmp_path)
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"report\.json: not a report of this program"):
        SavedReport.load(tmp_path)


def test_what_is_written(tmp_path: Path) -> None:
    found = compare(
        report(tmp_path / "a", hard_and_easy()), report(tmp_path / "b", hard_and_easy(1))
    )
    write_comparison(tmp_path / "out", found)
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == ["comparison.html", "comparison.json", "comparison.md"]
    values = json.loads((tmp_path / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert values["items"] == 40
    assert values["differences"][0]["outcome"] == "worse"
    page = (tmp_path / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "| +10.00 points (95 %: +10.00 points to +10.00 points) | worse | 40 |" in page
