"""How many bytes a job's files take, before they are written."""

from __future__ import annotations

from collections.abc import Sequence

from fireredtts2.audio_encoders import AV_CODECS
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.assembly import Wanted
from fireredtts2.speech import Turn

BITS_PER_BYTE = 8
PCM_BYTES, FLOAT_BYTES = 2, 4  # of a sample
#: An encoder's mean may lie so far above what it was asked for; a container needs some too.
CODEC_MARGIN = 1.1
FILE_BYTES = 16_384  # of headers and tables, however short the sound
TURN_BYTES = 600  # of a turn in `turns.json`, in subtitles or in its own file, beside its text
CHAPTER_BYTES = 1_000
#: JSON writes a control character as six bytes.
TEXT_GROWTH = 6


def most_bytes(wanted: Wanted, turns: Sequence[Turn]) -> int:
    """What `assemble` may write; a little more than it will.

    FLAC is counted as if nothing could be saved: of noise that is so.

    Args:
        wanted: what is to be made.
        turns: all of them; their audio is not needed.
    """
    duration_s = turns[-1].end_s if turns else 0.0
    formats = list(dict.fromkeys(wanted.formats))
    if wanted.stems:
        formats += ["wav"] * len({turn.speaker for turn in turns})
    sound = sum(_sound_bytes(format, duration_s) for format in formats)
    text = sum(
        len(turn.text.encode()) + len(wanted.names(turn.speaker).encode()) + TURN_BYTES
        for turn in turns
    )
    num_texts = len(wanted.subtitles) + TEXT_GROWTH * wanted.turns
    chapters = CHAPTER_BYTES * len(wanted.chapters) * ("m4b" in formats)
    return sound + text * num_texts + chapters


def _sound_bytes(format: str, duration_s: float) -> int:
    num_samples = duration_s * OUTPUT_RATE_HZ
    if format in ("wav", "pcm"):
        return round(num_samples * PCM_BYTES) + FILE_BYTES
    if format == "wav_float":
        return round(num_samples * FLOAT_BYTES) + FILE_BYTES
    _, _, bits_per_s = AV_CODECS["aac" if format == "m4b" else format]
    bytes_per_s = OUTPUT_RATE_HZ * PCM_BYTES if bits_per_s is None else bits_per_s / BITS_PER_BYTE
    return round(duration_s * bytes_per_s * CODEC_MARGIN) + FILE_BYTES


def turn_bytes(turn: Turn) -> int:
    """What `JobFolder.write` may write for a turn."""
    text = TEXT_GROWTH * len(turn.text.encode()) + TURN_BYTES
    return turn.audio.nbytes + turn.codes.nbytes + text
