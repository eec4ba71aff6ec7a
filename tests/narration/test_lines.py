"""Scripts cut into pieces and prepared."""

import pytest

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.narration.lines import MAX_SENTENCE_BYTES, Typesetter
from fireredtts2.script import ScriptTurn, parse_script
from fireredtts2.text_frontend import TextFrontend

PLAIN = Typesetter(TextFrontend.plain())
WORDS = Typesetter(TextFrontend(normalizes=True))
SHORT = Typesetter(TextFrontend.plain(), piece_bytes=60)


def test_strings_and_turns_of_a_script():
    script = parse_script("[S1] Hello.\n[pause:0.5s]\nAnna: Hi there.")
    lines = PLAIN.dialogue(["[S2]  Hello. ", *script])
    assert [(line.speaker, line.text, line.pieces, line.pause_s) for line in lines] == [
        ("S2", "Hello.", ["Hello."], 0.0),
        ("S1", "Hello.", ["Hello."], 0.0),
        ("S2", "Hi there.", ["Hi there."], 0.5),
    ]


def test_text_goes_in_as_typed_unless_the_checkpoint_wants_words():
    typed = "It's 5:30 (p.m.)!"
    assert PLAIN.dialogue([f"[S1]{typed}"])[0].pieces == [typed]
    [line] = WORDS.dialogue([f"[S1]{typed}"])
    assert "thirty" in line.pieces[0]
    assert line.text == typed


def test_words_are_made_before_the_text_is_cut():
    assert "five thirty" in WORDS.monologue("It's 5:30.").pieces[0]


UNITS = Typesetter(TextFrontend.from_checkpoint(CheckpointFolder("mini")), piece_bytes=60)


def test_no_words_are_glued_where_the_front_end_reads_dashes_and_brackets():
    text = "The old house—which stood empty for years—burnt down (at night), with us(me) in it."
    [line] = UNITS.dialogue([f"[S1]{text}"])
    assert line.pieces == UNITS.monologue(text).pieces
    apart = UNITS.monologue(text.replace("—", " - ").replace("(", " (")).pieces
    assert " ".join(apart).split() == " ".join(line.pieces).split()
    assert UNITS.monologue("Wait—what?").pieces == UNITS.dialogue(["[S1]Wait—what?"])[0].pieces


def test_a_closing_quote_stays_with_its_sentence():
    pieces = UNITS.monologue(
        '"I am quite sure of that by now." "Then let us go home today."'
    ).pieces
    assert [(piece[0], piece[-1]) for piece in pieces] == [('"', '"')] * 2
    text = "He said 'I am going home right now, and so are you.' Then he left the house."
    assert UNITS.monologue(text).pieces[-1] == UNITS.monologue("Then he left the house.").pieces[0]


def test_long_turns_are_cut_as_published():
    [line] = PLAIN.dialogue(["[S1]" + "This is a sentence of seven words. " * 24])
    assert [len(piece.split()) <= 80 for piece in line.pieces] == [True] * len(line.pieces)
    assert len(line.pieces) > 1


def test_a_sentence_without_end_is_cut_too():
    [line] = PLAIN.dialogue(["[S1]" + "word " * 5_000])
    assert all(len(piece.encode()) <= MAX_SENTENCE_BYTES for piece in line.pieces)
    assert " ".join(line.pieces).split() == ["word"] * 5_000


def test_a_checkpoint_can_ask_for_shorter_pieces():
    text = "This is one sentence, of some length. Here is another one, of more length than that."
    [line] = SHORT.dialogue([f"[S1]{text}"])
    assert len(line.pieces) > 1
    assert all(len(piece.encode()) <= 60 for piece in line.pieces)
    assert SHORT.monologue(text).pieces == line.pieces


def test_pieces_without_words_are_left_out():
    [line] = SHORT.dialogue(["[S1]" + "Hello there. " * 5 + "... " * 30])
    assert all(any(map(str.isalpha, piece)) for piece in line.pieces)


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ("Hello.", "no speaker tag"),
        ("[S5]Hello.", "unknown speaker tag"),
        ("[S1]", "no text after"),
        ("[S1]?!...", "nothing to say"),
        ("[S1]a\x00b", "control"),
        ("[S1]a\ud800b", "surrogate"),
        (5, "not int"),
        ("[S1]And [S2]then?", r"second speaker tag, \[S2\]"),
        ("[S1]And [S12]then?", r"second speaker tag, \[S12\]"),
        (ScriptTurn("S7", "Hello."), "unknown speaker 'S7'"),
    ],
)
def test_bad_turns(turn: object, message: str):
    with pytest.raises(ValueError, match=message):
        PLAIN.dialogue(["[S1]Fine.", turn])  # type: ignore[list-item]


def test_a_tag_is_no_text_of_one_voice():
    for speak in (PLAIN.monologue, lambda text: PLAIN.single("S1", text)):
        with pytest.raises(ValueError, match="second speaker tag"):
            speak("[S1]Hello.")


@pytest.mark.parametrize("text", ["", " ", "?!", "\n\t", "\U0001f600"])
def test_nothing_to_say(text: str):
    with pytest.raises(ValueError, match="nothing to say"):
        PLAIN.monologue(text)
    with pytest.raises(ValueError, match="nothing to say"):
        PLAIN.single("S1", text)
