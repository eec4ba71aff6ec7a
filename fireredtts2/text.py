"""The published text helpers: symbols cleaned, long text cut, speaker tags checked (SPEC 8)."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Sequence

from fireredtts2.config import MONOLOGUE_SPLIT_BYTES

SPEAKER_TAGS = ("[S1]", "[S2]", "[S3]", "[S4]")
MAX_TURN_WORDS = 80
MAX_TURN_CHARACTERS = 150  # of a turn in Chinese, Japanese or Korean
MAX_UTF8_BYTES_PER_CHARACTER = 4
SHOWN_CHARACTERS = 40  # of a faulty text, in a message

_CLEANED = str.maketrans(
    {
        **dict.fromkeys(":：;；…", ","), **dict.fromkeys("！~～", "，"),
        **dict.fromkeys("‘’《》「」", "'"),
        **dict.fromkeys('"“”*()（）[]【】—·・\n\t\u00a0', None),
    }
)  # fmt: skip
_EMOJI = re.compile(
    "[\U0001f600-\U0001f64f\U0001f300-\U0001f5ff\U0001f680-\U0001f6ff\U0001f1e0-\U0001f1ff]+"
)
_REPEATED = re.compile(r"([.,])[.,]+")

_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_SURROGATES = range(0xD800, 0xE000)

# NOTE: a dot or comma between two digits belongs to a number and ends nothing.
_END_MARKS = r"(?:[!?。！？]|(?<!\d)\.|\.(?!\d))+"
_SENTENCE_END = re.compile(rf"{_END_MARKS}\s*")
_SENTENCE_END_AND_QUOTE = re.compile(rf"{_END_MARKS}(?:[\"”’)\]]|'(?=\s|$))*\s*")
_CHINESE_SENTENCE_END = re.compile(r"[。！？]+\s*")
_COMMA = re.compile(r"(?:，|(?<!\d),|,(?!\d))+\s*")
_SPACE = re.compile(r"\s+")
_NUMBER_CHARACTERS = frozenset("0123456789.,")
_FLOAT = re.compile(r"(\d+)\.(\d+)")
_PROTECTED_FLOAT = re.compile(r"<(\d+)_f_(\d+)>")


def clean_text(text: str) -> str:
    """Maps or removes symbols and emoji; folds repeated periods and commas."""
    return _REPEATED.sub(r"\1", _EMOJI.sub("", text.translate(_CLEANED))).strip()


def split_text(
    text: str, length: int = MONOLOGUE_SPLIT_BYTES, *, keeps_symbols: bool = False
) -> list[str]:
    """Cleans a text and cuts it into pieces.

    Cuts at sentence ends, then commas, then spaces, then anywhere, only as deep as need be, and
    never inside a decimal number that fits into a piece.

    Args:
        text: as typed.
        length: limit of a piece in UTF-8 bytes. Where a run without spaces has to be cut
            anywhere, its last character may begin before the limit and end after it.
        keeps_symbols: cut without cleaning, for a front end that reads quotes and dashes itself.

    Returns:
        The pieces in order, without those that are only ASCII punctuation.

    Raises:
        ValueError: `length` holds no character, or `text` has characters no text has.
    """
    if length < MAX_UTF8_BYTES_PER_CHARACTER:
        raise ValueError(
            f"length is {length} bytes; allowed: {MAX_UTF8_BYTES_PER_CHARACTER} or more"
        )
    check_characters(text)
    if keeps_symbols:
        sentences = _pieces(text, _SENTENCE_END_AND_QUOTE)
    else:
        sentences = _pieces(clean_text(text), _SENTENCE_END)
    pieces = (p for sentence in sentences for p in _cut(sentence, length, (_COMMA, _SPACE)))
    # NOTE: the published helper reads its own marks for decimals back, wherever they come from.
    merged = (restore_float(piece).strip() for piece in _merge(pieces, length))
    return [piece for piece in merged if _has_more_than_punctuation(piece)]


def process_text_list(text_list: Sequence[str]) -> list[str]:
    """Checks the speaker tags of a dialogue and cuts its long turns at sentence ends.

    Args:
        text_list: turns such as "[S1]Hello.".

    Returns:
        The turns; one in Chinese, Japanese or Korean of over 150 characters, or of over 80 words
        in another language, has become several with the same tag.

    Raises:
        ValueError: no tag or one that is not [S1] to [S4], no text, or characters no text has.
    """
    return [tag + piece for tag, text in map(_parse, text_list) for piece in _cut_turn(text)]


def check_characters(text: str) -> None:
    """Refuses what is not text: control characters other than tab and line ends, half characters.

    Raises:
        ValueError: names the character and its place.
    """
    bad = _NOT_TEXT.search(text)
    if bad is None:
        return
    is_surrogate = ord(bad[0]) in _SURROGATES
    kind = "half a character (a lone surrogate)" if is_surrogate else "a control character"
    raise ValueError(
        f"the text has {kind}, U+{ord(bad[0]):04X}, at position {bad.start()}; "
        "allowed: whole printable characters, spaces, tabs and line ends"
    )


def check_speakable(text: str) -> None:
    """Refuses a text in which nothing can be said.

    Raises:
        ValueError: no string, empty, only punctuation and symbols, or with characters no text has.
    """
    if not isinstance(text, str):
        raise ValueError(f"a text is a string, not {type(text).__name__}")
    check_characters(text)
    if not text.strip():
        raise ValueError("nothing to say: the text is empty")
    # NOTE: `any` over a generator stops at the first letter, so a long text costs nothing.
    if not any(unicodedata.category(character)[0] in "LN" for character in text):
        raise ValueError(f"nothing to say in {shown(text)}: there is no letter or digit in it")


def contains_chinese(text: str) -> bool:
    """Whether there is a common Chinese character, which Japanese has too."""
    return re.search("[\u4e00-\u9fff]", text) is not None


def protect_float(text: str) -> str:
    """Hides the points of decimals: "1.5" becomes "<1_f_5>"."""
    return _FLOAT.sub(r"<\1_f_\2>", text)


def restore_float(text: str) -> str:
    """Undoes `protect_float`."""
    return _PROTECTED_FLOAT.sub(r"\1.\2", text)


def shown(text: str) -> str:
    """The beginning of a text in quotes, for a message."""
    return repr(text[:SHOWN_CHARACTERS] + ("..." if len(text) > SHOWN_CHARACTERS else ""))


def _parse(turn: str) -> tuple[str, str]:
    """Tag and text of a turn."""
    if not isinstance(turn, str):
        raise TypeError(f'a turn is a string like "[S1]Hello.", not {type(turn).__name__}')
    tag = turn[: len(SPEAKER_TAGS[0])]
    if tag not in SPEAKER_TAGS:
        raise ValueError(_tag_fault(turn))
    text = turn[len(tag) :].strip()
    if not text:
        raise ValueError(f"{shown(turn)} has no text after its speaker tag; give it words to say")
    check_characters(text)
    return tag, text


def _tag_fault(turn: str) -> str:
    given = re.match(r"\s*[\[【（(]\s*(\w{1,20})\s*[\]】）)]", turn)
    fault = f"unknown speaker tag {given[0]!r} in" if given else "no speaker tag before"
    return f"{fault} {shown(turn)}; a turn begins with one of {', '.join(SPEAKER_TAGS)}"


def _cut_turn(text: str) -> list[str]:
    """A turn as it is, or in parts of whole sentences."""
    if contains_chinese(text):
        return _cut_at(text, _CHINESE_SENTENCE_END, "", MAX_TURN_CHARACTERS, len)
    if re.search("[\u3040-\u30ff\uac00-\ud7a3]", text):  # kana, hangul
        return _cut_at(text, _SENTENCE_END, " ", MAX_TURN_CHARACTERS, len)
    return _cut_at(text, _SENTENCE_END, " ", MAX_TURN_WORDS, _count_words)


def _count_words(text: str) -> int:
    return len(text.split())


def _cut_at(
    text: str, end: re.Pattern[str], joint: str, limit: int, measure: Callable[[str], int]
) -> list[str]:
    """Parts of whole sentences that measure at most `limit`; a longer sentence is a part alone."""
    if measure(text) <= limit:
        return [text]
    parts: list[list[str]] = []
    room = 0
    for sentence in filter(_has_more_than_punctuation, map(str.strip, _pieces(text, end))):
        size = measure(sentence)
        if size > room or not parts:
            parts.append([])
            room = limit
        parts[-1].append(sentence)
        room -= size + (measure is len and bool(joint))
    return [joint.join(part) for part in parts]


def _cut(text: str, length: int, ends: Sequence[re.Pattern[str]]) -> Iterator[str]:
    """Pieces of about `length` bytes at most, each with the space that follows it."""
    if len(text.strip().encode()) <= length:
        yield text
    elif not ends:
        yield from _slices(text, length)
    else:
        for piece in _pieces(text, ends[0]):
            yield from _cut(piece, length, ends[1:])


def _pieces(text: str, end: re.Pattern[str]) -> Iterator[str]:
    start = 0
    for match in end.finditer(text):
        yield text[start : match.end()]
        start = match.end()
    if start < len(text):
        yield text[start:]


def _slices(text: str, length: int) -> Iterator[str]:
    """Runs of characters that reach `length` bytes, the last character perhaps beyond it."""
    start = 0
    while start < len(text):
        fitting = text[start : start + length].encode()[:length].decode(errors="ignore")
        stop = start + len(fitting) + (len(fitting.encode()) < length)
        stop = _before_number(text, start, stop)
        yield text[start:stop]
        start = stop


def _before_number(text: str, start: int, stop: int) -> int:
    """Moves a cut out of a number, unless the number fills the slice."""
    cut = stop
    while cut > start and cut < len(text) and {text[cut - 1], text[cut]} <= _NUMBER_CHARACTERS:
        cut -= 1
    return cut if cut > start else stop


def _merge(pieces: Iterator[str], length: int) -> Iterator[str]:
    chunk: list[str] = []
    room = length
    for piece in pieces:
        size = len(piece.encode())
        if size > room and chunk:
            yield "".join(chunk)
            chunk, room = [], length
        chunk.append(piece)
        room -= size
    yield "".join(chunk)


def _has_more_than_punctuation(text: str) -> bool:
    return bool(text.strip(string.punctuation + string.whitespace))
