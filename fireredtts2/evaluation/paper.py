"""What the FireRedTTS-2 paper reports, to stand beside our figures: other sets, other judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fireredtts2.evaluation.report import Figure

NOTE = (
    "The paper's figures are of the published model, on other sets, with another recogniser and "
    "another speaker encoder: they show the order of size, not who is better."
)
LIBRISPEECH = "LibriSpeech test-clean"
SEED_EN, SEED_ZH = "Seed-TTS-eval en", "Seed-TTS-eval zh"
PODCASTS_EN, PODCASTS_ZH = "podcasts en", "podcasts zh"

#: Kind of part -> measure -> what the paper says. In % and dB as ours are.
CODEC = {
    "wer": f"2.16 % ({LIBRISPEECH}; Mimi 2.26)",
    "wer_original": f"1.96 % ({LIBRISPEECH})",
    "similarity": f"0.87 ({LIBRISPEECH}; Mimi 0.87)",
    "stoi": f"0.94 ({LIBRISPEECH}; Mimi 0.94)",
    "pesq_wb": f"2.73 ({LIBRISPEECH}; Mimi 2.88)",
    "pesq_nb": f"3.28 ({LIBRISPEECH}; Mimi 3.42)",
}
DIALOGUE = {
    "wer": f"3.16 % ({PODCASTS_EN})",
    "similarity": f"0.703 ({PODCASTS_EN})",
    "mcd": f"9.06 dB ({PODCASTS_EN})",
}
SEED_TTS_EVAL: Mapping[str, Mapping[str, str]] = {
    "en": {"wer": f"1.95 % ({SEED_EN})", "similarity": f"0.665 ({SEED_EN})"},
    "zh": {"cer": f"1.14 % ({SEED_ZH})", "similarity": f"0.736 ({SEED_ZH})"},
}
SPEED = {"first_audio_later": "0.140 s (first packet, one L20 GPU)"}


def paper_figures(kind: str, language: str = "en") -> Mapping[str, str]:
    """Measure -> the paper's figure, for a kind of part; empty where it has none."""
    if kind == "seed-tts-eval":
        return SEED_TTS_EVAL.get(language, {})
    return {"codec": CODEC, "dialogue": DIALOGUE, "speed": SPEED}.get(kind, {})


def with_paper(figures: Iterable[Figure], kind: str, language: str = "en") -> list[Figure]:
    """The figures with the paper's beside them, where it has them."""
    known = paper_figures(kind, language)
    return [replace(f, paper=known.get(f.key.rpartition(".")[2], "")) for f in figures]
