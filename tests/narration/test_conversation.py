"""The context window: what stays, what goes, what it costs; and the monologue's single segment."""

import itertools

import pytest
import torch

from fireredtts2.codec.timbre import Timbre
from fireredtts2.engine.request import Block, Request
from fireredtts2.llm.prompt import Rows, Segment, context_rows
from fireredtts2.llm.sampling import SamplingParams
from fireredtts2.narration.continuation import Continuation, SingleSegment
from fireredtts2.narration.conversation import Conversation, Spoken
from tests.tiny import CODEBOOK_SIZE, LAYOUT, NUM_CODEBOOKS, scripted_engine

MAX_ROWS = 400
TURN_FRAMES = 40


def codes(num_frames: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, CODEBOOK_SIZE, (NUM_CODEBOOKS, num_frames), generator=generator)


def spoken(speaker: str, text: str, num_frames: int, seed: int = 0) -> Spoken:
    return Spoken(speaker, text, codes(num_frames, seed))


PROMPTS = [spoken("S1", "First voice.", 20), spoken("S2", "Second voice.", 22)]


def joined(blocks: list[Block]) -> Rows:
    return Rows.concatenate([block.rows for block in blocks])


def num_rows(blocks: list[Block]) -> int:
    return sum(len(block) for block in blocks)


def test_blocks_joined_are_the_layout_of_the_specification():
    conversation = Conversation(LAYOUT, PROMPTS, MAX_ROWS)
    turn = spoken("S1", "Hello.", 9, seed=3)
    conversation.add(turn)
    rows = joined(conversation.blocks("S2", "Hi.", TURN_FRAMES))
    ids = LAYOUT.tokenizer.encode_segment_text
    segments = [Segment(ids(f"[{s.speaker}]", s.text), s.codes) for s in [*PROMPTS, turn]]
    expected = context_rows([*segments, Segment(ids("[S2]", "Hi."))], NUM_CODEBOOKS)
    assert torch.equal(rows.tokens, expected.tokens)
    assert torch.equal(rows.mask, expected.mask)


def test_a_speaker_sounds_as_the_longest_prompt_whose_timbre_is_known():
    timbres = [Timbre(torch.full((4,), float(number))) for number in range(3)]
    short, long = (Spoken("S2", "Hm.", codes(n), v) for n, v in ((3, timbres[0]), (9, timbres[1])))
    conversation = Conversation(LAYOUT, [short, long], MAX_ROWS)
    assert conversation.timbre("S1") is None
    assert conversation.timbre("S2") is timbres[1]
    conversation.add_prompt(Spoken("S2", "Longer, but of no known timbre.", codes(30)))
    conversation.add_prompt(Spoken("S1", "Hi.", codes(2), timbres[2]))
    conversation.add(Spoken("S3", "A turn.", codes(40), timbres[0]))
    assert conversation.timbre("S2") is timbres[1]
    assert conversation.timbre("S1") is timbres[2]
    assert conversation.timbre("S3") is None


def test_what_goes_on_sounds_as_its_prompt():
    timbre = Timbre(torch.ones(4))
    prompt = Spoken("S1", "A prompt.", codes(9), timbre)
    assert SingleSegment(LAYOUT, [], codes(9), timbre).timbre("S1") is timbre
    assert Continuation(LAYOUT, prompt).timbre("S1") is timbre
    assert Continuation(LAYOUT, None).timbre("S1") is None


def as_timbre(said: torch.Tensor) -> Timbre:
    return Timbre(prompt=said)


def of_random_voices(*prompts: Spoken) -> Conversation:
    return Conversation(LAYOUT, prompts, MAX_ROWS, timbre_of=as_timbre)


def prompt_of(conversation: Conversation, speaker: str) -> torch.Tensor | None:
    timbre = conversation.timbre(speaker)
    return None if timbre is None else timbre.prompt


def test_a_random_voice_sounds_as_it_did_at_first():
    conversation = of_random_voices()
    assert prompt_of(conversation, "S1") is None
    turns = [spoken("S1", "Hm.", 30, 1), spoken("S1", "Well.", 30, 2), spoken("S1", "So.", 30, 3)]
    conversation.add(turns[0])
    assert torch.equal(prompt_of(conversation, "S1"), turns[0].codes)
    assert prompt_of(conversation, "S2") is None
    conversation.add(turns[1])
    enough = torch.cat([turns[0].codes, turns[1].codes], dim=1)
    assert torch.equal(prompt_of(conversation, "S1"), enough)
    conversation.add(turns[2])
    assert torch.equal(prompt_of(conversation, "S1"), enough)


