"""Web and mail addresses, handles, file names, telephone numbers and versions as spoken."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import Rule, rule
from fireredtts2.english.times import DOTTED_DATE

_TOP_LEVEL = (
    "com|org|net|edu|gov|info|io|ai|co|uk|de|fr|eu|us|ca|au|jp|cn|in|dev|app|tv|me|ly|gg|xyz|tech"
)
_SPELT_PARTS = re.compile(
    r"\b(?:www|io|ai|uk|tv|edu|eu|us|jp|cn|gg|fm|au|fr|de|html|php|pdf)\b", re.I
)
_SYMBOLS = {
    ".": "dot", "/": "slash", "-": "dash", "_": "underscore", "?": "question mark",
    "=": "equals", "&": "and", "#": "hash", ":": "colon", "%": "percent", "+": "plus",
    "@": "at", "~": "tilde",
}  # fmt: skip
_FILE_ENDINGS = (
    "pdf|docx?|xlsx?|pptx?|txt|csv|json|xml|html?|py|js|ts|java|cpp|exe|zip|mp3|mp4|wav|flac|jpe?g|"
    "png|gif|svg|md|yaml|toml"
)
_VERSIONED = "Python|Java|Node|iOS|macOS|Windows|Android|Ubuntu|Linux|Firefox|Chrome|PyTorch|CUDA"
_TAIL_MARKS = ".,;:!?)'\""


def _address(match: re.Match[str], reading: Reading) -> str:
    text = match[0].rstrip(_TAIL_MARKS)
    tail = match[0][len(text) :]
    text = re.sub(r"^https?://", "", text).rstrip("/")
    return _spoken(text) + tail


def _spoken(text: str) -> str:
    text = _SPELT_PARTS.sub(lambda part: " ".join(part[0].upper()), text)
    text = re.sub(r"\d+", lambda run: f" {_address_number(run[0])} ", text)
    return " ".join("".join(f" {_SYMBOLS[c]} " if c in _SYMBOLS else c for c in text).split())


def _address_number(run: str) -> str:
    is_short = len(run) <= 2 and not run.startswith("0")
    return words.cardinal(int(run)) if is_short else words.digits(run)


def _hashtag(match: re.Match[str], reading: Reading) -> str:
    tag = re.sub(r"(?<=[a-z\d])(?=[A-Z])|_|(?<=[A-Za-z])(?=\d)", " ", match["tag"])
    return f"hashtag {tag}"


def _handle(match: re.Match[str], reading: Reading) -> str:
    return "at " + _spoken(match["name"])


def _phone(match: re.Match[str], reading: Reading) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    groups = re.findall(r"\d+", match[0])
    return plus + ", ".join("eight hundred" if g == "800" else words.digits(g) for g in groups)


def _plain_phone(match: re.Match[str], reading: Reading) -> str:
    """ "+15551234567" is grouped as Americans group it; others are said in a row."""
    number = match[0][1:]
    is_american = len(number) == 11 and number.startswith("1")
    groups = [number[:1], number[1:4], number[4:7], number[7:]] if is_american else [number]
    return "plus " + ", ".join(map(words.digits, groups))


def _word_phone(match: re.Match[str], reading: Reading) -> str:
    """ "1-800-FLOWERS"."""
    code = "eight hundred" if match["code"] == "800" else words.digits(match["code"])
    has_one = "1" in match[0][: match.start("code") - match.start()]
    return ("one, " if has_one else "") + f"{code}, {match['word'].replace('-', ' ')}"


def _dotted(match: re.Match[str], reading: Reading) -> str:
    """ "1.2.3" is "one point two point three", an address of four numbers has dots."""
    parts = match["parts"].split(".")
    joint = " dot " if len(parts) == 4 else " point "
    return (match.groupdict().get("name") or "") + joint.join(
        words.cardinal(int(part)) for part in parts
    )


def _version(match: re.Match[str], reading: Reading) -> str:
    spoken = " point ".join(words.cardinal(int(part)) for part in match["parts"].split("."))
    return f"version {spoken}"


RULES: tuple[Rule, ...] = (
    rule(r"(?<![\w.])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}", _address),
    rule(r"(?:\bhttps?://|\bwww\.)[^\s<>]+", _address),
    rule(
        rf"(?<![\w.@-])(?:[A-Za-z][\w-]{{0,62}}\.){{1,4}}(?:{_TOP_LEVEL})\b(?:/[^\s<>]*)?(?!\.?\w)",
        _address,
    ),
    rule(rf"(?<![\w.])[A-Za-z][\w-]{{0,63}}\.(?:{_FILE_ENDINGS})\b(?!\.\w)", _address),
    rule(r"(?<![\w&])#(?P<tag>\w{0,64}[A-Za-z]\w{0,64})", _hashtag),
    rule(r"(?<![\w])@(?P<name>[A-Za-z]\w{0,64})", _handle),
    rule(r"(?<![\w+])\+\d{1,3}(?:[\s.()-]{1,2}\d{1,8}){2,5}(?!\d)", _phone),
    rule(r"(?<![\w+])\+\d{8,15}(?!\d)", _plain_phone),
    rule(
        r"(?<![\w$-])(?:\+?1[\s.-])?(?P<code>8(?:00|33|44|55|66|77|88))[.-]"
        r"(?P<word>[A-Z]{2,10}(?:-[A-Z]{2,10}){0,2})\b",
        _word_phone,
    ),
    rule(r"(?<![\w$-])(?:1[\s.-])?(?:\(\d{3}\)\s?|\d{3}[\s.-])\d{3}[\s.-]\d{4}(?![\w-])", _phone),
    rule(r"(?<![\w$.-])0\d{2,4}[\s-]\d{3,4}[\s-]?\d{3,4}(?![\w-])", _phone),
    rule(r"(?<![\w$.,-])\d{3}-(?:\d{4}|\d\d-\d{4})(?![\w-])", _phone),
    rule(r"(?<![\w$.,-])\d{4}(?:[ -]\d{4}){2,3}(?![\w-])", _phone),
    rule(
        r"\b(?:(?:[vV]ersion |[vV]er\. ?)[vV]?|[vV])(?P<parts>\d{1,4}(?:\.\d{1,6})*)(?![\w])",
        _version,
    ),
    rule(rf"\b(?P<name>(?:{_VERSIONED}) )(?P<parts>\d{{1,4}}\.\d{{1,6}})(?![\w.]\w)", _dotted),
    rule(
        rf"(?<![\w.,])(?!{DOTTED_DATE})(?P<parts>\d{{1,6}}(?:\.\d{{1,6}}){{2,6}})(?![\w]|\.\d)",
        _dotted,
    ),
)
