"""When a player runs dry, and whose fault it is."""

import pytest

from fireredtts2.serving.reserve import Reserve


def after(*chunks: tuple[float, float]) -> list[float | None]:
    """How late chunks of (took_s, sounds_s) are that are asked for at once."""
    reserve = Reserve()
    return [reserve.came(took_s, sounds_s) for took_s, sounds_s in chunks]


def test_what_came_too_early_is_saved():
    late = after((2.0, 0.5), (0.1, 1.0), (1.0, 0.1), (1.0, 0.1))
    assert late[0] is None
    assert late[1:] == [0.0, 0.0, pytest.approx(0.5)]


def test_a_gap_is_not_made_up_for():
    """What comes late is heard from then on."""
    assert after((0.0, 0.1), (1.1, 0.1), (0.2, 0.1))[1:] == [pytest.approx(1.0), pytest.approx(0.1)]


def test_a_chunk_without_sound_takes_time_and_gives_none():
    late = after((0.0, 1.0), (0.4, 0.0), (0.4, 0.0), (0.1, 1.0), (1.2, 0.0), (0.0, 1.0))
    assert late[1:3] == [None, None]
    assert late[3] == 0.0
    assert late[4] is None
    assert late[5] == pytest.approx(0.1)


def test_what_is_played_faster_is_over_sooner():
    reserve = Reserve(speed=4.0)
    reserve.came(0.0, 1.0)
    assert reserve.came(0.8, 1.0) == pytest.approx(0.55)
    reserve.waited(60.0)
    assert reserve.came(0.3, 1.0) == pytest.approx(0.05)


def test_a_slow_reader_has_saved_the_last_chunk_at_least():
    reserve = Reserve()
    reserve.came(0.0, 3.0)
    reserve.came(0.0, 0.5)
    reserve.waited(60.0)
    assert reserve.came(0.4, 0.1) == 0.0
    reserve.waited(60.0)
    assert reserve.came(0.4, 0.1) == pytest.approx(0.3)


def test_who_hears_in_real_time_has_the_rest():
    reserve = Reserve()
    reserve.came(0.0, 3.0)
    reserve.came(0.0, 0.5)
    reserve.waited(1.0)
    assert reserve.came(2.7, 0.1) == pytest.approx(0.2)
    reserve = Reserve()
    reserve.waited(5.0)  # before the first sound nothing runs out
    assert reserve.came(0.0, 1.0) is None
