import json
from pathlib import Path
from typing import Any

import pytest

from fireredtts2.evaluation.choice import Candidate, choose, pick
from fireredtts2.evaluation.run import EvaluationConfig, EvaluationError
from tests.evaluation.fakes import TEXTS, FakeTTS, fake_judges, make_checkpoint, make_config
from tests.evaluation.test_clone_part import write_set


def candidate(name: str, errors: list[int], **values: list[float | None]) -> Candidate:
    """A checkpoint with a row a value: errors of 10 words, and what else is given."""
    rows = [
        {"id": f"s_{n}", "text": "Any.", "word_errors": count, "words": 10}
        | {key: column[n] for key, column in values.items()}
        for n, count in enumerate(errors)
    ]
    return Candidate(name, Path(name), rows)


FEW, MANY = [0, 1] * 10, [2, 3] * 10
NEAR, FAR = [0.90, 0.92] * 10, [0.80, 0.82] * 10


def test_the_lowest_word_error_rate_wins_whatever_the_rest_says() -> None:
    choice = pick(
        [
            candidate("a", MANY, similarity=NEAR, dnsmos=[4.0] * 20),
            candidate("b", FEW, similarity=FAR, dnsmos=[2.0] * 20),
        ]
    )
    assert choice.best == "b"
    assert choice.reason == (
        "Word error rate: b has the best, 5.00 %, and the others are worse by more than chance."
    )


def test_of_those_that_cannot_be_told_apart_the_cosine_decides() -> None:
    # b has one word error more than a: nothing that 20 items could tell.
    nearly = [*FEW[:-1], 2]
    choice = pick(
        [
            candidate("a", FEW, similarity=FAR),
            candidate("b", nearly, similarity=NEAR),
            candidate("c", MANY, similarity=[0.99] * 20),
        ]
    )
    assert choice.best == "b"
    assert (
        "Word error rate: a has the best, 5.00 %; not distinguishable from it: b; "
        "worse by more than chance: c."
    ) in choice.reason
    assert "Cosine to the voice: b has the best" in choice.reason


def test_then_dnsmos_then_the_order() -> None:
    same = {"similarity": NEAR}
    better = candidate("b", FEW, **same, dnsmos=[3.2] * 20)
    assert pick([candidate("a", FEW, **same, dnsmos=[3.0] * 20), better]).best == "b"
    twins = [candidate(name, FEW, **same, dnsmos=[3.0] * 20) for name in "ab"]
    assert pick(twins).best == "a"
    assert pick(twins[::-1]).best == "b"


def test_too_few_items_tell_nothing() -> None:
    choice = pick([candidate("a", [9] * 4, similarity=[0.9] * 4), candidate("b", [0] * 4)])
    assert "too few items to tell from it: a." in choice.reason
    assert "Cosine to the voice: a has the best, 0.900; not measured for b." in choice.reason
    assert "more than chance" not in choice.reason
    assert choice.best == "a"  # nothing tells them apart, and it is named first
    unheard = pick([candidate("a", FEW), candidate("b", FEW)])
    assert "DNSMOS: not measured." in unheard.reason
    assert unheard.best == "a"


def test_one_that_is_better_on_common_items_is_not_thrown_out() -> None:
    """The leader's mean is over its own rows, among them ones that the other lacks."""
    leader = [0.80] * 10 + [None] * 5 + [0.99] * 5
    other = [0.81] * 15 + [None] * 5
    a = candidate("a", FEW, similarity=leader, dnsmos=[3.0] * 20)
    b = candidate("b", FEW, similarity=other, dnsmos=[3.5] * 20)
    assert pick([a, b]).best == "b"


def test_what_was_not_measured_is_not_worse() -> None:
    """One of which a measure is missing is neither thrown out by it nor said to be worse."""
    a = candidate("a", FEW, similarity=NEAR, dnsmos=[3.0] * 20)
    b = candidate("b", FEW, similarity=[None] * 20, dnsmos=[3.5] * 20)
    c = candidate("c", FEW, similarity=FAR, dnsmos=[4.0] * 20)
    choice = pick([a, b, c])
    assert "not measured for b; worse by more than chance: c." in choice.reason
    assert choice.best == "b"


def test_items_in_other_voices_are_not_worse() -> None:
    sides = []
    for name, voice, similarity in (("a", "anna", NEAR), ("b", "ben", FAR)):
        one = candidate(name, FEW, similarity=similarity)
        rows = [{**row, "voice": voice} for row in one.rows]
        sides.append(Candidate(name, one.report, rows))
    reason = pick(sides).reason
    assert "not measured on the same items and voices for b." in reason
    assert "more than chance" not in reason


def test_one_of_which_nothing_was_measured_is_named() -> None:
    empty = [candidate(name, []) for name in ("nv1", "nv2")]
    with pytest.raises(ValueError, match=r"nothing was measured of nv1, nv2: no named voices.*set"):
        pick(empty)
    with pytest.raises(ValueError, match="nothing was measured of nv2: "):
        pick([candidate("a", FEW), empty[1]])


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to choose"):
        pick([])