def test_a_given_voice_sounds_as_its_prompt_whatever_it_says():
    timbre = Timbre(prompt=codes(4))
    conversation = of_random_voices(Spoken("S1", "Hm.", codes(9), timbre))
    conversation.add(spoken("S1", "A turn.", 60, 1))
    assert conversation.timbre("S1") is timbre


def test_a_voice_that_was_taken_back_is_forgotten():
    conversation = of_random_voices()
    first, second, third = (spoken("S1", "Hm.", 20, seed) for seed in (1, 2, 3))
    other = spoken("S2", "Oh.", 20, 4)
    for turn in (first, other, second):
        conversation.add(turn)
    conversation.drop_last()
    assert torch.equal(prompt_of(conversation, "S1"), first.codes)
    conversation.drop_last()
    assert prompt_of(conversation, "S2") is None
    conversation.drop_last()
    assert prompt_of(conversation, "S1") is None
    conversation.drop_last()  # nothing is left
    conversation.add(third)
    assert torch.equal(prompt_of(conversation, "S1"), third.codes)


def test_a_random_voice_is_known_when_its_turns_have_left_the_window():
    conversation = of_random_voices()
    first = spoken("S1", "Hm.", 60, 1)
    conversation.add(first)
    for seed in range(20):
        conversation.add(spoken("S2", "A turn.", 40, seed))
        conversation.blocks("S1", "And?", TURN_FRAMES)
    assert conversation.num_turns < 12
    assert torch.equal(prompt_of(conversation, "S1"), first.codes)


def test_a_monologue_goes_on_in_the_voice_of_its_first_piece():
    continuation = Continuation(LAYOUT, None, timbre_of=as_timbre)
    assert continuation.timbre("S1") is None
    first = spoken("S1", "A piece.", 30)
    continuation.add(first)
    assert torch.equal(continuation.timbre("S1").prompt, first.codes)


def test_long_conversation_slides_and_prompts_stay():
    conversation = Conversation(LAYOUT, PROMPTS, MAX_ROWS)
    prompts = conversation.blocks("S1", "x", TURN_FRAMES)[:2]
    for turn in range(60):
        blocks = conversation.blocks("S1", f"Turn {turn}.", TURN_FRAMES)
        assert num_rows(blocks) + TURN_FRAMES <= MAX_ROWS
        assert [block.key for block in blocks[:2]] == [block.key for block in prompts]
        assert len(blocks) == 2 + conversation.num_turns + 1
        conversation.add(spoken("S1", f"Turn {turn}.", 10 + turn % 20, seed=turn))
    assert conversation.num_turns >= 2


