"""What a simulated listener hears, and the search for how many can listen."""

import pytest

from benchmarks.audience import Heard, Player
from benchmarks.listeners import figures, next_number


def test_a_player_waits_only_beyond_what_lies_ahead() -> None:
    heard = Heard()
    player = Player(1.0, heard)
    player.take(1.5, 0.1)  # playing until 1.6
    player.take(1.55, 0.3)  # in time: until 1.9
    assert player.ahead_s(1.6) == pytest.approx(0.3)
    player.take(2.0, 0.1)  # 0.1 s of silence: until 2.1
    player.break_off(2.3)
    assert heard.firsts == [0.5]
    assert heard.gaps == pytest.approx([0.05, 0.45])
    assert heard.lates == pytest.approx([0.0, 0.1, 0.2])
    assert heard.audio_s == pytest.approx(0.5)


def test_who_never_heard_anything_counts_as_far_as_the_wait_has_gone() -> None:
    heard = Heard()
    Player(1.0, heard).break_off(4.0)
    assert heard.firsts == [3.0]
    assert heard.lates == []


@pytest.mark.parametrize(
    ("lates", "num_failed", "is_good"),
    [([0.0] * 99, 0, True), ([0.0] * 99 + [0.001], 0, False), ([0.0], 1, False)],
)
def test_good_is_no_silence_and_no_failure(
    lates: list[float], num_failed: int, is_good: bool
) -> None:
    heard = Heard([0.1], [0.08], lates, 1.0, num_failed)
    assert figures(heard, 10.0, 5.0)["is_good"] is is_good


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 23, 64, 100, 128, 500])
def test_the_search_finds_the_limit(limit: int) -> None:
    most, good = 128, 0
    number: int | None = 1
    bad: int | None = None
    tried: list[int] = []
    while number is not None:
        tried.append(number)
        if number <= limit:
            good = max(good, number)
        else:
            bad = min(number, bad or number)
        number = next_number(good, bad, most)
    best = min(limit, most)
    assert good <= best <= good + max(1, good // 8)
    assert len(tried) == len(set(tried)) <= 12
