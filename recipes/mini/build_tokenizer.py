"""Makes the tokenizer of the embedded model: one token for each unit of speech.

python -m recipes.mini.build_tokenizer fireredtts2/models/mini/tokenizer/tokenizer.json
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models

from fireredtts2.phonemes import UNITS


def build_tokenizer(path: str | Path, special_tokens: Sequence[str]) -> Tokenizer:
    """Writes `tokenizer.json`: the units in order, then the special tokens in order.

    A character that is no unit is dropped when text is encoded.
    """
    vocabulary = {unit: index for index, unit in enumerate(UNITS)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special_tokens])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path), pretty=True)
    return tokenizer


def main() -> None:
    from fireredtts2.llm.tokenizer import SPECIAL_TOKENS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    build_tokenizer(parser.parse_args().output, SPECIAL_TOKENS)


if __name__ == "__main__":
    main()
