"""RedCodec: speech to 12.5 frames of codes a second and back, whole or streamed (SPEC 7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.audio import resample
from fireredtts2.codec.decoder import AcousticDecoder
from fireredtts2.codec.encoder import SslAdaptor, WhisperEncoder
from fireredtts2.codec.equalizer import average_spectrum, gains_between
from fireredtts2.codec.mel import LogMel
from fireredtts2.codec.precision import exact_convolutions
from fireredtts2.codec.resampling import ResidualDownConv, UpConv
from fireredtts2.codec.rvq import ResidualVQ
from fireredtts2.codec.state import DecoderState
from fireredtts2.codec.timbre import Timbre
from fireredtts2.codec.voice_adapter import VoiceAdapter
from fireredtts2.config import (
    ENCODE_CHUNK_S,
    INPUT_RATE_HZ,
    INPUT_SAMPLES_PER_FRAME,
    OUTPUT_RATE_HZ,
    STEPS_PER_FRAME,
    CodecConfig,
)

CHUNK_SAMPLES = ENCODE_CHUNK_S * INPUT_RATE_HZ
SAMPLES_PER_SEMANTIC_STEP = INPUT_RATE_HZ // 50
CHUNKS_AT_ONCE = 8  # bounds the memory of a long clip's encoding


class RedCodec(nn.Module):
    """The codec. Encodes 16 kHz audio, decodes to 24 kHz.

    Example:
        >>> codec = RedCodec(CodecConfig.from_file("config_codec.json"))
        >>> codes, lengths = codec.encode(torch.zeros(1, 16_000))   # (1, Q, 13), (1,)
        >>> audio = codec.decode(codes)                             # (1, 13 * 1920)
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(config.ssl.num_mels)
        if config.acoustic_encoder.num_mels != config.ssl.num_mels:
            raise ValueError(
                "both encoders read one spectrogram: ssl.num_mels is "
                f"{config.ssl.num_mels}, acoustic_encoder.num_mels "
                f"{config.acoustic_encoder.num_mels}"
            )
        self.ssl = WhisperEncoder(config.ssl)
        self.ssl_adaptor = SslAdaptor(config.ssl_adaptor)
        self.acoustic_encoder = WhisperEncoder(config.acoustic_encoder)
        self.downsample = ResidualDownConv(config.downsample)
        self.rvq = ResidualVQ(config.rvq)
        self.upsample = UpConv(config.upsample)
        self.semantic_decoder = SslAdaptor(config.semantic_decoder)
        self.acoustic_decoder = AcousticDecoder(config.acoustic_decoder)

    @property
    def num_codebooks(self) -> int:
        return self.config.rvq.num_quantizers

    # --- Encoding -----------------------------------------------------------------------------

    @exact_convolutions
    @torch.inference_mode()
    def encode(self, audio: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encodes audio, every 6 s chunk by itself.

        Args:
            audio: (B, samples) float32 at 16 kHz.
            lengths: (B,) samples of each row; whole rows by default. What lies beyond is ignored.

        Returns:
            Codes (B, Q, T) int64 and how many frames of each row mean something, (B,) int64.

        Raises:
            ValueError: the shape is not (B, samples), or a length is out of range.
        """
        lengths = self._check_lengths(audio, lengths)
        live = torch.arange(audio.shape[1], device=audio.device) < lengths[:, None]
        parts = chunked(torch.where(live, audio, 0.0))
        codes = torch.cat([self._encode_chunks(part) for part in parts])
        codes = codes.unflatten(0, (len(audio), -1)).transpose(1, 2).flatten(2)
        num_frames = -(-lengths // INPUT_SAMPLES_PER_FRAME)
        return codes[:, :, : -(-audio.shape[1] // INPUT_SAMPLES_PER_FRAME)], num_frames

    @staticmethod
    def _check_lengths(audio: Tensor, lengths: Tensor | None) -> Tensor:
        if audio.ndim != 2 or audio.shape[1] == 0:
            raise ValueError(
                f"audio must be (B, samples) with samples > 0, not {tuple(audio.shape)}"
            )
        if lengths is None:
            return torch.full((audio.shape[0],), audio.shape[1], device=audio.device)
        if lengths.shape != audio.shape[:1] or lengths.min() < 1 or lengths.max() > audio.shape[1]:
            raise ValueError(
                f"lengths {lengths.tolist()} do not fit audio of shape {tuple(audio.shape)}"
            )
        return lengths.to(audio.device)

    def _encode_chunks(self, chunks: Tensor) -> Tensor:
        mel = self.mel(chunks)
        return self.rvq.encode(self.encoded(mel, self.ssl(mel)).transpose(1, 2))

    def encoded(self, mel: Tensor, semantic: Tensor) -> Tensor:
        """The quantizer's input (B, T, D) at 12.5 Hz.

        Args:
            mel: (B, num_mels, 8 * T) log-mel at 100 Hz.
            semantic: (B, 4 * T, D) features of the frozen Whisper branch at 50 Hz.
        """
        branches = [self.ssl_adaptor(semantic), self.acoustic_encoder(mel)]
        return self.downsample(torch.cat(branches, dim=-1))

    @exact_convolutions
    @torch.inference_mode()
    def semantic(self, audio: Tensor) -> Tensor:
        """What the frozen Whisper branch hears: audio (samples,) at 16 kHz to (T at 50 Hz, D)."""
        parts = chunked(audio[None].to(next(self.parameters()).device))
        heard = torch.cat([self.ssl(self.mel(part)) for part in parts])
        return heard.flatten(0, 1)[: len(audio) // SAMPLES_PER_SEMANTIC_STEP]

    # --- Decoding -----------------------------------------------------------------------------

    @exact_convolutions
    @torch.inference_mode()
    def decode(
        self,
        codes: Tensor,
        gains: Tensor | None = None,
        prompt: Tensor | None = None,
        adapter: VoiceAdapter | None = None,
    ) -> Tensor:
        """Decodes whole clips: codes (B, q <= Q, T) to audio (B, 1920 * T) at 24 kHz.

        Args:
            codes: of the clips.
            gains: (B, bins), each voice's, from `equalization`; None for none.
            prompt: (B, q, P) codes of each speaker that are heard before; None for none.
            adapter: of all B rows to their voices; None for none.
        """
        self._check_codes(codes)
        if prompt is None:
            return self.acoustic_decoder(self._upsampled(codes), gains, adapter=adapter)
        self._check_codes(prompt)
        joined = self._upsampled(torch.cat([prompt, codes], dim=2))
        return self.acoustic_decoder(joined, gains, prompt.shape[2] * STEPS_PER_FRAME, adapter)

    @torch.inference_mode()
    def spectrum(self, audio: Tensor) -> Tensor | None:
        """What `equalization` shall know of a voice's clip: its average spectrum, (num_mels,).

        None where the codec has no equaliser, as the published one.

        Args:
            audio: (samples,) at 16 kHz.
        """
        if not self.config.acoustic_decoder.equalizer:
            return None
        return average_spectrum(self.mel(audio[None])[0])

    @torch.inference_mode()
    def equalization(
        self, spectrum: Tensor, codes: Tensor, adapter: VoiceAdapter | None = None
    ) -> Tensor | None:
        """What a voice is decoded with, (bins,); None where the codec has no equaliser.

        Args:
            spectrum: (num_mels,) of its clip, from `spectrum`.
            codes: (q, T) of the clip.
            adapter: of the decoder to the voice.

        Raises:
            ValueError: a spectrum of another codec.
        """
        strength = self.config.acoustic_decoder.equalizer
        if not strength:
            return None
        if spectrum.shape != (self.config.ssl.num_mels,):
            raise ValueError(
                f"a voice's spectrum has {tuple(spectrum.shape)} bands, this codec "
                f"({self.config.ssl.num_mels},): make the voice again from its clip"
            )
        own = None if adapter is None else adapter.rows(1, codes.device)
        decoded = self.decode(codes[None], adapter=own)[0].cpu()
        heard = resample(decoded, OUTPUT_RATE_HZ, INPUT_RATE_HZ)
        made = average_spectrum(self.mel(heard[None].to(codes.device))[0])
        num_bins = self.acoustic_decoder.isift.istft.num_bins
        return gains_between(made, spectrum.to(made.device), strength, num_bins)

    @torch.inference_mode()
    def timbre(
        self, codes: Tensor, spectrum: Tensor | None, adapter: VoiceAdapter | None = None
    ) -> Timbre | None:
        """What a voice is decoded with; None where this codec wants to know nothing of it.

        Args:
            codes: (q, T) of its clip, as many codebooks as will be decoded.
            spectrum: (num_mels,) of its clip, from `spectrum`; None where it is not known.
            adapter: of the decoder to the voice; None where it has none.

        Raises:
            ValueError: as for `equalization`.
        """
        gains = None if spectrum is None else self.equalization(spectrum, codes, adapter)
        num_heard = self.config.acoustic_decoder.prompt_frames
        # NOTE: the clip's end, since what is heard next goes on from there.
        prompt = None if num_heard is None else codes[:, -num_heard:]
        known = (gains, prompt, adapter)
        return Timbre(*known) if any(part is not None for part in known) else None

    def initial_state(self, batch: int, max_frames: int) -> DecoderState:
        """A fresh streaming state for `batch` rows of at most `max_frames` frames.

        Its `gains` may be filled with what `equalization` gives.
        """
        return self.acoustic_decoder.initial_state(batch, max_frames * STEPS_PER_FRAME)

    @exact_convolutions
    @torch.inference_mode()
    def hear(self, prompt: Tensor, state: DecoderState) -> None:
        """Lets fresh rows hear a prompt (B, q, P), of which no sound is made; see `Timbre`."""
        self._check_codes(prompt)
        self._check_room(prompt, state)
        self.acoustic_decoder.hear(self._upsampled(prompt), state)

    @exact_convolutions
    @torch.inference_mode()
    def decode_steps(self, codes: Tensor, state: DecoderState) -> Tensor:
        """Adds frames to rows wherever each of them stands.

        The result runs 360 samples late: a row's first 360 samples are no sound, and its last 360
        come with `acoustic_decoder.flush`.

        Args:
            codes: (B, q, t).
            state: rows' state, advanced in place.

        Returns:
            (B, 1920 * t) samples.
        """
        self._check_codes(codes)
        self._check_room(codes, state)
        return self.acoustic_decoder.stream(self._upsampled(codes), state)

    @torch.inference_mode()
    def decode_chunk(self, codes: Tensor, state: DecoderState, last: bool = False) -> Tensor:
        """Streams rows that started together; the chunks joined are exactly `decode`'s result.

        Args:
            codes: (B, q, t), the next t >= 1 frames.
            state: from `initial_state`; every row at the same step.
            last: whether the clip ends here.

        Returns:
            (B, n): n = 1920 * t, less 360 in the first chunk, and 360 more in the last.
        """
        trim = self.acoustic_decoder.isift.istft.trim_samples
        first = bool((state.sound_steps == 0).all())
        audio = self.decode_steps(codes, state)
        if last:
            audio = torch.cat([audio, self.acoustic_decoder.flush(state)[:, :trim]], dim=1)
        return audio[:, trim:] if first else audio

    def _upsampled(self, codes: Tensor) -> Tensor:
        return self.upsample(self.rvq.decode(codes).transpose(1, 2))

    @staticmethod
    def _check_room(codes: Tensor, state: DecoderState) -> None:
        if state.live + codes.shape[2] * STEPS_PER_FRAME > state.capacity:
            raise ValueError(
                f"the streaming state holds {state.capacity // STEPS_PER_FRAME} frames; "
                f"{state.live // STEPS_PER_FRAME} are used and {codes.shape[2]} more were given"
            )

    def _check_codes(self, codes: Tensor) -> None:
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.num_codebooks or not codes.shape[2]:
            raise ValueError(
                f"codes must be (B, 1 to {self.num_codebooks}, T > 0), not {tuple(codes.shape)}"
            )
        size = self.config.rvq.codebook_size
        if codes.min() < 0 or codes.max() >= size:
            raise ValueError(
                f"codes must lie in 0 to {size - 1}; "
                f"these span {int(codes.min())} to {int(codes.max())}"
            )


def chunked(audio: Tensor) -> Sequence[Tensor]:
    """The chunks of 6 s of audio (B, samples), silence after it, at most `CHUNKS_AT_ONCE` a part.

    Each part is (n, CHUNK_SAMPLES); the chunks of a row follow one another.
    """
    padded = F.pad(audio, (0, -audio.shape[1] % CHUNK_SAMPLES))
    return padded.reshape(-1, CHUNK_SAMPLES).split(CHUNKS_AT_ONCE)
