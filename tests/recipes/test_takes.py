"""Takes: spoken many at once as alone, cut where they end, ranked by what the judges say."""

import numpy as np
import pytest
import torch

from fireredtts2.llm.prompt import Rows, text_rows
from recipes.mini import takes
from recipes.mini.casting import Casting, PromptRows, Said, Task
from recipes.mini.prefer import MIN_GAP, pairs_of, score
from recipes.mini.takes import TakeSpeaker, until_end
from tests import tiny


def speaker() -> TakeSpeaker:
    made = object.__new__(TakeSpeaker)
    made.llm, made.codec = tiny.llm().eval(), tiny.codec()
    return made


def prompt(length: int) -> Rows:
    return text_rows(list(range(1, length + 1)), tiny.NUM_CODEBOOKS)


def test_takes_spoken_together_are_those_spoken_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takes, "PROMPTS_AT_ONCE", 2)
    prompts, limits, count = [prompt(n) for n in (3, 9, 5)], [7, 12, 9], 2
    together = speaker().takes(prompts, limits, count, seed=5)
    assert [len(one) for one in together] == [count] * 3
    for number, (rows, limit) in enumerate(zip(prompts, limits, strict=True)):
        for take in range(count):
            seed = 5 + take * len(prompts) + number
            (alone,) = speaker().takes([rows], [limit], 1, seed)[0]
            assert torch.equal(together[number][take], alone)
            assert alone.shape[1] <= limit


def test_a_take_ends_before_its_first_empty_frame() -> None:
    codes = torch.tensor([[3, 1, 0, 2], [1, 0, 0, 2]])
    assert until_end(codes, 9).tolist() == [[3, 1], [1, 0]]
    assert until_end(codes, 1).tolist() == [[3], [1]]
    assert until_end(codes[:, :2], 9).tolist() == [[3, 1], [1, 0]]


def take(errors: float, cosine: float, code: int, ran_away: bool = False) -> dict:
    return {"codes": [[code]], "errors": errors, "cosine": cosine, "ran_away": ran_away}


def test_wrong_characters_and_strange_voices_count_against_a_take() -> None:
    assert score(take(0.0, 0.8, 1)) > score(take(0.1, 0.8, 1))
    assert score(take(0.0, 0.8, 1)) > score(take(0.0, 0.7, 1))
    assert score(take(0.0, 0.9, 1, ran_away=True)) < score(take(0.9, 0.2, 1))
    assert score(take(3.0, 0.5, 1)) == score(take(1.0, 0.5, 1))


class FakePrompts:
    def of(self, task: Task) -> Rows:
        return prompt(len(task.text))


def test_the_best_and_the_worst_of_a_text_make_a_pair() -> None:
    line = {"text": "abc", "tag": "S1", "speaker": "a", "said": [["S1", "x", [[1], [2]]]]}
    far = [take(0.2, 0.8, 1), take(0.0, 0.8, 2), take(0.1, 0.8, 3)]
    near = [take(0.0, 0.8, 4), take(0.0, 0.8 + 0.9 * MIN_GAP, 5)]
    cut = [take(0.0, 0.8, 6, ran_away=True), take(0.1, 0.8, 7, ran_away=True)]
    made = pairs_of(iter([line | {"takes": one} for one in (far, near, cut)]), FakePrompts())
    assert [(pair.better.tolist(), pair.worse.tolist()) for pair in made] == [([[2]], [[1]])]
    assert len(made[0].prompt) == 3


class FakeText:
    """Every word a unit."""

    def prepare(self, text: str) -> str:
        return text


def test_what_is_too_much_to_read_loses_its_last_turns_not_its_prompts() -> None:
    rows = object.__new__(PromptRows)
    rows.frontend, rows.num_codebooks = FakeText(), tiny.NUM_CODEBOOKS
    rows.tokenizer = type("T", (), {"encode_segment_text": lambda _, __, text: [1] * len(text)})()
    long = torch.ones(tiny.NUM_CODEBOOKS, 150, dtype=torch.long)
    said = [Said("S1", "a", long), Said("S2", "b", long), Said("S1", "c", long)]
    short = rows.shortened(Task("text", "S2", "ben", said))
    assert [one.text for one in short.said] == ["a", "b"]
    assert len(rows.of(short)) == 2 * (1 + 150 + 1) + 4
    both = Task("t" * 200, "S2", "ben", said)
    assert len(rows.shortened(both).said) == 2  # the prompts stay, however long the text


def test_a_text_is_said_after_a_prompt_of_its_own_voice() -> None:
    casting = object.__new__(Casting)
    casting.num_codebooks = 2
    casting.voices, casting.named, casting.others = {}, [], ["a", "b", "c"]
    row = {"samples": 72_000, "text": "before"}
    casting.rows = {name: [row | {"id": n}] for n, name in enumerate("abc")}
    casting.codes = {n: np.full((4, 3), n + 1) for n in range(3)}
    rng = np.random.default_rng(0)
    drawn = [casting.task("now", rng) for _ in range(60)]
    for task in drawn:
        prompts = {}
        for one in task.said:
            prompts.setdefault(one.tag, one.codes)
            assert torch.equal(prompts[one.tag], one.codes)  # a tag keeps its voice
        assert prompts[task.tag][0, 0] == "abc".index(task.speaker) + 1
        assert prompts[task.tag].shape == (2, 3)
    assert {len({one.tag for one in task.said}) for task in drawn} == {1, 2}
    assert {len(task.said) for task in drawn} > {1, 2, 3}
