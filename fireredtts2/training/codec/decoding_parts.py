"""Which parts of a codec turn codes into sound: they can be trained while the codes stay."""

from __future__ import annotations

from fireredtts2.codec import RedCodec

DECODING_PARTS = ("rvq.output_proj", "upsample", "acoustic_decoder")


def freeze(codec: RedCodec) -> RedCodec:
    """Leaves open what decodes: no code changes by it."""
    codec.requires_grad_(False)
    for part in DECODING_PARTS:
        codec.get_submodule(part).requires_grad_(True)
    return codec
