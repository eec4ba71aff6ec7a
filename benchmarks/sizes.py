"""Sizes of models that are made of random numbers."""

from __future__ import annotations

from fireredtts2.checkpoint import MINI, CheckpointFolder
from fireredtts2.config import (
    FLAVORS,
    AdaptorConfig,
    CodecConfig,
    DecoderConfig,
    DownsampleConfig,
    EncoderConfig,
    LLMConfig,
    RvqConfig,
    UpsampleConfig,
)

OFFICIAL = "official"
#: SPEC section 2.
OFFICIAL_FLAVORS = "qwen-1.5b/qwen-200m"

#: NOTE: the published codec's sizes are in a file that comes with its weights, which is not here.
#: The semantic encoder is Whisper large-v3's, as published; the rest is assumed, of Whisper small's
#: order. A time of the codec at "official" size is therefore an estimate.
ASSUMED_CODEC = CodecConfig(
    ssl_adaptor=AdaptorConfig(1280, 768, 768, num_layers=4, num_heads=12),
    acoustic_encoder=EncoderConfig(768, num_layers=12, num_heads=12),
    downsample=DownsampleConfig(1536),
    rvq=RvqConfig(input_dim=1536, rvq_dim=512, output_dim=768),
    upsample=UpsampleConfig(768),
    semantic_decoder=AdaptorConfig(768, 768, 1280, num_layers=4, num_heads=12),
    acoustic_decoder=DecoderConfig(768, num_layers=12, num_heads=12),
)


def parse_sizes(sizes: str) -> tuple[LLMConfig, CodecConfig]:
    """Configs of "official", "mini" or "BACKBONE/DECODER".

    Raises:
        ValueError: none of these; says what is known.
    """
    if sizes == MINI:
        folder = CheckpointFolder(MINI)
        return folder.llm_config, folder.codec_config
    backbone, _, decoder = (OFFICIAL_FLAVORS if sizes == OFFICIAL else sizes).partition("/")
    if backbone not in FLAVORS or decoder not in FLAVORS:
        raise ValueError(
            f"--init-random {sizes!r}: give {OFFICIAL!r}, {MINI!r} or two flavors "
            f"BACKBONE/DECODER of {', '.join(FLAVORS)}"
        )
    llm = LLMConfig(
        backbone_flavor=backbone,
        decoder_flavor=decoder,
        text_vocab_size=151_936,
        audio_vocab_size=2_051,
        audio_num_codebooks=16,
        decoder_loss_weight=0.6,
    )
    return llm, ASSUMED_CODEC
