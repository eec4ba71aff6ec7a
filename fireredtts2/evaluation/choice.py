"""Names the best of several checkpoints, all measured on the same items."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fireredtts2.checkpoint import MINI, CheckpointFolder
from fireredtts2.evaluation.comparison import Difference, difference, pair_rows
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.measures import SPEECH, Measure
from fireredtts2.evaluation.report import Part, Row, shown_number, write_whole
from fireredtts2.evaluation.run import Evaluation, TextToSpeech
from fireredtts2.evaluation.settings import EvaluationConfig, PartName

logger = logging.getLogger(__name__)

RULE = (
    "The lowest word error rate; of those that the paired 95 % bootstrap interval cannot tell from "
    "it, the highest cosine to the voice; of those that cannot be told from that, the highest "
    "DNSMOS; of equals, the one named first."
)
CRITERIA = tuple(m for key in ("wer", "similarity", "dnsmos") for m in SPEECH if m.key == key)
#: The parts that decide -> their names in the report.
PART_NAMES: Mapping[PartName, str] = {"wer": "sentences", "dialogue": "dialogue"}
PATH_DIGITS = 8
Standing = Literal[
    "worse by more than chance", "not distinguishable", "too few items", "not measured",
    "nothing in common",
]  # fmt: skip
WORSE: Standing = "worse by more than chance"
#: What is said of the others beside the best -> how the reason puts it, before their names.
STANDINGS: Mapping[Standing, str] = {
    "not distinguishable": "not distinguishable from it:",
    "too few items": "too few items to tell from it:",
    "not measured": "not measured for",
    "nothing in common": "not measured on the same items and voices for",
    WORSE: "worse by more than chance:",
}

LoadTTS = Callable[[str], TextToSpeech]


@dataclass(frozen=True)
class Candidate:
    """A checkpoint and its rows."""

    checkpoint: str
    report: Path
    rows: Sequence[Row]

    def value(self, measure: Measure) -> float | None:
        """A measure over all rows, in its unit."""
        return measure.figure("choice", self.rows).value


@dataclass(frozen=True)
class Choice:
    """Which checkpoint is the best, and why.

    Attributes:
        best: As it was named in the call.
        reason: In words.
        candidates: All, in the order of the call.
    """

    best: str
    reason: str
    candidates: Sequence[Candidate]

    def as_json(self) -> dict[str, Any]:
        rows = [
            {
                "checkpoint": c.checkpoint,
                "report": str(c.report),
                "items": len(c.rows),
                **{m.key: c.value(m) for m in CRITERIA},
            }
            for c in self.candidates
        ]
        return {"best": self.best, "reason": self.reason, "rule": RULE, "candidates": rows}


def choose(
    checkpoints: Sequence[str | Path],
    out: Path,
    config: EvaluationConfig | None = None,
    load_tts: LoadTTS | None = None,
    load_judges: Callable[[], Judges] | None = None,
) -> Choice:
    """Measures checkpoints on the same items and names the best by `RULE`.

    Args:
        checkpoints: Folders, or "mini". What was measured before in `out` is not measured again.
        out: A report of each goes to a folder below, and `choice.md` and `choice.json` into it.
        config: How much is measured; by default the 100 sentences. Its `model` and `out` do not
            count, and only the parts "wer" and "dialogue" and the sets decide.
        load_tts: Loads a checkpoint; `FireRedTTS2` by default.
        load_judges: Loads the judges, once for all.

    Raises:
        ValueError: Fewer than two checkpoints, one of them twice, one that is none, no part
            that decides, or nothing measured of one, as without named voices.
        EvaluationError: A part of one failed; called again, it goes on with what was measured.

    Example:
        >>> choice = choose(["step_1000", "step_2000"], Path("chosen"))  # doctest: +SKIP
        >>> choice.best  # doctest: +SKIP
        'step_2000'
    """
    names = [str(checkpoint) for checkpoint in checkpoints]
    folders = [_report_folder(out, name) for name in names]
    if len(names) < 2 or len(set(folders)) < len(names):
        raise ValueError(f"choosing needs at least two different checkpoints; got {names}")
    config = config or EvaluationConfig("", out, ("wer",))
    deciding = _deciding_parts(config)
    if not deciding:
        given = ", ".join(config.parts)
        raise ValueError(f"choosing needs the part wer or dialogue, or a set; got {given}")
    for name in names:
        CheckpointFolder(name)  # a wrong name is told now, not after the others were measured
    judges = cache(load_judges or (lambda: Judges.load(config.asr_model, config.threads)))
    candidates = []
    for number, (name, folder) in enumerate(zip(names, folders, strict=True), start=1):
        logger.info("checkpoint %d of %d: %s", number, len(names), name)
        own = dataclasses.replace(config, model=name, out=folder)
        load = None if load_tts is None else _loader(load_tts, name)
        parts = Evaluation(own, load, judges).run()
        candidates.append(Candidate(name, folder, _rows(parts, deciding)))
    choice = pick(candidates)
    write_whole(out / "choice.json", json.dumps(choice.as_json(), indent=1) + "\n")
    write_whole(out / "choice.md", choice_markdown(choice))
    return choice


def pick(candidates: Sequence[Candidate]) -> Choice:
    """Applies `RULE` to checkpoints that were measured on the same items.

    Raises:
        ValueError: There is no candidate, or one of which nothing was measured.
    """
    if not candidates:
        raise ValueError("nothing to choose from")
    empty = ", ".join(c.checkpoint for c in candidates if not c.rows)
    if empty:
        raise ValueError(
            f"nothing was measured of {empty}: no named voices, or too few for a dialogue; a set "
            "(--set) brings its own"
        )
    left = list(candidates)
    reasons: list[str] = []
    for measure in CRITERIA:
        left, reason = _narrow(left, measure)
        reasons.append(reason)
        if len(left) == 1:
            break
    if len(left) > 1:
        left = [_best(left, CRITERIA[-1])]
    return Choice(left[0].checkpoint, " ".join(reasons), candidates)


def _narrow(candidates: list[Candidate], measure: Measure) -> tuple[list[Candidate], str]:
    """Those that cannot be told from the best by this measure: all that are not worse."""
    leader = _best(candidates, measure)
    value = leader.value(measure)
    if value is None:
        return candidates, f"{measure.name}: not measured."
    standings = {c.checkpoint: _standing(leader, c, measure) for c in candidates if c is not leader}
    left = [c for c in candidates if standings.get(c.checkpoint) != WORSE]
    shown = f"{measure.name}: {leader.checkpoint} has the best, {shown_number(value, measure.unit)}"
    if set(standings.values()) == {WORSE}:
        return left, f"{shown}, and the others are {WORSE}."
    clauses = [shown]
    for standing, words in STANDINGS.items():
        names = ", ".join(name for name, found in standings.items() if found == standing)
        clauses += [f"{words} {names}"] if names else []
    return left, f"{'; '.join(clauses)}."


def _best(candidates: Sequence[Candidate], measure: Measure) -> Candidate:
    """The first with the best value; those without one come last."""
    sign = 1 if measure.better == "lower" else -1

    def rank(candidate: Candidate) -> float:
        value = candidate.value(measure)
        return float("inf") if value is None else sign * value

    return min(candidates, key=rank)


def _standing(leader: Candidate, other: Candidate, measure: Measure) -> Standing:
    """What can be said of another beside the best; worse only where the interval leaves 0 out."""
    if other.value(measure) is None:
        return "not measured"
    found: Difference | None = difference(measure, pair_rows("", leader.rows, other.rows))
    if found is None:
        return "nothing in common"
    if found.outcome == "too few items":
        return found.outcome
    return WORSE if found.outcome == "worse" else "not distinguishable"


def choice_markdown(choice: Choice) -> str:
    """The choice as a page for people."""
    lines = ["# Choice", "", f"The best: **{choice.best}**", "", choice.reason, ""]
    lines += [f"Rule: {RULE}", "", f"| Checkpoint | {' | '.join(m.name for m in CRITERIA)} |"]
    lines.append("|---" * (len(CRITERIA) + 1) + "|")
    for candidate in choice.candidates:
        values = [(candidate.value(m), m.unit) for m in CRITERIA]
        cells = ["-" if value is None else shown_number(value, unit) for value, unit in values]
        lines.append(f"| {candidate.checkpoint} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _report_folder(out: Path, checkpoint: str) -> Path:
    """Where a checkpoint's report goes: the same in every call, whichever the others are."""
    if checkpoint == MINI:
        return out / MINI
    path = Path(checkpoint).expanduser().resolve()
    digest = hashlib.sha256(str(path).encode("utf-8")).hexdigest()[:PATH_DIGITS]
    return out / f"{path.name}-{digest}"


def _deciding_parts(config: EvaluationConfig) -> list[str]:
    """Names of the parts that this run measures of every checkpoint and that count."""
    named = [PART_NAMES[part] for part in PART_NAMES if part in config.parts]
    return named + [source.part_name for source in config.sets]


def _rows(parts: Sequence[Part], names: Sequence[str]) -> list[Row]:
    return [row for part in parts if part.name in names for row in part.rows]


def _loader(load_tts: LoadTTS, name: str) -> Callable[[], TextToSpeech]:
    return lambda: load_tts(name)
