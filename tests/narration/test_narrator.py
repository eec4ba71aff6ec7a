"""Turns: attempts, limits, pauses, progress; whole and streamed."""

import logging
from collections.abc import Iterator, Sequence

import pytest
import torch

from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.narration.continuation import Continuation
from fireredtts2.narration.conversation import Conversation, Spoken
from fireredtts2.narration.errors import SpeechError
from fireredtts2.narration.narrator import Line, Narrator
from fireredtts2.narration.options import Options
from fireredtts2.speech import AudioChunk, Progress, Turn, collect
from tests.tiny import LAYOUT, NUM_CODEBOOKS, scripted_engine

LINES = [
    Line("S1", "One.", ["One."]),
    Line("S2", "Two.", ["Two."]),
    Line("S1", "Three.", ["Three."]),
]
LIMIT_MS = 800  # ten frames


def narrator(engine: Engine, on_turn=None, on_progress=None, encode=None, **options) -> Narrator:
    chosen = Options.from_keywords({"seed": 5, "turn_limit_ms": LIMIT_MS, **options})
    conversation = Conversation(LAYOUT, [], engine.model_runner.max_rows)
    return Narrator(engine, conversation, chosen, encode, on_turn=on_turn, on_progress=on_progress)


def chunks(
    lengths: Sequence[int | None], hold: bool, lines: Sequence[Line] = LINES, **more
) -> list[AudioChunk]:
    return list(narrator(scripted_engine(lengths), **more).narrate(lines, hold))


def drain(stream: Iterator[AudioChunk], into: list[AudioChunk]) -> None:
    """Keeps what came before an error."""
    for chunk in stream:
        into.append(chunk)


def interrupt_in_turn(stream: Iterator[AudioChunk], turn_index: int) -> None:
    for chunk in stream:
        if chunk.turn_index == turn_index:
            raise KeyboardInterrupt


def frames_of(turn: Turn) -> int:
    return turn.codes.shape[1]


def test_whole_is_the_collected_stream():
    whole = collect(chunks([4, 6, 5], hold=True))
    stream = collect(chunks([4, 6, 5], hold=False))
    assert torch.equal(whole.audio, stream.audio)
    assert whole.audio.shape[0] == 15 * OUTPUT_SAMPLES_PER_FRAME
    for one, other in zip(whole.turns, stream.turns, strict=True):
        assert torch.equal(one.codes, other.codes)


class Ear:
    """A listener that finds takes as clear as it is told, one after the other."""

    is_clear = -1.0

    def __init__(self, *clearness: float) -> None:
        self.clearness_left = list(clearness)
        self.heard: list[tuple[torch.Tensor, str]] = []

    def clearness(self, audio: torch.Tensor, units: str) -> float:
        self.heard.append((audio, units))
        return self.clearness_left.pop(0)


def heard_by(ear: Ear, lengths: Sequence[int | None], hold: bool = True, **options) -> list[Turn]:
    chosen = Options.from_keywords({"seed": 5, "turn_limit_ms": LIMIT_MS, "takes": 3, **options})
    engine = scripted_engine(lengths)
    conversation = Conversation(LAYOUT, [], engine.model_runner.max_rows)
    told = Narrator(engine, conversation, chosen, lambda audio: audio, listener=ear)  # type: ignore[arg-type]
    return collect(told.narrate(LINES[:2], hold)).turns


def test_a_piece_is_spoken_again_until_the_listener_hears_all_of_it():
    ear = Ear(-2.0, -0.5, -1.0)
    turns = heard_by(ear, [4, 6, 5])
    assert list(map(frames_of, turns)) == [6, 5]
    assert [units for _, units in ear.heard] == ["One.", "One.", "Two."]
    assert torch.equal(ear.heard[1][0], turns[0].audio)


def test_where_no_take_is_clear_the_clearest_is_kept():
    ear = Ear(-5.0, -2.0, -3.0, -0.9)
    assert list(map(frames_of, heard_by(ear, [4, 6, 5, 7]))) == [6, 7]
    assert not ear.clearness_left


