"""What decides the result of a preparation, kept so that it goes on only as it was begun."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.tokenizer import TOKENIZER_FILE
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.recordings import DIGEST_KIND, Recording, digest

Plan = Mapping[str, Any]
#: What a person knows by other names, and whose values say nothing.
NAMES = {"recordings": "the recordings", "codec_id": "the codec", "text_id": "the tokenizer"}
#: What decides how recordings are read: with another one, all of them look changed.
READING = frozenset({"conversations", "language", "layout", "speaker"})
DIGEST_DIGITS = 16


def make_plan(
    options: PrepareOptions,
    folder: CheckpointFolder,
    layout: str,
    recordings: Sequence[Recording],
) -> Plan:
    """Options, recordings and model, as JSON has them.

    Args:
        options: of which only those count that decide the result.
        folder: the checkpoint.
        layout: of the source.
        recordings: in order.
    """
    text = (folder.tokenizer_path / TOKENIZER_FILE).read_bytes()
    text += json.dumps(vars(folder.text_config)).encode()
    root = options.source
    return {
        **options.deciding(),
        "layout": layout,
        "recordings": digest(recordings, root if root.is_dir() else root.parent),
        "codec_id": folder.codec_id,
        "text_id": hashlib.sha256(text).hexdigest()[:DIGEST_DIGITS],
    }


def check_same(out: Path, before: Plan, now: Plan) -> None:
    """Raises ValueError where a folder was begun with other options.

    Args:
        out: the folder, for the message.
        before: plan that it was begun with.
        now: plan that is wanted.
    """
    keys = {key for key in before.keys() | now.keys() if before.get(key) != now.get(key)}
    if keys & READING:
        keys.discard("recordings")
    changes = [_change(key, before.get(key), now.get(key)) for key in sorted(keys)]
    if changes:
        raise ValueError(
            f"{out}: begun otherwise: {'; '.join(changes)}. Go on as it was begun, or choose "
            "another folder"
        )


def _change(key: str, before: Any, now: Any) -> str:
    """One change, for people."""
    if key == "recordings" and before and not str(before).startswith(DIGEST_KIND):
        return "the recordings may have changed (an older version did not look into the files)"
    return f"{NAMES[key]} changed" if key in NAMES else f"{key} was {before!r}, is {now!r}"
