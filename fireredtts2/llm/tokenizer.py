"""Text to token ids: a base tokenizer and the special tokens of SPEC section 3."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
TEXT_START = "<|text_start|>"
TEXT_END = "<|text_end|>"
_EMOTIONS = (
    "neutral",
    "happy",
    "sad",
    "concern",
    "confuse",
    "angry",
    "surprise",
    "disgust",
    "nervous",
    "apology",
    "understand",
    "fear",
    "comfort",
    "shy",
    "serious",
    *(f"extra{n}" for n in range(1, 11)),
)
_SOUNDS = (
    "breath",
    "humph",
    "laugh_heng",
    "hissing",
    "sniff",
    "laugh_he",
    "sigh",
    "laugh",
    "laugh_ha",
    "quick_breath",
    "laugh_hei",
    "laugh_speak",
    "/laugh_speak",
    "cry",
    "choking",
    "cry_speak",
    "/cry_speak",
    "slurp",
    "clucking",
    "yawning",
    "cough",
    "smack",
    "hem",
    "stretch",
    "sneeze",
    *(f"paralinguistic_extra{n}" for n in range(1, 14) if n != 9),  # the published list has no 9
)
#: In the order in which they are added; ids follow from the order.
SPECIAL_TOKENS: tuple[str, ...] = (
    TEXT_START,
    TEXT_END,
    *(f"[S{n}]" for n in range(1, 41)),
    *(f"[S_PODCAST_{n}]" for n in range(1, 11)),
    *(f"[S_DIALOG_{n}]" for n in range(1, 11)),
    *(f"<|emotion_{name}|>" for name in _EMOTIONS),
    *(f"<|{name}|>" for name in _SOUNDS),
)


class TextTokenizer:
    """Turns text into ids of the model's text vocabulary.

    Example:
        >>> tokenizer = TextTokenizer.from_folder("pretrained/Qwen2.5-1.5B")  # doctest: +SKIP
        >>> tokenizer.encode_segment_text("[S1]", "Hello")  # doctest: +SKIP
        [151667, 151665, 9707, 151666]
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Adds those special tokens that the base tokenizer has not, in order."""
        self._tokenizer = tokenizer
        tokens = [AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS]
        tokenizer.add_special_tokens(tokens)
        self._special_ids = {tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}

    @classmethod
    def from_folder(cls, path: str | Path) -> TextTokenizer:
        """Reads `tokenizer.json` of a folder.

        Raises:
            ValueError: The file is missing or is no tokenizer.
        """
        file = Path(path) / TOKENIZER_FILE
        if not file.is_file():
            raise ValueError(f"{path}: no {TOKENIZER_FILE} in it; the text tokenizer is needed")
        try:
            return cls(Tokenizer.from_file(str(file)))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{file}: not a tokenizer file ({error})") from error

    @property
    def vocab_size(self) -> int:
        """Ids go from 0 to one less than this."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> list[int]:
        """Ids of any text; special tokens written in it become their ids."""
        try:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        except (UnicodeEncodeError, TypeError) as error:
            raise ValueError(f"text that cannot be encoded as UTF-8: {text[:80]!r}") from error

    def encode_segment_text(self, tag: str, text: str) -> list[int]:
        """Ids of `TAG<|text_start|>TEXT<|text_end|>`, the text of one turn.

        Args:
            tag: Who speaks, such as `[S1]`; an emotion token may follow.
            text: What is said; sound tokens such as `<|laugh|>` may stand in it.

        Raises:
            ValueError: The tag is not made of special tokens, or the text holds a text mark.
        """
        tag_ids = self.encode(tag)
        if not tag_ids or not self._special_ids.issuperset(tag_ids):
            raise ValueError(f"tag {tag!r}: expected a speaker tag, [S1] to [S40]")
        if TEXT_START in text or TEXT_END in text:
            raise ValueError(f"text holds {TEXT_START} or {TEXT_END}, which only mark its ends")
        return self.encode(f"{tag}{TEXT_START}{text}{TEXT_END}")
