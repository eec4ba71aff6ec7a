"""English to units of speech, with the dictionary that ships with the embedded model."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fireredtts2
from fireredtts2.phonemes import LETTERS, UNITS, from_arpabet
from fireredtts2.pronunciation import Pronouncer, letters_for
from recipes.mini.build_pronunciations import parse, without_derivable
from recipes.mini.build_tokenizer import build_tokenizer

DICTIONARY = Path(fireredtts2.__file__).parent / "models" / "mini" / "pronunciations.txt.gz"
MAX_DICTIONARY_BYTES = 1_200_000


@pytest.fixture(scope="module")
def pronouncer() -> Pronouncer:
    return Pronouncer.from_file(DICTIONARY)


def sounds(*words: str) -> str:
    return " ".join(map(from_arpabet, words))


def test_the_alphabet() -> None:
    assert len(set(UNITS)) == len(UNITS) == 90
    assert all(len(unit) == 1 for unit in UNITS)
    assert DICTIONARY.stat().st_size <= MAX_DICTIONARY_BYTES


@pytest.mark.parametrize("phone", ["XX", "AH", "B1", "AH3", ""])
def test_not_arpabet(phone: str) -> None:
    with pytest.raises(ValueError, match="not an ARPAbet phoneme"):
        from_arpabet(phone or "1")


def test_a_sentence_keeps_its_punctuation(pronouncer: Pronouncer) -> None:
    hello, world = sounds("HH AH0 L OW1"), sounds("W ER1 L D")
    assert pronouncer.to_units("Hello, world!") == f"{hello}, {world}!"
    assert pronouncer.to_units("“Hello” — world… world?") == f'"{hello}" - {world}, {world}?'
    assert pronouncer.to_units("Hello (world).") == f"{hello}, {world}."


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("zogs", None),
        ("vloggers", "V L AA1 G ER0 Z"),
        ("unhelpfully", "AH0 N HH EH1 L P F AH0 L IY0"),
        ("colour", "K AH1 L ER0"),
        ("organise", "AO1 R G AH0 N AY2 Z"),
        ("centre", "S EH1 N T ER0"),
        ("raincoat", "R EY1 N K OW2 T"),
        ("Anna's", "AE1 N AH0 Z"),
        ("boss's", "B AO1 S IH0 Z"),
        ("re-enter", "R IY0 EH1 N T ER0"),
        ("FBI", "EH2 F B IY2 AY1"),
        ("don’t", "D OW1 N T"),
        ("café", "K AH0 F EY1"),
        ("timbered", "T IH1 M B ER0 D"),
        ("picnicked", "P IH1 K N IH2 K T"),
        ("vloggin'", "V L AA1 G IH0 N"),
        ("dully", "D AH1 L IY0"),
        ("iOS", "AY2 OW2 EH1 S"),
        ("Mhmm", "AH0 M HH AH1 M"),
        ("woah", "W OW1"),
        ("Dr", "D AA1 K T ER0"),
        ("bellybutton", "B EH1 L IY0 B AH1 T AH0 N"),
    ],
)
def test_words(pronouncer: Pronouncer, word: str, phones: str | None) -> None:
    expected = letters_for(word) if phones is None else from_arpabet(phones)
    assert pronouncer.to_units(word) == expected


def test_derived_words_are_known_by_rule() -> None:
    small = Pronouncer(
        {
            "kind": from_arpabet("K AY1 N D"),
            "hope": from_arpabet("HH OW1 P"),
            "stop": from_arpabet("S T AA1 P"),
            "city": from_arpabet("S IH1 T IY0"),
            "colour": "",
            "snow": from_arpabet("S N OW1"),
            "ball": from_arpabet("B AO1 L"),
        }
    )
    assert small.to_units("unkindness") == from_arpabet("AH0 N K AY1 N D N AH0 S")
    assert small.to_units("hoped") == from_arpabet("HH OW1 P T")
    assert small.to_units("stopping") == from_arpabet("S T AA1 P IH0 NG")
    assert small.to_units("cities") == from_arpabet("S IH1 T IY0 Z")
    assert small.to_units("snowballs") == from_arpabet("S N OW1 B AO1 L Z")
    assert small.to_units("gnarl") == "gnarl"
    assert not small.knows("gnarl")


def test_heteronyms(pronouncer: Pronouncer) -> None:
    def last(text: str) -> str:
        return pronouncer.to_units(text).split()[-1]

    assert last("I will read") != last("I have read")
    assert last("they live") == from_arpabet("L IH1 V")
    assert pronouncer.to_units("live music").split()[0] == from_arpabet("L AY1 V")
    assert last("the record") != last("to record")
    assert last("a close") != last("please close")
    assert pronouncer.to_units("the apple").split()[0] == from_arpabet("DH IY0")
    assert pronouncer.to_units("the pear").split()[0] == from_arpabet("DH AH0")


READ, RED = "R IY1 D", "R EH1 D"


@pytest.mark.parametrize(
    ("text", "word", "phones"),
    [
        ("That is perfect.", "perfect", "P ER1 F IH2 K T"),
        ("It is nice and perfect.", "perfect", "P ER1 F IH2 K T"),
        ("They want to perfect it.", "perfect", "P ER0 F EH1 K T"),
        ("She uses a pen.", "uses", "Y UW1 Z AH0 Z"),
        ("It has many uses.", "uses", "Y UW1 S AH0 Z"),
        ("Tears ran down her face.", "tears", "T IH1 R Z"),
        ("He tears it up.", "tears", "T EH1 R Z"),
        ("Their lives changed.", "lives", "L AY1 V Z"),
        ("My uncle lives in town.", "lives", "L IH1 V Z"),
        ("The man that lives here.", "lives", "L IH1 V Z"),
        ("The houses are old.", "houses", "HH AW1 Z AH0 Z"),
        ("The wound healed.", "wound", "W UW1 N D"),
        ("She wound the clock.", "wound", "W AW1 N D"),
        ("The road wound through hills.", "wound", "W AW1 N D"),
        ("Use a bow and arrow.", "bow", "B OW1"),
        ("Take a bow.", "bow", "B AW1"),
        ("We bow to the king.", "bow", "B AW1"),
        ("They sow seeds.", "sow", "S OW1"),
        ("Play the bass guitar.", "bass", "B EY1 S"),
        ("We ate sea bass.", "bass", "B AE1 S"),
        ("I will segue now.", "segue", "S EH1 G W EY0"),
        ("A lunch buffet opened.", "buffet", "B AH0 F EY1"),
        ("Convert the file.", "convert", "K AH0 N V ER1 T"),
        ("He is a convert.", "convert", "K AA1 N V ER0 T"),
        ("Please combine them.", "combine", "K AH0 M B AY1 N"),
        ("Send me your résumé.", "résumé", "R EH1 Z AH0 M EY2"),
        ("We resume at ten.", "resume", "R IH0 Z UW1 M"),
        ("She read it.", "read", RED),
        ("Have you read it?", "read", RED),
        ("Did she read it?", "read", READ),
        ("They read it daily.", "read", READ),
        ("What is it for?", "for", "F AO1 R"),
        ("It is for you.", "for", "F ER0"),
        ("The door is close.", "close", "K L OW1 S"),
        ("They sat so close.", "close", "K L OW1 S"),
        ("Close the door.", "close", "K L OW1 Z"),
        ("A refund came.", "refund", "R IY1 F AH2 N D"),
        ("The conflicts hurt.", "conflicts", "K AA1 N F L IH0 K T S"),
        ("This behavior conflicts with our rules.", "conflicts", "K AH0 N F L IH1 K T S"),
        ("The clergy conducts a service.", "conducts", "K AH0 N D AH1 K T S"),
        ("The law permits it.", "permits", "P ER0 M IH1 T S"),
        ("They are often objects of pity.", "objects", "AA1 B JH EH0 K T S"),
        ("Which records do you own?", "records", "R EH1 K ER0 D Z"),
        ("Add vanilla extract.", "extract", "EH1 K S T R AE2 K T"),
        ("Common uses are many.", "uses", "Y UW1 S AH0 Z"),
        ("The farmer's combine broke.", "combine", "K AA1 M B AY0 N"),
        ("Refund me, please.", "refund", "R IH0 F AH1 N D"),
        ("Can't he read?", "read", "R IY1 D"),
        ("Update your files.", "update", "AH0 P D EY1 T"),
        ("The update came.", "update", "AH1 P D EY2 T"),
        ("We coordinate it.", "coordinate", "K OW0 AO1 R D AH0 N EY2 T"),
        ("They are content.", "content", "K AH0 N T EH1 N T"),
    ],
)
def test_heteronyms_in_sentences(pronouncer: Pronouncer, text: str, word: str, phones: str) -> None:
    place = [piece.strip(".,?").lower() for piece in text.split()].index(word)
    said = [piece.strip(".,?") for piece in pronouncer.to_units(text).split()]
    assert said[place] == from_arpabet(phones)


def test_capitals(pronouncer: Pronouncer) -> None:
    spelt = sounds("JH IY1", "P IY1", "T IY1")
    assert pronouncer.to_units("a GPT").split(" ", 1)[1] == spelt
    assert pronouncer.to_units("NASA") == pronouncer.to_units("nasa")
    assert pronouncer.to_units("the US").endswith(sounds("Y UW1", "EH1 S"))
    assert pronouncer.to_units("with us").endswith(from_arpabet("AH1 S"))
    assert pronouncer.to_units("SeaBird") == pronouncer.to_units("sea bird").replace(" ", "")
    assert pronouncer.to_units("LOOK AT THIS NOW") == pronouncer.to_units("look at this now")
    listed = pronouncer.to_units("FBI, GPT, CIA, GPT")
    assert listed == ", ".join(map(pronouncer.to_units, ("FBI", "GPT", "CIA", "GPT")))
    assert pronouncer.to_units("grade A").endswith(from_arpabet("EY1"))
    assert pronouncer.to_units("the U.S. army") == pronouncer.to_units("the US army")


@pytest.mark.parametrize(
    ("dotted", "letters"),
    [
        ("the P.O. box", "the p o box"),
        ("an E.R. doctor", "an e r doctor"),
        ("the W.H.O. report", "the w h o report"),
        ("nine PM ET", "nine PM e t"),
        ("nine PM CT", "nine PM c t"),
        ("CO two", "c o two"),
    ],
)
def test_abbreviations_that_look_like_words(
    pronouncer: Pronouncer, dotted: str, letters: str
) -> None:
    assert pronouncer.to_units(dotted) == pronouncer.to_units(letters)


@pytest.mark.parametrize(
    "text",
    [
        "It was late. A man came.",
        '"A man," she said.',
        "A man.",
        "He left (A man did).",
        "No: A man",
    ],
)
def test_a_sentence_starts_with_an_article(pronouncer: Pronouncer, text: str) -> None:
    article, man = from_arpabet("AH0"), from_arpabet("M AE1 N")
    assert f"{article} {man}" in pronouncer.to_units(text)


@pytest.mark.parametrize(
    "text",
    [
        "The A-list.",
        "A-levels",
        "A: yes",
        "A and B",
        "A B test",
        "A D seventy",
        '"A" it is',
        "Plan A.",
    ],
)
def test_an_a_that_is_a_letter(pronouncer: Pronouncer, text: str) -> None:
    assert from_arpabet("EY1") in re.findall(r"\w+", pronouncer.to_units(text))


def test_letters() -> None:
    assert letters_for("Zoë") == "zoe"
    assert letters_for("well-known") == "well known"
    assert letters_for("don't") == "don't"
    assert letters_for("你好") == ""


def test_spelling_at_random(pronouncer: Pronouncer) -> None:
    text = "The quick brown fox jumps."
    assert pronouncer.to_units(text, 1.0, random.Random(0)) == text.lower()
    first = pronouncer.to_units(text, 0.5, random.Random(1))
    assert first == pronouncer.to_units(text, 0.5, random.Random(1))
    assert set(first) & set(LETTERS)
    assert first not in (text.lower(), pronouncer.to_units(text))
    with pytest.raises(ValueError, match="needs rng"):
        pronouncer.to_units(text, 0.5)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=60))
def test_only_units_come_out(text: str) -> None:
    pronouncer = Pronouncer({"a": from_arpabet("AH0"), "cat": from_arpabet("K AE1 T")})
    assert set(pronouncer.to_units(text)) <= set(UNITS)


@pytest.mark.parametrize("unit", ["a", "a-", "un", "'", "A ", "- ", ", ", "(", "é"])
def test_long_text(pronouncer: Pronouncer, unit: str) -> None:
    pronouncer.to_units(unit * (20_000 // len(unit)))


@pytest.mark.parametrize("content", [b"", b"not gzip", b"\x1f\x8b\x08\x00"])
def test_a_bad_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pronunciations.txt.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="pronunciations"):
        Pronouncer.from_file(path)
    with pytest.raises(ValueError, match="cannot read"):
        Pronouncer.from_file(tmp_path / "missing.gz")


def test_building_leaves_out_what_rules_make() -> None:
    words = parse(
        [
            "mountain M AW1 N T AH0 N",
            "mountain(2) K",
            "mountains M AW1 N T AH0 N Z # note",
            "!x X",
            "gas G",
        ]
    )
    assert words == {
        "mountain": from_arpabet("M AW1 N T AH0 N"),
        "mountains": from_arpabet("M AW1 N T AH0 N Z"),
        "gas": from_arpabet("G"),
    }
    assert sorted(without_derivable(words)) == ["gas", "mountain"]


def test_the_tokenizer_has_a_token_for_each_unit(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(tmp_path / "tokenizer.json", ["<|text_start|>", "[S1]"])
    assert tokenizer.encode("".join(UNITS)).ids == list(range(len(UNITS)))
    assert tokenizer.encode("[S1]<|text_start|>K你😀").ids == [91, 90, UNITS.index("K")]
    assert tokenizer.decode([91, 90, 0], skip_special_tokens=False) == "[S1]<|text_start|> "