def test_the_first_take_is_the_one_without_a_listener():
    first = heard_by(Ear(0.0, 0.0), [4, 6])
    alone = collect(chunks([4, 6], hold=True, lines=LINES[:2])).turns
    assert all(torch.equal(one.codes, other.codes) for one, other in zip(first, alone, strict=True))


@pytest.mark.parametrize(
    ("hold", "options"),
    [(False, {}), (True, {"takes": 1}), (True, {"on_runaway": "accept"})],
    ids=["a stream", "one take", "of a wanted length"],
)
def test_nobody_listens_to(hold: bool, options: dict):
    ear = Ear()
    assert list(map(frames_of, heard_by(ear, [4, 6], hold, **options))) == [4, 6]
    assert not ear.heard


def test_a_failed_take_does_not_lose_the_one_before():
    ear = Ear(-2.0, -3.0, 0.0)
    turns = heard_by(ear, [4, None, 5, 6], max_attempts=1)
    assert list(map(frames_of, turns)) == [4, 6]  # the second ran away, the third was less clear


def test_a_take_that_ends_is_better_than_a_clear_one_that_was_cut():
    ear = Ear(-0.1, -4.0, -3.0, 0.0)
    turns = heard_by(ear, [None, 5, 7, 6], max_attempts=1, on_runaway="cut")
    assert list(map(frames_of, turns)) == [7, 6]


def test_an_error_after_the_first_take_does_not_lose_it(monkeypatch: pytest.MonkeyPatch):
    stream, failed = Engine.stream, []

    def once(engine: Engine, request: object):
        if ear.heard and not failed:
            failed.append(request)
            raise RequestFailedError("speech broke off")
        return stream(engine, request)  # type: ignore[arg-type]

    ear = Ear(-2.0, -3.0, 0.0)
    monkeypatch.setattr(Engine, "stream", once)
    assert list(map(frames_of, heard_by(ear, [4, 5, 6]))) == [4, 6]
    assert failed


def test_where_the_first_take_fails_the_turn_does():
    with pytest.raises(SpeechError, match="did not end the turn"):
        heard_by(Ear(), [None], max_attempts=1)