# --- Measured ------------------------------------------------------------------------------------


class Loader:
    """Loads fakes by checkpoint name, `bad` ones in a wrong voice; counts what they speak."""

    def __init__(self) -> None:
        self.spoken: dict[str, FakeTTS] = {}

    def __call__(self, checkpoint: str) -> FakeTTS:
        name = Path(checkpoint).name
        wrong = TEXTS[0] if name == "bad" else ""
        return self.spoken.setdefault(name, FakeTTS(TEXTS, wrong=wrong))

    @property
    def calls(self) -> dict[str, int]:
        return {name: tts.calls for name, tts in self.spoken.items()}


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[str]:
    return [str(make_checkpoint(tmp_path / name)) for name in ("bad", "good", "other")]


def chosen(names: list[str], out: Path, config: EvaluationConfig, loader: Loader) -> Any:
    return choose(names, out, config, loader, lambda: fake_judges(TEXTS))


def test_checkpoints_are_measured_on_the_same_items(tmp_path: Path, checkpoints: list[str]) -> None:
    bad, good, other = checkpoints
    config, loader, out = make_config(tmp_path, "wer"), Loader(), tmp_path / "chosen"
    choice = chosen([bad, good], out, config, loader)
    assert [len(c.rows) for c in choice.candidates] == [4, 4]
    values = json.loads((out / "choice.json").read_text(encoding="utf-8"))
    assert values["best"] == choice.best
    similarity = {c["checkpoint"]: c["similarity"] for c in values["candidates"]}
    assert similarity[good] > 0.99 > similarity[bad]
    page = (out / "choice.md").read_text(encoding="utf-8")
    assert f"The best: **{choice.best}**" in page
    assert f"| {good} | 0.00 % | 1.000 | " in page
    # What was measured is not measured again, whichever the others are and whatever their order.
    chosen([other, good], out, config, loader)
    assert loader.calls == {"bad": 4, "good": 4, "other": 4}
    reports = [c.report for c in choice.candidates]
    assert all((report / "report.html").is_file() for report in reports)


def test_a_part_that_only_one_was_measured_on_does_not_count(
    tmp_path: Path, checkpoints: list[str]
) -> None:
    out, loader = tmp_path / "chosen", Loader()
    both = chosen(checkpoints[:2], out, make_config(tmp_path, "wer", "dialogue"), loader)
    assert [len(c.rows) for c in both.candidates] == [16, 16]
    choice = chosen(checkpoints, out, make_config(tmp_path, "wer"), loader)
    assert [len(c.rows) for c in choice.candidates] == [4, 4, 4]


def test_a_set_can_decide_alone(tmp_path: Path, checkpoints: list[str]) -> None:
    source = write_set(tmp_path, [{"id": str(n), "text": TEXTS[n]} for n in range(6)])
    config = make_config(tmp_path, sets=[source])
    choice = chosen(checkpoints[:2], tmp_path / "chosen", config, Loader())
    assert [len(c.rows) for c in choice.candidates] == [6, 6]


def test_a_checkpoint_without_named_voices_is_refused(
    tmp_path: Path, checkpoints: list[str]
) -> None:
    config, out = make_config(tmp_path, "wer"), tmp_path / "chosen"
    for voice in (Path(checkpoints[1]) / "voices").iterdir():
        voice.unlink()
    with pytest.raises(ValueError, match=f"nothing was measured of {checkpoints[1]}: "):
        chosen(checkpoints, out, config, Loader())
    assert not (out / "choice.md").exists()


def test_a_checkpoint_that_fails_is_named_and_the_others_are_not_lost(
    tmp_path: Path, checkpoints: list[str]
) -> None:
    class Failing(Loader):
        def __call__(self, checkpoint: str) -> FakeTTS:
            if Path(checkpoint).name == "other":
                raise RuntimeError("weights of another shape")
            return super().__call__(checkpoint)

    config, loader, out = make_config(tmp_path, "wer"), Failing(), tmp_path / "chosen"
    with pytest.raises(EvaluationError, match="other-"):
        chosen(checkpoints, out, config, loader)
    chosen(checkpoints[:2], out, config, loader)
    assert loader.calls == {"bad": 4, "good": 4}


def test_wrong_calls_are_refused_before_anything_is_measured(
    tmp_path: Path, checkpoints: list[str]
) -> None:
    bad, good, _ = checkpoints
    loader, config = Loader(), make_config(tmp_path, "wer")
    for names in ([], [good], [good, good], [good, f"{good}/"]):
        with pytest.raises(ValueError, match="two different checkpoints"):
            chosen(names, tmp_path, config, loader)
    with pytest.raises(ValueError, match="nowhere: no such folder"):
        chosen([good, str(tmp_path / "nowhere")], tmp_path, config, loader)
    with pytest.raises(ValueError, match="the part wer or dialogue, or a set; got speed"):
        chosen([good, bad], tmp_path, make_config(tmp_path, "speed"), loader)
    assert loader.spoken == {}
