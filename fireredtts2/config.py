"""Constants and frozen configurations: every number that shapes the system, named once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireredtts2.config_values import build_config, read_config

# --- Time and rates -------------------------------------------------------------------------
FRAME_RATE_HZ = 12.5
INPUT_RATE_HZ = 16_000
OUTPUT_RATE_HZ = 24_000
INPUT_SAMPLES_PER_FRAME = 1_280
OUTPUT_SAMPLES_PER_FRAME = 1_920

# --- Codec (SPEC section 7) -----------------------------------------------------------------
ENCODE_CHUNK_S = 6
MEL_FFT_SIZE = 400
MEL_HOP_SAMPLES = 160
STEPS_PER_FRAME = 8  # decoder steps (100 Hz) in one frame (12.5 Hz)

# --- Language model (SPEC sections 4 to 6) --------------------------------------------------
MAX_CONTEXT_ROWS = 3_100
DEFAULT_TEMPERATURE = 0.9
DEFAULT_TOPK = 30
DEPTH_TEMPERATURE = 0.75
DEPTH_TOPK = 10
DEFAULT_TURN_LIMIT_MS = 30_000
MONOLOGUE_MAX_FRAMES = 400
MONOLOGUE_MIN_FRAMES = 18  # a result of this length or shorter counts as failed
MONOLOGUE_UNSPOKEN_FRAMES = 2
MONOLOGUE_PROMPT_CUT_ROWS = 3  # the end row and two frames
MONOLOGUE_SPLIT_BYTES = 400


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Raises ValueError where heads do not divide the width."""
    if embed_dim % num_heads:
        raise ValueError(f"embed_dim {embed_dim} and num_heads {num_heads}: heads must divide it")


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of one Qwen2 decoder stack (SPEC section 5)."""

    num_layers: int
    num_heads: int
    num_kv_heads: int
    embed_dim: int
    intermediate_dim: int
    max_seq_len: int = 4_096
    norm_eps: float = 1e-6
    rope_base: float = 1e6

    def __post_init__(self) -> None:
        check_heads(self.embed_dim, self.num_heads)
        if self.num_heads % self.num_kv_heads or self.head_dim % 2:
            raise ValueError(
                f"{self.num_heads} heads, {self.num_kv_heads} key heads, {self.head_dim} numbers "
                "a head: key heads must divide heads, and rotary positions need an even number"
            )

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads


#: The five published flavors, and the two of the embedded model.
FLAVORS: dict[str, TransformerConfig] = {
    "qwen-200m": TransformerConfig(4, 12, 2, 1536, 8960),
    "qwen-500m": TransformerConfig(24, 14, 2, 896, 4864),
    "qwen-1.5b": TransformerConfig(28, 12, 2, 1536, 8960),
    "qwen-3b": TransformerConfig(36, 16, 2, 2048, 11008),
    "qwen-7b": TransformerConfig(28, 28, 4, 3584, 18944),
    "mini-backbone": TransformerConfig(6, 4, 2, 256, 768),
    "mini-decoder": TransformerConfig(2, 4, 2, 256, 512),
}


@dataclass(frozen=True)
class LLMConfig:
    """Contents of `config_llm.json` under "llm_models".

    `flavors` is ours: sizes of flavors that are not among `FLAVORS`, so that a checkpoint of any
    size describes itself. So are `trained_rows`, the longest sequence that training showed, and
    `sampling`, how this model is best sampled where the caller does not say (by the names of
    `fireredtts2.llm.sampling.SamplingParams`).
    """

    backbone_flavor: str
    decoder_flavor: str
    text_vocab_size: int
    audio_vocab_size: int
    audio_num_codebooks: int
    decoder_loss_weight: float
    flavors: Mapping[str, TransformerConfig] = dataclasses.field(default_factory=dict)
    trained_rows: int = MAX_CONTEXT_ROWS
    sampling: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def backbone(self) -> TransformerConfig:
        return self._flavor(self.backbone_flavor)

    @property
    def decoder(self) -> TransformerConfig:
        return self._flavor(self.decoder_flavor)

    def _flavor(self, name: str) -> TransformerConfig:
        known = {**FLAVORS, **self.flavors}
        if name not in known:
            raise ValueError(f"unknown flavor {name!r}; known flavors: {', '.join(sorted(known))}")
        return known[name]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LLMConfig:
        flavors = values.get("flavors", {})
        if isinstance(flavors, Mapping):
            flavors = {
                name: sizes
                if isinstance(sizes, TransformerConfig)
                else build_config(TransformerConfig, sizes, f"flavors.{name}")
                for name, sizes in flavors.items()
            }
        return build_config(cls, {**values, "flavors": flavors}, "llm_models")

    @classmethod
    def from_file(cls, path: str | Path) -> LLMConfig:
        """Reads `config_llm.json`."""
        return read_config(path, "llm_models", cls.from_dict)


@dataclass(frozen=True)
class EncoderConfig:
    """A Whisper-form encoder: the semantic branch ("ssl") or the acoustic one."""

    embed_dim: int
    num_layers: int
    num_heads: int
    num_mels: int = 128
    max_positions: int = 1_500

    def __post_init__(self) -> None:
        check_heads(self.embed_dim, self.num_heads)


@dataclass(frozen=True)
class AdaptorConfig:
    """An `SslAdaptor`: Linear, pre-norm transformer layers, LayerNorm, Linear."""

    in_dim: int
    embed_dim: int
    out_dim: int
    num_layers: int
    num_heads: int

    def __post_init__(self) -> None:
        check_heads(self.embed_dim, self.num_heads)


@dataclass(frozen=True)
class DownsampleConfig:
    embed_dim: int
    avg_pooler: int = 4


@dataclass(frozen=True)
class RvqConfig:
    input_dim: int
    rvq_dim: int
    output_dim: int
    num_quantizers: int = 16
    codebook_size: int = 2_048
    codebook_dim: int = 8


@dataclass(frozen=True)
class UpsampleConfig:
    embed_dim: int
    stride: int = 4


MAX_EQUALIZER = 2.0
MAX_PROMPT_FRAMES = 375  # 30 s


@dataclass(frozen=True)
class DecoderConfig:
    """`harmonic_source`, `noise_source`, `equalizer` and `prompt_frames` are ours.

    For small decoders: a pulse train for the voiced part, noise for what the codes leave open, the
    average spectrum of the speaker's clip, and that clip's codes, heard before each turn.
    `noise_temperature` is how much of that noise is heard, from 0, none, to 1, what training heard;
    `equalizer` how much of what a spectrum lacks is made up for: 0 is none, 1 is all of it;
    `prompt_frames` how many of the clip's frames, at most, are heard: None is none.
    """

    embed_dim: int
    num_layers: int
    num_heads: int
    hop_length: int = 240
    causal: bool = True
    harmonic_source: bool = False
    noise_source: bool = False
    noise_temperature: float = 1.0
    equalizer: float = 0.0
    prompt_frames: int | None = None

    def __post_init__(self) -> None:
        check_heads(self.embed_dim, self.num_heads)
        if not 0 <= self.noise_temperature <= 1:
            raise ValueError(f"noise_temperature {self.noise_temperature}: must be from 0 to 1")
        if not 0 <= self.equalizer <= MAX_EQUALIZER:
            raise ValueError(f"equalizer {self.equalizer}: must be from 0 to {MAX_EQUALIZER:g}")
        if self.prompt_frames is not None:
            self._check_prompt_frames(self.prompt_frames)

    def _check_prompt_frames(self, number: int) -> None:
        if not 1 <= number <= MAX_PROMPT_FRAMES:
            raise ValueError(f"prompt_frames {number}: must be from 1 to {MAX_PROMPT_FRAMES}")
        if not self.causal:
            raise ValueError(f"prompt_frames {number}: a decoder that is not causal hears none")


WHISPER_LARGE_V3 = EncoderConfig(embed_dim=1280, num_layers=32, num_heads=20)


@dataclass(frozen=True)
class CodecConfig:
    """Contents of `config_codec.json` under "codec".

    `ssl` is ours: the sizes of the frozen Whisper encoder, which the published file leaves out
    because they are always Whisper large-v3's.
    """

    ssl_adaptor: AdaptorConfig
    acoustic_encoder: EncoderConfig
    downsample: DownsampleConfig
    rvq: RvqConfig
    upsample: UpsampleConfig
    semantic_decoder: AdaptorConfig
    acoustic_decoder: DecoderConfig
    ssl: EncoderConfig = WHISPER_LARGE_V3

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CodecConfig:
        parts = {
            "ssl": EncoderConfig,
            "ssl_adaptor": AdaptorConfig,
            "acoustic_encoder": EncoderConfig,
            "downsample": DownsampleConfig,
            "rvq": RvqConfig,
            "upsample": UpsampleConfig,
            "semantic_decoder": AdaptorConfig,
            "acoustic_decoder": DecoderConfig,
        }
        built = {
            name: build_config(parts[name], part, f"codec.{name}") if name in parts else part
            for name, part in values.items()
        }
        return build_config(cls, built, "codec")

    @classmethod
    def from_file(cls, path: str | Path) -> CodecConfig:
        """Reads `config_codec.json`."""
        return read_config(path, "codec", cls.from_dict)


@dataclass(frozen=True)
class TextConfig:
    """Contents of `config_text.json` under "text": how text is prepared for the tokenizer.

    The file is ours and optional. Without it text goes in as typed, which is what the published
    model learnt.
    """

    normalize: bool = False
    phonemes: str | None = None  # a pronouncing dictionary's file name in the checkpoint folder
    piece_bytes: int | None = None  # a turn's longest piece; by the published rules if not given
    piece_pause_frames: int = 0  # of silence after a piece that ends a sentence, within a turn
    max_frames_per_unit: float | None = None  # speech slower than this has run away
    min_frames_per_unit: float | None = None  # speech faster than this has lost words
    proof_takes: int = 1  # the most takes of a piece that a listener judges; 1: it is not asked
    proof_clearness: float = 0.0  # a take this clear needs no other one: `Listener.clearness`

    def __post_init__(self) -> None:
        if self.piece_pause_frames < 0:
            raise ValueError(f"piece_pause_frames {self.piece_pause_frames}: 0 or more")
        if self.proof_takes < 1 or self.proof_clearness > 0:
            raise ValueError(
                f"proof_takes {self.proof_takes}, proof_clearness {self.proof_clearness}: at least "
                "1, and a log-probability of 0 or below"
            )

    @classmethod
    def from_file(cls, path: str | Path) -> TextConfig:
        """Reads `config_text.json`."""
        return read_config(path, "text", lambda values: build_config(cls, values, "text"))