def test_an_error_of_the_engine_keeps_the_finished_turns(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([4, 6, 5])

    def gone(*args: object) -> torch.Tensor:
        raise OSError("gone")

    def break_reading(turn: Turn) -> None:
        monkeypatch.setattr(engine.model_runner, "read", gone)

    stream = narrator(engine, on_turn=break_reading).narrate(LINES, hold=True)
    with pytest.raises(SpeechError, match=r"turn 2 .*speech broke off: OSError: gone") as caught:
        drain(stream, [])
    assert [turn.text for turn in caught.value.turns] == ["One."]
    assert isinstance(caught.value.__cause__, OSError)
    assert engine.scheduler.live == []


def test_turns_know_where_they_are():
    lines = [Line("S1", "One.", ["One."]), Line("S2", "Two.", ["Two."], pause_s=0.5)]
    speech = collect(chunks([4, 6], hold=False, lines=lines))
    assert [(turn.speaker, turn.text) for turn in speech.turns] == [("S1", "One."), ("S2", "Two.")]
    assert [(turn.start_s, turn.end_s) for turn in speech.turns] == [
        (0.0, pytest.approx(0.32)),
        (pytest.approx(0.82), pytest.approx(1.30)),
    ]
    pause = speech.audio[round(0.32 * OUTPUT_RATE_HZ) : round(0.82 * OUTPUT_RATE_HZ)]
    assert not pause.any()
    for turn in speech.turns:
        start, end = (round(s * OUTPUT_RATE_HZ) for s in (turn.start_s, turn.end_s))
        assert torch.equal(turn.audio, speech.audio[start:end])


def test_stream_marks_turns():
    marks = [(chunk.turn_index, chunk.is_turn_end) for chunk in chunks([1, 2, 1], hold=False)]
    assert [index for index, ends in marks if ends] == [0, 1, 2]
    assert marks == sorted(marks)


def test_pieces_of_a_long_turn_come_back_as_one():
    line = Line("S2", "A long turn.", ["A long", "turn."])
    [turn] = collect(chunks([4, 6], hold=False, lines=[line])).turns
    assert turn.text == "A long turn."
    assert turn.codes.shape == (NUM_CODEBOOKS, 10)


def test_same_seed_same_samples_other_seed_others():
    first, second, third = (
        collect(chunks([4, 6, 5], hold=True, seed=seed)).audio for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("hold", [True, False])
def test_empty_turn_is_tried_again(hold: bool):
    speech = collect(chunks([4, 0, 0, 6, 5], hold))
    assert [frames_of(turn) for turn in speech.turns] == [4, 6, 5]


def test_attempts_use_other_random_numbers():
    engine = scripted_engine([None, None, None])
    made: list[torch.Tensor] = []
    original = engine.stream

    def spy(request):
        yield from original(request)
        made.append(request.codes)

    engine.stream = spy  # type: ignore[method-assign]
    with pytest.raises(SpeechError):
        list(narrator(engine).narrate(LINES[:1], hold=True))
    assert len(made) == 3
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[1], made[2])


@pytest.mark.parametrize("hold", [True, False])
def test_turn_that_stays_empty_is_reported_with_those_before(hold: bool):
    got: list[AudioChunk] = []
    with pytest.raises(
        SpeechError, match=r"turn 2 \(S2: 'Two.'\).*before anything was said.*3 of 3"
    ) as caught:
        drain(narrator(scripted_engine([4, 0, 0, 0])).narrate(LINES, hold), got)
    assert caught.value.turn_index == 1
    assert [turn.text for turn in caught.value.turns] == ["One."]
    assert torch.equal(caught.value.turns[0].audio, torch.cat([chunk.audio for chunk in got]))


def test_a_turn_that_turns_out_too_long_keeps_those_before(monkeypatch: pytest.MonkeyPatch):
    engine = scripted_engine([4, 6, 5])
    fits = engine.model_runner.check_fits

    def narrow(turn: Turn) -> None:
        monkeypatch.setattr(engine.model_runner, "check_fits", lambda *_: fits(0, 0))

    with pytest.raises(SpeechError, match=r"turn 2.*rows of context") as caught:
        drain(narrator(engine, on_turn=narrow).narrate(LINES, hold=False), [])
    assert [turn.text for turn in caught.value.turns] == ["One."]


def test_runaway_is_tried_again_unheard_when_held():
    speech = collect(chunks([None, 4, 6, None, 5], hold=True))
    assert [frames_of(turn) for turn in speech.turns] == [4, 6, 5]
    assert not any(turn.was_cut for turn in speech.turns)


def test_runaway_after_all_attempts_is_reported():
    with pytest.raises(SpeechError, match=r"within its limit of 0\.8 s") as caught:
        chunks([4, None, None, None], hold=True)
    assert [frames_of(turn) for turn in caught.value.turns] == [4]


def test_streamed_runaway_is_heard_to_its_limit_then_reported():
    got: list[AudioChunk] = []
    with pytest.raises(SpeechError, match=r"turn 2.*within its limit"):
        drain(narrator(scripted_engine([4, None, 6])).narrate(LINES, hold=False), got)
    assert sum(chunk.audio.shape[0] for chunk in got) == 14 * OUTPUT_SAMPLES_PER_FRAME


def test_cut_tries_again_then_keeps_what_was_made(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        speech = collect(chunks([4, None, None, None, 5], hold=True, on_runaway="cut"))
    assert [frames_of(turn) for turn in speech.turns] == [4, 10, 5]
    assert [turn.was_cut for turn in speech.turns] == [False, True, False]
    assert "did not end" in caplog.text


def test_cut_never_keeps_silence():
    with pytest.raises(SpeechError, match="before anything was said"):
        chunks([0, 0, 0], hold=True, on_runaway="cut")


def test_accept_takes_the_limit_for_the_length():
    speech = collect(chunks([None, None, None], hold=True, on_runaway="accept"))
    assert [frames_of(turn) for turn in speech.turns] == [10, 10, 10]


def monologue(lengths: Sequence[int | None], hold: bool, **options) -> list[AudioChunk]:
    engine = scripted_engine(lengths)
    prompt = Spoken("S1", "Prompt.", torch.ones(NUM_CODEBOOKS, 12, dtype=torch.long))
    chosen = Options.from_keywords({"seed": 5, "turn_limit_ms": 3_200, **options})
    teller = Narrator(engine, Continuation(LAYOUT, prompt), chosen, None)
    return list(teller.narrate([Line("S1", "Hello.", ["Hello."])], hold))


@pytest.mark.parametrize("hold", [True, False])
def test_short_continuation_is_tried_again_unheard(hold: bool):
    [turn] = collect(monologue([18, 5, 19], hold)).turns
    assert frames_of(turn) == 17, "two of the nineteen are not spoken"


def test_continuation_that_stays_short_is_reported_or_kept_as_asked():
    with pytest.raises(SpeechError, match="only 18 frames came, 19 are needed"):
        monologue([18, 18, 18], hold=True)
    [turn] = collect(monologue([18, 18, 18], hold=True, on_runaway="cut")).turns
    assert frames_of(turn) == 16


def test_finished_turns_survive_an_interruption():
    kept: list[Turn] = []
    stream = narrator(scripted_engine([4, None]), on_turn=kept.append).narrate(LINES, hold=False)
    with pytest.raises(KeyboardInterrupt):
        interrupt_in_turn(stream, 1)
    assert [turn.text for turn in kept] == ["One."]
    assert kept[0].audio.shape[0] == 4 * OUTPUT_SAMPLES_PER_FRAME


def test_progress_goes_from_nothing_to_all():
    seen: list[Progress] = []
    speech = collect(chunks([4, 6, 5], hold=False, on_progress=seen.append))
    assert (seen[0].turn_index, seen[0].num_turns, seen[0].seconds) == (0, 3, 0.0)
    assert seen[-1].turn_index == 3
    assert seen[-1].seconds == pytest.approx(speech.duration_s)
    assert seen[-1].left_s == pytest.approx(0.0, abs=1e-6)
    assert seen[-1].fraction == pytest.approx(1.0)
    assert [p.seconds for p in seen] == sorted(p.seconds for p in seen)
    assert all(p.total_s >= p.seconds and p.left_s >= 0 for p in seen)


def test_kept_codes_cost_only_what_is_new_and_reencoding_more():
    def cost(**more) -> int:
        engine = scripted_engine([8, 8, 8])
        list(narrator(engine, **more).narrate(LINES, hold=True))
        return engine.model_runner.num_prefilled_rows

    heard: list[int] = []

    def encode(audio: torch.Tensor) -> torch.Tensor:
        heard.append(audio.shape[0])
        return torch.full((NUM_CODEBOOKS, 8), 3)

    kept = cost(encode=encode)
    assert heard == []
    again = cost(encode=encode, reencode_context=True)
    assert heard == [8 * OUTPUT_SAMPLES_PER_FRAME] * 3
    # The two turns before the last, and the end row between them, are read once more.
    texts = [len(LAYOUT.text(line.speaker, line.text)) for line in LINES[:2]]
    assert again - kept == sum(texts) + 2 * 8 + 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("temperature", -1.0, "temperature -1.0"),
        ("depth_topk", 0, "depth_topk 0"),
        ("turn_limit_ms", 79, "at least 80"),
        ("turn_limit_ms", float("nan"), "turn_limit_ms nan"),
        ("max_attempts", 0, "max_attempts 0"),
        ("on_runaway", "shout", "allowed: error, cut, accept"),
        ("seed", -1, "seed -1"),
        ("sped", 1, "unknown options \\['sped'\\]; known: temperature"),
    ],
)
def test_options_are_checked(option: str, value: object, message: str):
    with pytest.raises(ValueError, match=message):
        Options.from_keywords({option: value})
