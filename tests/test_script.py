"""Dialogue scripts in text, Markdown and JSON."""

import json
from pathlib import Path

import pytest

from fireredtts2.script import Script, ScriptTurn, parse_script, read_script

TURNS = (ScriptTurn("S1", "Hello there."), ScriptTurn("S2", "Hi!"), ScriptTurn("S1", "Bye."))


@pytest.mark.parametrize(
    "text",
    [
        "[S1] Hello there.\n[S2] Hi!\n[S1] Bye.",
        "[S1]Hello there.\n\n# a remark\nS2: Hi!\r\ns1: Bye.\n",
        "[S1] Hello\n  there.\n[S2] Hi!\n[S1]\nBye.",
    ],
)
def test_tags(text: str) -> None:
    script = parse_script(text, "txt")
    assert script == Script(TURNS)
    assert list(script) == list(TURNS)
    assert (len(script), script[1]) == (3, TURNS[1])


def test_names() -> None:
    script = parse_script("Anna: Hello there.\nDr. Lee: Hi!\nAnna: Bye.")
    assert script == Script(TURNS, {"S1": "Anna", "S2": "Dr. Lee"})


def test_names_beside_tags() -> None:
    script = parse_script("Anna: a\n[S1] b\nBob: c")
    assert [turn.speaker for turn in script] == ["S2", "S1", "S3"]
    assert script.names == {"S2": "Anna", "S3": "Bob"}


def test_a_colon_does_not_make_a_name() -> None:
    script = parse_script("Anna: Look\nhe said so: yes\nhttps://a.b")
    assert script.turns == (ScriptTurn("S1", "Look he said so: yes https://a.b"),)


def test_markdown() -> None:
    text = """---
title: Show
---
# The *show*
<!-- Anna: not
said -->
**Anna:** Hello [there](https://x.y).

> **Bob**: *Hi!*
---
```
Anna: code
```
- **Anna:** Bye.
"""
    assert parse_script(text) == Script(TURNS, {"S1": "Anna", "S2": "Bob"})


def test_json() -> None:
    turns = [
        {"speaker": "Anna", "text": "Hello there."},
        "[S2] Hi!",
        {"speaker": "Anna", "text": "Bye."},
    ]
    script = {"turns": turns, "voices": {"Anna": "af_heart", "S2": "am_puck"}}
    expected = Script(TURNS, {"S1": "Anna"}, {"S1": "af_heart", "S2": "am_puck"})
    assert parse_script(json.dumps(script)) == expected
    assert parse_script(json.dumps(turns)).turns == TURNS


def test_pauses() -> None:
    script = parse_script("[pause:0.5s]\n[S1] One. [pause: 250ms] Two.\n[S2] [pause=1] Three.")
    assert script.turns == (
        ScriptTurn("S1", "One.", 0.5),
        ScriptTurn("S1", "Two.", 0.25),
        ScriptTurn("S2", "Three.", 1.0),
    )
    script = parse_script('[{"speaker": "S1", "text": "a", "pause_s": 2}]')
    assert script[0].pause_s == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no turns"),
        ("# only a remark", "no turns"),
        ("hello", "line 1: no speaker before 'hello'"),
        ("\n[S5] x", r"line 2: unknown speaker 'S5'; allowed: S1, S2, S3, S4"),
        ("[S1] x\nS10: y", "line 2: unknown speaker 'S10'"),
        ("A: 1\nB: 2\nC: 3\nD: 4\nA: 5\nEve: 6", "line 6: 'Eve' is one speaker too many"),
        ("[S1] x\n[S2]", "line 2: nothing to say: the text is empty"),
        ("[S1] x\n[S2] ...", "line 2: nothing to say in '...'"),
        ("[S1] a\x00b", r"line 1: .*U\+0000"),
        ("[S1] a\ud800", r"line 1: .*lone surrogate"),
        ("[S1] x [pause] y", r"line 1: cannot read \[pause\]"),
        ("[S1] x [pause:99s] y", r"line 1: a pause of 99.0 s; allowed: 0 to 60 s"),
        ("[S1] x\n[pause:1s]", "line 2: a pause at the end"),
        ('{"turns": [', "line 1: not valid JSON"),
        ('{"turns": 5}', "a JSON script is a list of turns"),
        ('{"turns": [], "speed": 1}', r"unknown keys \['speed'\]"),
        ('[{"speaker": "A"}]', 'turn 1: "text" must be text'),
        ('[{"speaker": " ", "text": "x"}]', 'turn 1: "speaker" is empty'),
        ('["x"]', "turn 1: expected"),
        ('[{"speaker": "A", "text": "x", "pause_s": "1"}]', 'turn 1: "pause_s" must be a number'),
        ('[{"speaker": "A", "text": "x", "pause_s": -1}]', "turn 1: a pause of -1.0 s"),
        ('{"turns": ["[S1] x"], "voices": {"Bob": "v"}}', "no turn is spoken by 'Bob'"),
        ('{"turns": ["[S1] x"], "voices": ["v"]}', '"voices" must give'),
    ],
)
def test_faults_are_named_with_their_place(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_script(text)


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "show.txt"
    path.write_text("\ufeff[S1] Hello there.\n[S2] Hi!\n[S1] Bye.", encoding="utf-8")
    assert read_script(path) == Script(TURNS)
    assert read_script(path.rename(tmp_path / "show"), "txt") == Script(TURNS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.docx", b"x", r"unknown kind of script '.docx'; allowed: .txt"),
        ("a.txt", b"\xff\xfe", "not UTF-8 text"),
        ("a.txt", b"hello", r"a\.txt: line 1: no speaker"),
        ("a.json", b"[[[[", "not valid JSON"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_script(tmp_path / name)
    with pytest.raises(ValueError, match="cannot be read"):
        read_script(tmp_path / "missing.txt")
    with pytest.raises(ValueError, match="unknown script format"):
        parse_script("[S1] x", "pdf")  # type: ignore[arg-type]
