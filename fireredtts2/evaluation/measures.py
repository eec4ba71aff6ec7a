"""The measures of the rows: what each adds up, its unit, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fireredtts2.evaluation.bootstrap import count_groups, pooled_interval
from fireredtts2.evaluation.goals import Unit
from fireredtts2.evaluation.report import Figure

Row = Mapping[str, Any]
Better = Literal["lower", "higher", ""]
PERCENT = 100


@dataclass(frozen=True)
class Measure:
    """A measure that every row of a part has, or None where it could not be taken.

    Attributes:
        key: Its name for machines; a part's figure is "part.key".
        above: The row's field that is summed.
        below: The field that the sum is divided by; the number of rows where it is "".
        better: Which way is better; "" where neither is.
        scale: From the rows' values to `unit`.
    """

    key: str
    name: str
    unit: Unit
    above: str
    below: str = ""
    better: Better = ""
    scale: float = 1.0
    note: str = ""

    def values(self, rows: Sequence[Row]) -> tuple[list[float], list[float]]:
        """Numerators, in `unit`, and denominators of the rows that have the measure."""
        present = [row for row in rows if self.is_in(row)]
        above = [float(row[self.above]) * self.scale for row in present]
        return above, [float(row[self.below]) if self.below else 1.0 for row in present]

    def is_in(self, row: Row) -> bool:
        """Whether the row has the measure."""
        return row.get(self.above) is not None and (not self.below or bool(row.get(self.below)))

    def of_row(self, row: Row) -> float | None:
        """The measure of one row, in `unit`."""
        if not self.is_in(row):
            return None
        below = float(row[self.below]) if self.below else 1.0
        return float(row[self.above]) * self.scale / below

    def figure(self, part: str, rows: Sequence[Row]) -> Figure:
        """The measure over all rows, with its 95 % bootstrap interval.

        That is over rows, or over their groups where they name some.
        """
        above, below = self.values(rows)
        key = f"{part}.{self.key}"
        if not above:
            return Figure(key, self.name, None, self.unit, 0, self.note)
        value = sum(above) / sum(below)
        groups = [row.get("group") for row in rows if self.is_in(row)]
        interval = pooled_interval(above, below, groups=groups)
        num_groups = count_groups(groups) if any(groups) else None
        return Figure(
            key, self.name, value, self.unit, len(above), self.note, interval, groups=num_groups
        )


def _rate(key: str, name: str, above: str, below: str) -> Measure:
    return Measure(key, name, "%", above, below, "lower", PERCENT)


WER = _rate("wer", "Word error rate", "word_errors", "words")
PROSODY_NOTE = "no direction is better: compare with recordings"

#: Of every turn that was spoken from a text.
SPEECH = (
    WER,
    _rate("cer", "Character error rate", "char_errors", "chars"),
    _rate("omitted", "Words left out", "omitted", "words"),
    _rate("repeated", "Words said again", "repeated", "words"),
    Measure("similarity", "Cosine to the voice", "cosine", "similarity", better="higher"),
    Measure("dnsmos", "DNSMOS", "MOS", "dnsmos", better="higher"),
)
PROSODY = (
    Measure("pitch", "Median pitch, above 100 Hz", "st", "pitch_st", note=PROSODY_NOTE),
    Measure("pitch_range", "Pitch range (5 to 95 %)", "st", "pitch_range_st"),
    Measure("pace", "Pace without pauses", "words/s", "words_per_s"),
    Measure("pauses", "Share of pauses", "%", "pause_share", scale=PERCENT),
    Measure("longest_pause", "Longest pause", "s", "longest_pause_s"),
)
#: Of turns in dialogues.
WRONG_VOICE = Measure(
    "wrong_voice", "Turns in a wrong voice", "%", "wrong_voice", better="lower", scale=PERCENT,
    note="nearer to the other speaker of the dialogue",
)  # fmt: skip
#: Of the beginning and the end of a long dialogue.
LONG = (*(m for m in SPEECH if m.key in ("wer", "similarity", "dnsmos")), *PROSODY[:3])
#: Of turns of which there is a recording of the same text and speaker.
REFERENCE = (
    Measure("mcd", "Mel-cepstral distortion to the recording", "dB", "mcd", better="lower"),
)
#: Of a clip before and after the codec.
CODEC = (
    _rate("wer_original", "Word error rate, originals", "word_errors_original", "words"),
    _rate("wer", "Word error rate, decoded", "word_errors", "words"),
    Measure("pesq_wb", "PESQ, wideband", "PESQ", "pesq_wb", better="higher"),
    Measure("pesq_nb", "PESQ, narrowband", "PESQ", "pesq_nb", better="higher"),
    Measure("stoi", "STOI", "STOI", "stoi", better="higher"),
    Measure("mcd", "Mel-cepstral distortion", "dB", "mcd", better="lower"),
    Measure("mel", "Mel distance", "log10", "mel_distance", better="lower"),
    Measure("similarity", "Cosine to the original", "cosine", "similarity", better="higher"),
    Measure("dnsmos_original", "DNSMOS, originals", "MOS", "dnsmos_original", better="higher"),
    Measure("dnsmos", "DNSMOS, decoded", "MOS", "dnsmos", better="higher"),
    Measure("pitch_range_original", "Pitch range, originals", "st", "pitch_range_st_original"),
    Measure("pitch_range", "Pitch range, decoded", "st", "pitch_range_st"),
    Measure("pace_original", "Pace, originals", "words/s", "words_per_s_original"),
    Measure("pauses_original", "Share of pauses, originals", "%", "pause_share_original",
            scale=PERCENT),
)  # fmt: skip


def measures_of(part: str) -> tuple[Measure, ...]:
    """The measures that the rows of a part can have."""
    if part == "codec":
        return CODEC
    if part in ("speed", "runaways", "long"):
        return ()
    return (*SPEECH, *((WRONG_VOICE,) if part == "dialogue" else REFERENCE), *PROSODY)
