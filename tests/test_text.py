"""The published text helpers: what they give is in data/text.json, from the published system."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireredtts2.text import (
    check_speakable,
    clean_text,
    contains_chinese,
    process_text_list,
    protect_float,
    restore_float,
    split_text,
)

CASES = json.loads((Path(__file__).parent / "data" / "text.json").read_text(encoding="utf-8"))
STRINGS = CASES["strings"]
DIALOGUES = {case["name"]: case for case in CASES["process_text_list"]}
MEGABYTE = 2**20

#: Where the published outputs are faults, and ours differ on purpose.
CUTS_DECIMALS = {"long_en", "long_en3", "en_floats_long", "mixed_lists"}
NEVER_CUTS_KOREAN = {"ko"}
TAKES_NO_TEXT = {"empty_after_tag"}
FAULTS = CUTS_DECIMALS | NEVER_CUTS_KOREAN | TAKES_NO_TEXT


def shown(case: dict[str, Any]) -> str:
    return repr(case["text"][:20])


@pytest.mark.parametrize("case", STRINGS, ids=shown)
def test_clean_text(case: dict[str, Any]) -> None:
    assert clean_text(case["text"]) == case["clean_text"]["out"]


@pytest.mark.parametrize("length", [400, 60])
@pytest.mark.parametrize("case", STRINGS, ids=shown)
def test_split_text(case: dict[str, Any], length: int) -> None:
    assert split_text(text=case["text"], length=length) == case[f"split_text_{length}"]["out"]


@pytest.mark.parametrize("case", STRINGS, ids=shown)
def test_one_turn(case: dict[str, Any]) -> None:
    text = case["text"]
    if not text.strip():
        with pytest.raises(ValueError, match="no text"):
            process_text_list([f"[S1]{text}"])
        return
    turns = [turn.removeprefix("[S1]") for turn in process_text_list([f"[S1]{text}"])]
    is_fault = "3.75" in text or "안녕" in text
    if is_fault and turns != case["process_text"]["out"]:
        assert "".join(turns).replace(" ", "") == text.replace(" ", "")
        assert not any(turn.endswith(" 3.") for turn in turns)
    else:
        assert turns == [turn.strip() for turn in case["process_text"]["out"]]


@pytest.mark.parametrize("name", sorted(set(DIALOGUES) - FAULTS))
def test_process_text_list(name: str) -> None:
    case = DIALOGUES[name]
    if "out" in case:
        assert process_text_list(case["input"]) == case["out"]
    else:
        kind = TypeError if case["raises"] == "TypeError" else ValueError
        with pytest.raises(kind, match=r".+"):
            process_text_list(case["input"])


@pytest.mark.parametrize("name", sorted(CUTS_DECIMALS))
def test_decimals_in_long_turns_are_whole(name: str) -> None:
    turns = DIALOGUES[name]["input"]
    parts = process_text_list(turns)
    assert parts != DIALOGUES[name]["out"]
    decimals = [word for turn in turns for word in turn.split() if word in ("3.75", "3.14", "2.71")]
    kept = [word for part in parts for word in part.split() if word in ("3.75", "3.14", "2.71")]
    assert kept == decimals
    assert all(len(part.split()) <= 80 for part in parts if part.isascii())


def test_korean_turns_are_cut() -> None:
    parts = process_text_list(DIALOGUES["ko"]["input"])
    assert len(parts) == 2
    assert all(part.startswith("[S4]") and len(part) <= 154 for part in parts)
    assert parts[0].endswith(".")


def test_kana_turns_are_cut() -> None:
    parts = process_text_list(["[S2]" + "きょうはいいてんきですね。" * 20])
    assert len(parts) == 2
    assert all(part.startswith("[S2]") and part.endswith("。") for part in parts)


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ("[S5]x", r"unknown speaker tag '\[S5\]'.*\[S1\], \[S2\], \[S3\], \[S4\]"),
        ("[S10]x", r"unknown speaker tag '\[S10\]'"),
        ("【S1】x", "unknown speaker tag '【S1】'"),
        ("Hello.", "no speaker tag before 'Hello.'"),
        ("", "no speaker tag"),
        ("[S1]", "has no text after its speaker tag"),
        ("[S1] \n", "has no text"),
        ("[S1]a\x07b", r"control character, U\+0007, at position 1"),
        ("[S1]a\ud83d", r"lone surrogate.*U\+D83D"),
    ],
)
def test_bad_turns(turn: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        process_text_list(["[S2]ok", turn])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("...", "no letter"),
        ("😀 !?", "no letter"),
        ("\0", r"U\+0000"),
    ],
)
def test_what_cannot_be_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_speakable(text)


@pytest.mark.parametrize("text", ["a", "7", "你好", "line\nline\ttab"])
def test_what_can_be_said(text: str) -> None:
    check_speakable(text)


def test_split_text_refuses() -> None:
    with pytest.raises(ValueError, match="length is 3 bytes; allowed: 4 or more"):
        split_text("a", 3)
    with pytest.raises(ValueError, match=r"U\+0001"):
        split_text("a\x01")


@pytest.mark.parametrize("unit", ["a", "Hello there. ", "word ", "字字字字。"])
def test_a_megabyte(unit: str) -> None:
    text = unit * (MEGABYTE // len(unit))
    pieces = split_text(text)
    assert sum(map(len, pieces)) <= len(text)
    assert all(len(piece.encode()) < 404 for piece in pieces)
    process_text_list(["[S1]x" + text])


@settings(max_examples=50)
@given(st.text(alphabet="ab1. ,!?。，字é", max_size=300), st.integers(8, 80))
def test_pieces_are_the_text(text: str, length: int) -> None:
    pieces = split_text(text, length)
    assert all(len(piece.encode()) <= length + 3 for piece in pieces)
    said = [character for character in clean_text(text) if character.isalnum()]
    assert [c for piece in pieces for c in piece if c.isalnum()] == said


@settings(max_examples=50)
@given(st.lists(st.sampled_from(["12.75", "word", "so,", "end.", "3.5%"]), max_size=60))
def test_decimals_are_never_cut(words: list[str]) -> None:
    pieces = split_text(" ".join(words), 20)
    assert [word for piece in pieces for word in piece.split()] == words


def test_helpers() -> None:
    for case in CASES["helpers"]["contains_chinese"]:
        assert contains_chinese(case["text"]) == case["out"]
    for case in CASES["helpers"]["protect_float"]:
        assert protect_float(case["text"]) == case["out"]
        assert restore_float(case["out"]) == case["back"]
