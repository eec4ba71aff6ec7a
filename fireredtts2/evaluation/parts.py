"""The parts of the evaluation: each speaks or decodes, scores, and says what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.clips import ClipScore, ClipScores, score_clip
from fireredtts2.evaluation.codec_round_trip import Codec, score_round_trip
from fireredtts2.evaluation.corpus import HeldOutClip
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.metrics import mean
from fireredtts2.evaluation.report import Figure, Part
from fireredtts2.evaluation.speaker import VoiceProfile, nearest_voice
from fireredtts2.evaluation.synthesis import Item, SpokenTurn, Studio
from fireredtts2.evaluation.turn_faults import turn_fault

Profiles = Mapping[str, VoiceProfile]
PERCENT = 100
PROMPT_NOTE = (
    "Without recordings in the corpus, these voices were compared with their own decoded prompts, "
    "which flatters them: "
)


def sentences_part(
    studio: Studio, items: Sequence[Item], judges: Judges, profiles: Profiles
) -> Part:
    """Word errors, similarity and quality of single sentences in named voices."""
    turns = [turn for item in items for turn in studio.spoken(item).turns]
    scores = [_score(turn, judges, profiles) for turn in turns]
    rows = [_row(turn, score) for turn, score in zip(turns, scores, strict=True)]
    figures = _speech_figures("sentences", ClipScores(tuple(scores)))
    return Part(
        "sentences",
        figures,
        rows,
        [*_by_voice(rows), "", _heard_by(judges), *_prompt_notes(profiles)],
    )


def dialogue_part(
    studio: Studio, items: Sequence[Item], judges: Judges, profiles: Profiles
) -> Part:
    """The same of turns in dialogues, and whether each turn is in its own speaker's voice."""
    rows: list[dict[str, Any]] = []
    scores: list[ClipScore] = []
    for item in items:
        present = {name: profiles[name] for name in item.voices.values() if name in profiles}
        for turn in studio.spoken(item).turns:
            score = _score(turn, judges, profiles)
            heard_voice = None
            if score.embedding is not None and present:
                heard_voice = nearest_voice(score.embedding, present)
            scores.append(score)
            rows.append({**_row(turn, score), "heard_voice": heard_voice})
    figures = _speech_figures("dialogue", ClipScores(tuple(scores)))
    figures.append(_wrong_voice(rows))
    return Part("dialogue", figures, rows, [_heard_by(judges), *_prompt_notes(profiles)])


def runaways_part(studio: Studio, items: Sequence[Item]) -> Part:
    """Turns that came back empty or far too long, of everything spoken; and turns given up."""
    turns = [turn for item in items for turn in studio.spoken(item).turns]
    rows = [{"id": t.id, "voice": t.voice, "text": t.text, **_fault(t)} for t in turns]
    returned = sum(row["fault"] is not None for row in rows)
    given_up = sum(row["given_up"] for row in rows)
    figures = [
        Figure("runaways.returned", "Empty or runaway turns", returned, "turns", len(rows)),
        Figure("runaways.given_up", "Turns reported as failed", given_up, "turns", len(rows)),
    ]
    return Part("runaways", figures, [row for row in rows if row["fault"] or row["given_up"]])


def codec_part(
    codec: Codec,
    clips: Sequence[HeldOutClip],
    judges: Judges,
    device: torch.device | str = "cpu",
) -> Part:
    """What the codec alone costs on held-out clips."""
    trips, rows = [], []
    for clip in clips:
        audio, rate_hz = clip.audio()
        trip = score_round_trip(codec, audio, rate_hz, clip.text, judges, device)
        trips.append(trip)
        rows.append({"id": f"clip_{clip.id:05d}", "speaker": clip.speaker, **trip.as_row()})
    before = ClipScores(tuple(trip.original for trip in trips))
    after = ClipScores(tuple(trip.decoded for trip in trips))
    cost = (after.wer - before.wer) * PERCENT
    count = len(trips)
    figures = [
        Figure("codec.wer_cost", "Word errors that the codec adds", cost, "points", count),
        _wer_figure("codec.wer_original", "Word error rate, originals", before),
        _wer_figure("codec.wer", "Word error rate, decoded", after),
        Figure("codec.mel", "Mel distance", mean(t.mel_distance for t in trips), "log10", count),
        Figure(
            "codec.similarity", "Cosine to the original", mean(t.similarity for t in trips),
            "cosine", count,
        ),
        Figure("codec.dnsmos_original", "DNSMOS, originals", before.dnsmos, "MOS", count),
        Figure("codec.dnsmos", "DNSMOS, decoded", after.dnsmos, "MOS", count),
    ]  # fmt: skip
    return Part("codec", figures, rows, [_heard_by(judges)])


def codec_part_missing(reason: str) -> Part:
    """The codec's goal, said to be not measured and why."""
    name = "Word errors that the codec adds"
    return Part("codec", [Figure("codec.wer_cost", name, None, "points", 0, reason)], [])


# --- Figures and rows -------------------------------------------------------------------------


def _score(turn: SpokenTurn, judges: Judges, profiles: Profiles) -> ClipScore:
    return score_clip(turn.audio, turn.text, judges, OUTPUT_RATE_HZ, profiles.get(turn.voice))


def _row(turn: SpokenTurn, score: ClipScore) -> dict[str, Any]:
    return {"id": turn.id, "voice": turn.voice, **score.as_row(), "error": turn.error}


def _speech_figures(part: str, scores: ClipScores) -> list[Figure]:
    count = len(scores.clips)
    return [
        _wer_figure(f"{part}.wer", "Word error rate", scores),
        Figure(f"{part}.cer", "Character error rate", scores.cer * PERCENT, "%", count),
        Figure(f"{part}.similarity", "Cosine to the voice", scores.similarity, "cosine", count),
        Figure(f"{part}.dnsmos", "DNSMOS", scores.dnsmos, "MOS", count),
    ]


def _wer_figure(key: str, name: str, scores: ClipScores) -> Figure:
    low, high = scores.wer_interval
    figure = Figure(key, name, scores.wer * PERCENT, "%", len(scores.clips))
    return replace(figure, interval=(low * PERCENT, high * PERCENT))


def _wrong_voice(rows: Sequence[Mapping[str, Any]]) -> Figure:
    judged = [row for row in rows if row["heard_voice"] is not None]
    wrong = sum(row["heard_voice"] != row["voice"] for row in judged)
    rate = wrong * PERCENT / len(judged) if judged else None
    note = "nearer to the other speaker of the dialogue"
    return Figure("dialogue.wrong_voice", "Turns in a wrong voice", rate, "%", len(judged), note)


def _fault(turn: SpokenTurn) -> dict[str, Any]:
    """A failed turn came back as an error, not as audio; everything else is judged."""
    if turn.error and not len(turn.audio):
        return {"fault": None, "given_up": True, "error": turn.error}
    fault = turn_fault(turn.text, turn.audio, OUTPUT_RATE_HZ)
    if fault is None and turn.error:
        fault = "runaway"  # the model itself says that it had not ended
    seconds = len(turn.audio) / OUTPUT_RATE_HZ
    return {"fault": fault, "given_up": False, "error": turn.error, "seconds": round(seconds, 3)}


def _heard_by(judges: Judges) -> str:
    return f"Heard by {judges.recogniser}, greedy, texts normalised."


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
