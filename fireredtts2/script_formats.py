"""The three forms of a script file, read into labelled turns."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_TAGGED = re.compile(r"\s*\[\s*(S\d+)\s*\]\s*(.*)", re.IGNORECASE)
_BARE_SPEAKER = re.compile(r"\s*(S\d+)\s*[:：]\s*(.*)", re.IGNORECASE)
_NAMED = re.compile(
    r"\s*([^\W\d_][^\s:：]{0,30}(?: [^\s:：]{1,30}){0,2})\s*(?::(?=\s|$)|：)\s*(.*)"
)
_BOLD_NAMED = re.compile(r"\s*\*\*\s*([^*:：\n]{1,60}?)\s*(?:[:：]\s*\*\*|\*\*\s*[:：])\s*(.*)")
_PAUSE_LINE = re.compile(r"\s*\[\s*pause\b[^\]]*\]\s*", re.IGNORECASE)
_REMARK = re.compile(r"\s*#(?:\s|$)")

_TURN_KEYS = {"speaker", "text", "pause_s"}
_SCRIPT_KEYS = {"turns", "voices", "title"}


@dataclass
class RawTurn:
    """A turn as written: `where` names its line, and `label` is "" where only a pause stands."""

    where: str
    label: str
    text: str
    pause_s: float = 0.0


def read_plain(text: str) -> list[RawTurn]:
    """Lines such as `[S1] Hello.`, `S1: Hello.` or `Anna: Hello.`"""
    turns: list[RawTurn] = []
    for number, line in enumerate(_lines(text), 1):
        if line.strip() and not _REMARK.match(line):
            _add_line(turns, line, f"line {number}")
    return turns


def read_markdown(text: str) -> list[RawTurn]:
    """As plain text, and `**Anna:** Hello.`; headings, rules, comments and code are left out."""
    text = re.sub(r"<!--.*?(?:-->|$)", _only_line_ends, text, flags=re.DOTALL)
    text = re.sub(r"(?m)^\s*```.*?(?:^\s*```\s*$|\Z)", _only_line_ends, text, flags=re.DOTALL)
    text = re.sub(r"\A---\n.*?\n---(?=\n|\Z)", _only_line_ends, text, flags=re.DOTALL)
    turns: list[RawTurn] = []
    for number, line in enumerate(_lines(text), 1):
        line = re.sub(r"^\s*(?:>\s*)*(?:[-*+]\s+|\d+\.\s+(?=\*\*|\[))?", "", line)
        if line.strip() and not re.match(r"#{1,6}(?:\s|$)|[-*_](?:\s*[-*_]){2,}\s*$", line):
            _add_line(turns, line, f"line {number}")
    for turn in turns:
        turn.text = _without_emphasis(turn.text)
    return turns


def read_json(text: str) -> tuple[list[RawTurn], dict[str, str]]:
    """A list of turns, or an object with "turns" and "voices"."""
    try:
        script = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: not valid JSON ({error.msg})") from None
    except RecursionError:
        raise ValueError("line 1: not a script (JSON nested too deep)") from None
    if isinstance(script, list):
        script = {"turns": script}
    if not isinstance(script, dict) or not isinstance(script.get("turns"), list):
        raise ValueError('a JSON script is a list of turns or {"turns": [...], "voices": {...}}')
    _check_keys(script, _SCRIPT_KEYS, "the script")
    turns = [_json_turn(turn, f"turn {n}") for n, turn in enumerate(script["turns"], 1)]
    return turns, _json_voices(script.get("voices", {}))


def _add_line(turns: list[RawTurn], line: str, where: str) -> None:
    """A new turn, or more of the last one."""
    if _PAUSE_LINE.fullmatch(line):
        turns.append(RawTurn(where, "", line.strip()))
        return
    for pattern in (_BOLD_NAMED, _TAGGED, _BARE_SPEAKER, _NAMED):
        if (match := pattern.fullmatch(line)) and (pattern is not _NAMED or _is_name(match[1])):
            turns.append(RawTurn(where, match[1].strip(), match[2].strip()))
            return
    if not turns or not turns[-1].label:
        raise ValueError(
            f"{where}: no speaker before {line.strip()[:40]!r}; write [S1] text, S1: text or "
            "Anna: text"
        )
    turns[-1].text = f"{turns[-1].text} {line.strip()}".strip()


def _is_name(text: str) -> bool:
    """One word, or several that all begin as names do: "Dr. Lee" and "Guest 2", not "He said"."""
    words = text.split()
    return len(words) == 1 or not any(word[0].islower() for word in words)


def _json_turn(turn: Any, where: str) -> RawTurn:
    if isinstance(turn, str) and (match := _TAGGED.fullmatch(turn.replace("\n", " "))):
        return RawTurn(where, match[1], match[2])
    if not isinstance(turn, dict):
        raise ValueError(f'{where}: expected {{"speaker": ..., "text": ...}} or "[S1] text"')
    _check_keys(turn, _TURN_KEYS, where)
    for key in ("speaker", "text"):
        if not isinstance(turn.get(key), str):
            raise ValueError(f'{where}: "{key}" must be text, not {turn.get(key)!r}')
    if not turn["speaker"].strip():
        raise ValueError(f'{where}: "speaker" is empty')
    pause_s = turn.get("pause_s", 0.0)
    if isinstance(pause_s, bool) or not isinstance(pause_s, int | float):
        raise ValueError(f'{where}: "pause_s" must be a number of seconds, not {pause_s!r}')
    return RawTurn(where, turn["speaker"].strip().strip("[]"), turn["text"], float(pause_s))


def _json_voices(voices: Any) -> dict[str, str]:
    if not isinstance(voices, dict) or not all(isinstance(v, str) for v in voices.values()):
        raise ValueError('"voices" must give a voice\'s name to each speaker: {"Anna": "af_heart"}')
    return {label.strip("[]"): voice for label, voice in voices.items()}


def _check_keys(values: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(values) - known):
        raise ValueError(f"{where}: unknown keys {unknown}; known: {sorted(known)}")


def _lines(text: str) -> list[str]:
    """As an editor counts them: control characters end no line, so that they are seen."""
    return re.split(r"\r\n|\r|\n", text)


def _only_line_ends(match: re.Match[str]) -> str:
    """Keeps the numbers of the lines that follow."""
    return "\n" * match[0].count("\n")


def _without_emphasis(text: str) -> str:
    text = re.sub(r"!?\[([^\]\n]*)\]\([^)\n]*\)", r"\1", text)
    text = re.sub(r"(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1", r"\2", text)
    return re.sub(r"(?<!\w)(_{1,2})(?=\S)([^_\n]+?)(?<=\S)\1(?!\w)", r"\2", text).replace("`", "")
