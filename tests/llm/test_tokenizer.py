"""Special tokens in their order, and the ids of the real Qwen2.5 tokenizer."""

from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models

from fireredtts2.llm.tokenizer import SPECIAL_TOKENS, TextTokenizer
from tests.llm.golden import DATA, load_json
from tests.reference import REFERENCE, needs_reference


def small_tokenizer(added: tuple[str, ...] = ()) -> TextTokenizer:
    base = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate("abc ")}, merges=[]))
    base.add_special_tokens([AddedToken(token, special=True) for token in added])
    return TextTokenizer(base)


def test_special_tokens_in_published_order() -> None:
    assert list(SPECIAL_TOKENS) == load_json(DATA / "special_tokens.json")


@needs_reference
def test_ids_equal_published() -> None:
    tokenizer = TextTokenizer.from_folder(REFERENCE / "tokenizer")
    cases = load_json(DATA / "qwen_ids.json")
    assert [tokenizer.encode(case["text"]) for case in cases] == [case["ids"] for case in cases]
    assert tokenizer.encode_segment_text("[S1]", "Hello there, how are you?") == cases[0]["ids"]
    emotional = tokenizer.encode_segment_text("[S40]<|emotion_happy|>", "a")
    assert emotional[:3] == [151706, 151728, 151665]


def test_new_tokens_follow_the_base_tokenizers_own() -> None:
    tokenizer = small_tokenizer()
    assert tokenizer.vocab_size == 4 + len(SPECIAL_TOKENS)
    assert tokenizer.encode_segment_text("[S2]", "ab") == [7, 4, 0, 1, 5]


def test_tokens_that_are_there_keep_their_ids() -> None:
    tokenizer = small_tokenizer(SPECIAL_TOKENS)
    assert tokenizer.vocab_size == 4 + len(SPECIAL_TOKENS)
    assert tokenizer.encode("[S1]") == [6]


def test_a_saved_tokenizer_reads_back(tmp_path: Path) -> None:
    base = Tokenizer(models.BPE(vocab={"a": 0, "b": 1}, merges=[]))
    base.save(str(tmp_path / "tokenizer.json"))
    assert TextTokenizer.from_folder(tmp_path).encode("ba<|laugh|>")[:2] == [1, 0]


@pytest.mark.parametrize("tag", ["[S41]", "", "S1", "[S1] ", "a[S1]"])
def test_tags_must_be_special_tokens(tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        small_tokenizer().encode_segment_text(tag, "a")


@pytest.mark.parametrize("text", ["a<|text_end|>b", "<|text_start|>"])
def test_text_marks_cannot_be_smuggled_in(text: str) -> None:
    with pytest.raises(ValueError, match="mark"):
        small_tokenizer().encode_segment_text("[S1]", text)


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        small_tokenizer().encode("a\ud800")


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        TextTokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="not a tokenizer file"):
        TextTokenizer.from_folder(tmp_path)
