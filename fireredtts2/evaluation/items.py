"""Who says what: the sets of the evaluation cast with the model's named voices."""

from __future__ import annotations

from collections.abc import Sequence

from fireredtts2.evaluation.sets import Dialogue, voice_pair
from fireredtts2.evaluation.synthesis import Item


def sentence_items(sentences: Sequence[str], voices: Sequence[str], seed: int) -> list[Item]:
    """One item a sentence, the voices in turn, each item with a seed of its own."""
    return [
        Item(
            f"sentence_{n:03d}", (("S1", text),), {"S1": voices[n % len(voices)]}, seed * 1_000 + n
        )
        for n, text in enumerate(sentences)
    ]


def dialogue_items(dialogues: Sequence[Dialogue], voices: Sequence[str], seed: int) -> list[Item]:
    """One item a dialogue, each with another pair of voices."""
    items = []
    for n, dialogue in enumerate(dialogues):
        first, second = voice_pair(n, voices)
        lines = tuple((line.speaker, line.text) for line in dialogue.lines)
        voices_of = {"S1": first, "S2": second}
        items.append(Item(f"dialogue_{dialogue.id}", lines, voices_of, seed * 1_000 + n))
    return items


def extra_items(
    sentences: Sequence[str], voices: Sequence[str], seed: int, count: int
) -> list[Item]:
    """More turns for the count of runaways: the sentences again, in other voices and seeds."""
    items = []
    for n in range(count):
        lap, place = divmod(n, len(sentences))
        voice = voices[(place + lap + 1) % len(voices)]
        seed_of_item = (seed + lap + 1) * 1_000_000 + place
        items.append(
            Item(f"extra_{n:03d}", (("S1", sentences[place]),), {"S1": voice}, seed_of_item)
        )
    return items
