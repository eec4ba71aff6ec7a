"""Which recordings are held out: by a digest, so that more recordings move none of the others."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.recordings import Recording

TRAIN, VALIDATION, TEST = "train", "validation", "test"
DIGEST_BITS = 64


def assign(recordings: Sequence[Recording], options: PrepareOptions) -> dict[str, str]:
    """The split of every recording by its id.

    A share of the digests is held out. Where that is none of a small set, the one with the least
    digest is held out for validation after all, as long as something is left to learn from; and
    something is always left.
    """
    keys = _keys(recordings, options.split_by)
    places = {key: _place(key) for key in dict.fromkeys(keys.values())}
    chosen = {key: _split(place, options) for key, place in places.items()}
    if options.validation and VALIDATION not in chosen.values():
        train = sorted((place, key) for key, place in places.items() if chosen[key] == TRAIN)
        if len(train) > 1:
            chosen[train[0][1]] = VALIDATION
    if places and TRAIN not in chosen.values():
        chosen[max(places, key=places.__getitem__)] = TRAIN
    return {name: chosen[key] for name, key in keys.items()}


def _split(place: float, options: PrepareOptions) -> str:
    if place < options.validation:
        return VALIDATION
    return TEST if place < options.validation + options.test else TRAIN


def _place(key: str) -> float:
    """0 to 1, evenly spread."""
    # Names of files that are not UTF-8 have surrogates in them (`os.fsdecode`).
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[: DIGEST_BITS // 8]
    return int.from_bytes(digest, "big") / 2**DIGEST_BITS


def _keys(recordings: Sequence[Recording], split_by: str) -> Mapping[str, str]:
    """What decides the split of a recording: its id, or who speaks in it."""
    if split_by == "id":
        return {recording.id: recording.id for recording in recordings}
    leaders: dict[str, str] = {}
    for recording in recordings:
        _join(leaders, sorted({turn.speaker for turn in recording.turns}))
    return {one.id: _leader(leaders, one.turns[0].speaker) for one in recordings}


def _join(leaders: dict[str, str], speakers: Sequence[str]) -> None:
    """Those who talk with one another stay together, and with all they talk to elsewhere."""
    first, *others = sorted(_leader(leaders, speaker) for speaker in speakers)
    for other in others:
        leaders[other] = first


def _leader(leaders: dict[str, str], speaker: str) -> str:
    while (leader := leaders.get(speaker, speaker)) != speaker:
        speaker = leader
    return speaker
