"""Step 0, more voices: a teacher speaks the corpus's unspoken sentences, as speakers it has not.

    python -m recipes.mini.speak_voices CORPUS_DIR TEACHER [PART/PARTS]

What a codec knows of voices is what it has heard, and the corpus's own are all blends of the
teacher's English ones. These speakers have a part of a voice of another language
(they speak English), and some lie beyond one voice, away from another. TEACHER is as in
`speak_lines`, and knows styles of several voices with weights; the sentences are those of
`sentences.jsonl.xz` that the shards do not say. Several processes share the work. A shard is
written whole or not at all; a second run goes on after the last one.
"""

from __future__ import annotations

import json
import lzma
import random
import sys
from pathlib import Path

from fireredtts2.training.corpus import Row
from recipes.mini.speak_lines import SPEAKER_PREFIX, clip_id, corpus_rows, speak_part

ENGLISH = (
    *("af_alloy", "af_aoede", "af_bella", "af_heart", "af_jessica", "af_kore", "af_nova"),
    *("af_river", "af_sarah", "af_sky", "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam"),
    *("am_michael", "am_onyx", "am_puck", "bf_alice", "bf_emma", "bf_isabella", "bf_lily"),
    *("bm_daniel", "bm_fable", "bm_george", "bm_lewis"),
)
#: None of those that the evaluation of unseen voices and the tutorial clone.
OTHERS = (
    *("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo", "zf_xiaobei"),
    *("zf_xiaoni", "zf_xiaoxiao", "zf_xiaoyi", "zm_yunjian", "zm_yunxi", "zm_yunxia"),
    "zm_yunyang",
)
SENTENCES = "sentences.jsonl.xz"
NUM_SPEAKERS = 200
CLIPS_PER_SPEAKER = 3
SHARE_BEYOND = 0.3  # of speakers who lie beyond a voice
KINDS = ("sentence", "pair", "talk", "talk2")
FIRST_SHARD = 200  # above those of `speak_lines`
CLIPS_PER_SHARD = 100


def style_of(rng: random.Random) -> str:
    """A speaker, as weights of two voices of one sex."""
    other = rng.choice(OTHERS)
    mate = rng.choice([voice for voice in ENGLISH + OTHERS if voice[1] == other[1]])
    if rng.random() < SHARE_BEYOND:
        beyond = rng.uniform(0.15, 0.35)
        return f"{other}:{1 + beyond:.2f}+{mate}:{-beyond:.2f}"
    weight = rng.uniform(0.3, 1.0)
    return f"{other}:{weight:.2f}+{mate}:{1 - weight:.2f}"


def planned_rows(sentences: list[Row]) -> list[Row]:
    """What each clip says, and in whose voice; the same sentences give the same plan.

    Raises:
        ValueError: too few sentences.
    """
    needed = NUM_SPEAKERS * CLIPS_PER_SPEAKER
    if len(sentences) < needed:
        raise ValueError(
            f"{len(sentences)} sentences of {SENTENCES} are not said by any shard; {NUM_SPEAKERS} "
            f"speakers need {needed}"
        )
    rng = random.Random(0)
    styles = [style_of(rng) for _ in range(NUM_SPEAKERS)]
    chosen = rng.sample(sentences, needed)
    rows = []
    for place, sentence in enumerate(chosen):
        speaker = place % NUM_SPEAKERS
        rows.append(
            {
                "id": clip_id(place, FIRST_SHARD, CLIPS_PER_SHARD),
                "kind": sentence["kind"],
                "text": sentence["text"],
                "speaker": f"{SPEAKER_PREFIX}{speaker:03d}",
                "style": styles[speaker],
                "speed": round(rng.uniform(0.9, 1.1), 3),
            }
        )
    return rows


def unspoken(corpus: Path) -> list[Row]:
    """The sentences that no clip of the corpus says.

    Raises:
        ValueError: there are no shards, or no file of sentences beside them.
    """
    last = max(row["id"] for row in corpus_rows(corpus))
    path = corpus / SENTENCES
    if not path.exists():
        raise ValueError(f"{path}: no such file; it has the sentences that are to be spoken")
    lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    return [r for r in map(json.loads, lines) if r["id"] > last and r["kind"] in KINDS]


def main(corpus_dir: str, teacher: str, part: str = "0/1") -> None:
    corpus = Path(corpus_dir)
    rows = planned_rows(unspoken(corpus))
    speak_part(corpus, rows, teacher, part, FIRST_SHARD, CLIPS_PER_SHARD)


if __name__ == "__main__":
    main(*sys.argv[1:])