def test_oldest_turns_go_and_half_of_the_room_is_free_again():
    conversation = Conversation(LAYOUT, [], MAX_ROWS)
    counts = []
    for turn in range(30):
        conversation.blocks("S1", "Hello.", TURN_FRAMES)
        counts.append(conversation.num_turns)
        conversation.add(spoken("S1", f"Turn {turn:02}.", 20, seed=turn))
    slides = [(a, b) for a, b in itertools.pairwise(counts) if b <= a]
    assert slides
    assert all(b <= a // 2 + 1 for a, b in slides), slides
    last = conversation.blocks("S1", "Hello.", TURN_FRAMES)[-2].rows
    newest = LAYOUT.spoken("S1", "Turn 29.", codes(20, 29))
    assert torch.equal(last.tokens[1:], newest.tokens)


def test_a_turn_longer_than_the_room_goes_too():
    conversation = Conversation(LAYOUT, [], MAX_ROWS)
    conversation.add(spoken("S1", "Long.", 380))
    assert len(conversation.blocks("S1", "Next.", TURN_FRAMES)) == 1


def test_what_can_never_fit_is_an_error_that_says_so():
    conversation = Conversation(LAYOUT, PROMPTS, MAX_ROWS)
    with pytest.raises(ValueError, match=r"prompts take \d+ rows.*390.*more than the 400 rows"):
        conversation.blocks("S1", "Hello.", 390)


def test_cost_of_a_turn_is_bounded_and_flat():
    engine = scripted_engine([12] * 45, max_rows=MAX_ROWS)
    conversation = Conversation(LAYOUT, PROMPTS, MAX_ROWS)
    costs, sizes = [], []
    for turn in range(45):
        text = f"Turn {turn:02}."
        before = engine.model_runner.num_prefilled_rows
        blocks = conversation.blocks("S1", text, TURN_FRAMES)
        request = Request(blocks, SamplingParams(), turn, TURN_FRAMES)
        list(engine.stream(request))
        costs.append(engine.model_runner.num_prefilled_rows - before)
        sizes.append(len(blocks[-1]))
        conversation.add(Spoken("S1", text, request.codes))
    # The end row and the text but its last row: nothing that was generated is read again ...
    usual = sizes[1] - 1
    assert sum(cost == usual for cost in costs[1:]) > 35
    # ... except when the window slides: then at most the half that stays.
    assert max(costs[1:]) <= usual + MAX_ROWS // 2
    rebuilds = [turn for turn, cost in enumerate(costs) if turn and cost != usual]
    gaps = [later - earlier for earlier, later in itertools.pairwise(rebuilds)]
    assert len(gaps) >= 3
    assert max(gaps) - min(gaps) <= 1, "as seldom at the end as at the beginning"
    # On average that reads every turn about once more.
    assert sum(costs[1:]) / 44 < usual + 1.2 * (sizes[1] + 12)


def test_continuation_is_one_segment_cut_before_its_end():
    prompt = spoken("S1", "What was said.", 20)
    continuation = Continuation(LAYOUT, prompt)
    [block] = continuation.blocks("S1", "What comes.", 100)
    expected = LAYOUT.spoken("S1", "What was said,What comes.", prompt.codes[:, :18])
    assert torch.equal(block.rows.tokens, expected.tokens)
    assert (continuation.unspoken_frames, continuation.min_frames) == (2, 18)


@pytest.mark.parametrize("text", ["BÔTS", "BÔTS.", 'BÔTS."', "BÔTS, "])
def test_a_continuation_of_units_loses_no_sound(text: str):
    prompt = spoken("S1", text, 20)
    [block] = Continuation(LAYOUT, prompt, reads_units=True).blocks("S1", "SÔ", 100)
    expected = LAYOUT.spoken("S1", "BÔTS,SÔ", prompt.codes[:, :18])
    assert torch.equal(block.rows.tokens, expected.tokens)


def test_without_a_prompt_the_first_piece_is_the_voice_of_the_others():
    continuation = Continuation(LAYOUT, None)
    [block] = continuation.blocks("S1", "One.", 100)
    assert torch.equal(block.rows.tokens, LAYOUT.text("S1", "One.").tokens)
    assert (continuation.unspoken_frames, continuation.min_frames) == (0, 0)
    continuation.add(spoken("S1", "One.", 30, seed=1))
    continuation.add(spoken("S1", "Two.", 30, seed=2))
    [block] = continuation.blocks("S1", "Three.", 100)
    expected = LAYOUT.spoken("S1", "One,Three.", codes(30, 1)[:, :28])
    assert torch.equal(block.rows.tokens, expected.tokens)


def test_single_segment_after_others():
    single = SingleSegment(LAYOUT, PROMPTS, codes(10))
    rows = joined(single.blocks("S1", "Go on.", 100))
    parts = [
        part for p in PROMPTS for part in (LAYOUT.spoken(p.speaker, p.text, p.codes), LAYOUT.end)
    ]
    expected = Rows.concatenate([*parts, LAYOUT.spoken("S1", "Go on.", codes(10)[:, :8])])
    assert torch.equal(rows.tokens, expected.tokens)


def test_a_prompt_of_two_frames_cannot_be_continued():
    with pytest.raises(ValueError, match="2 frames; it needs at least 3"):
        SingleSegment(LAYOUT, [], codes(2))


def test_turns_go_before_the_trained_length_is_exceeded_but_prompts_do_not():
    conversation = Conversation(LAYOUT, PROMPTS, MAX_ROWS, trained_rows=150)
    prompts = num_rows(conversation.blocks("S1", "Turn 00.", TURN_FRAMES)[:2])
    for turn in range(20):
        blocks = conversation.blocks("S1", f"Turn {turn:02}.", TURN_FRAMES)
        text = len(LAYOUT.text("S1", f"Turn {turn:02}."))
        assert num_rows(blocks) + text <= max(150, prompts + 1 + 2 * text)
        conversation.add(spoken("S1", f"Turn {turn:02}.", 12, seed=turn))
    assert conversation.num_turns >= 1
    short = Conversation(LAYOUT, PROMPTS, MAX_ROWS, trained_rows=10)
    short.add(spoken("S1", "A turn.", 12))
    assert len(short.blocks("S1", "Next.", TURN_FRAMES)) == 3, "both prompts, no turn"
