"""RedCodec: audio to codes and codes to audio."""

from fireredtts2.codec.codec import RedCodec
from fireredtts2.codec.state import DecoderState

__all__ = ["DecoderState", "RedCodec"]
