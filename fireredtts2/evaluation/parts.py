"""The parts of the evaluation: each speaks or decodes, scores, and says what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.clips import ClipScore
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.measures import PROSODY, SPEECH, WRONG_VOICE, Measure
from fireredtts2.evaluation.metrics import mean
from fireredtts2.evaluation.paper import with_paper
from fireredtts2.evaluation.report import HEARD_BY, PROMPT_NOTE, Figure, Part
from fireredtts2.evaluation.scorer import Profiles, Scorer
from fireredtts2.evaluation.speaker import nearest_voice
from fireredtts2.evaluation.synthesis import REFUSED, Item, SpokenTurn, Studio
from fireredtts2.evaluation.turn_faults import turn_fault


def sentences_part(
    studio: Studio, items: Sequence[Item], scorer: Scorer, profiles: Profiles
) -> Part:
    """Word errors, similarity, quality and prosody of single sentences in named voices.

    Raises:
        ValueError: the model refuses every sentence.
    """
    turns = [turn for item in items for turn in studio.spoken(item).turns]
    rows = [turn_row(turn, scorer.turn(turn, profiles)) for turn in turns]
    check_spoken("sentences", rows)
    notes = [*_by_voice(rows), "", heard_by(scorer.judges), *_prompt_notes(profiles)]
    return Part("sentences", speech_figures("sentences", rows), rows, notes)


def dialogue_part(
    studio: Studio, items: Sequence[Item], scorer: Scorer, profiles: Profiles
) -> Part:
    """The same of turns in dialogues, and whether each turn is in its own speaker's voice.

    Raises:
        ValueError: the model refuses every dialogue.
    """
    rows: list[dict[str, Any]] = []
    for item in items:
        present = {name: profiles[name] for name in item.voices.values() if name in profiles}
        for turn in studio.spoken(item).turns:
            score = scorer.turn(turn, profiles)
            heard_voice = None
            if score.embedding is not None and present:
                heard_voice = nearest_voice(score.embedding, present)
            # 0 or 1, so that it adds up; None where nobody can tell.
            is_wrong = None if heard_voice is None else int(heard_voice != turn.voice)
            # A turn that fails takes those after it along: turns of a dialogue are no items alone.
            more = {"heard_voice": heard_voice, "wrong_voice": is_wrong, "group": item.id}
            rows.append({**turn_row(turn, score), **more})
    check_spoken("dialogue", rows)
    wrong = WRONG_VOICE.figure("dialogue", rows)
    figures = with_paper([*speech_figures("dialogue", rows), wrong], "dialogue")
    return Part("dialogue", figures, rows, [heard_by(scorer.judges), *_prompt_notes(profiles)])


def runaways_part(studio: Studio, items: Sequence[Item]) -> Part:
    """Turns that came back empty or far too long, of everything spoken; and turns given up.

    Raises:
        ValueError: the model refuses everything.
    """
    turns = [turn for item in items for turn in studio.spoken(item).turns]
    rows = [
        {"id": t.id, "voice": t.voice, "text": t.text, "audio": audio_path(t), **_fault(t)}
        for t in turns
    ]
    check_spoken("runaways", rows)
    returned = sum(row["fault"] is not None for row in rows)
    given_up = sum(row["given_up"] for row in rows)
    figures = [
        Figure("runaways.returned", "Empty or runaway turns", returned, "turns", len(rows)),
        Figure("runaways.given_up", "Turns reported as failed", given_up, "turns", len(rows)),
    ]
    return Part("runaways", figures, [row for row in rows if row["fault"] or row["given_up"]])


# --- Figures and rows -------------------------------------------------------------------------


def turn_row(turn: SpokenTurn, score: ClipScore) -> dict[str, Any]:
    """A turn's score as a row, with where its audio lies."""
    return {
        "id": turn.id,
        "voice": turn.voice,
        **score.as_row(),
        "error": turn.error,
        "audio": audio_path(turn),
    }


def check_spoken(place: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises ValueError where the model refused all: that says nothing of how it speaks.

    `place` is for the message: what was to be spoken.
    """
    if all(row["error"].startswith(REFUSED) for row in rows):
        raise ValueError(f"{place}: no item was spoken; the first was {rows[0]['error']}")


def audio_path(turn: SpokenTurn) -> str | None:
    """Where a turn's audio lies, from the report's folder; None where it has none."""
    return f"audio/{turn.id}.wav" if len(turn.audio) else None


def speech_figures(
    part: str, rows: Sequence[Mapping[str, Any]], more: Sequence[Measure] = ()
) -> list[Figure]:
    """The figures of spoken turns, most telling first."""
    longest = max((row["longest_omission"] for row in rows), default=None)
    name = "Longest run of words left out"
    return [
        *(measure.figure(part, rows) for measure in (*SPEECH, *more)),
        Figure(f"{part}.longest_omission", name, longest, "words", len(rows)),
        *(measure.figure(part, rows) for measure in PROSODY),
    ]


def _fault(turn: SpokenTurn) -> dict[str, Any]:
    """A failed turn came back as an error, not as audio; everything else is judged."""
    if turn.error and not len(turn.audio):
        return {"fault": None, "given_up": True, "error": turn.error}
    fault = turn_fault(turn.text, turn.audio, OUTPUT_RATE_HZ)
    if fault is None and turn.error:
        fault = "runaway"  # the model itself says that it had not ended
    seconds = len(turn.audio) / OUTPUT_RATE_HZ
    return {"fault": fault, "given_up": False, "error": turn.error, "seconds": round(seconds, 3)}


def heard_by(judges: Judges) -> str:
    """Who heard the words."""
    return f"{HEARD_BY} {judges.recogniser}, greedy, texts normalised."


def _by_voice(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the figures by voice."""
    lines = ["| Voice | Turns | Word error rate | Cosine | DNSMOS |", "|---|---|---|---|---|"]
    for voice in sorted({row["voice"] for row in rows}):
        own = [row for row in rows if row["voice"] == voice]
        errors = sum(row["word_errors"] for row in own) / sum(row["words"] for row in own)
        similarity = mean(row["similarity"] for row in own)
        dnsmos = mean(row["dnsmos"] for row in own)
        cells = [
            f"{errors:.1%}",
            *(f"{x:.3f}" if x is not None else "-" for x in (similarity, dnsmos)),
        ]
        lines.append(f"| {voice} | {len(own)} | {' | '.join(cells)} |")
    return lines


def _prompt_notes(profiles: Profiles) -> list[str]:
    names = sorted(name for name, profile in profiles.items() if profile.source == "prompt")
    return ["", PROMPT_NOTE + ", ".join(names) + "."] if names else []
