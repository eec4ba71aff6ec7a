"""Acoustic decoder: 50 Hz features to 24 kHz audio, whole or streamed (SPEC section 7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.codec.harmonic_source import Excitation, HarmonicSource
from fireredtts2.codec.istft import IstftHead
from fireredtts2.codec.noise_source import NoiseSource
from fireredtts2.codec.state import AttentionState, DecoderState, SourceState, TailState
from fireredtts2.codec.transformer import TransformerLayer
from fireredtts2.codec.voice_adapter import VoiceAdapter
from fireredtts2.config import STEPS_PER_FRAME, DecoderConfig

NORM_EPS = 1e-6
INPUT_KERNEL = 7
RESIDUAL_KERNEL = 3
UPSAMPLE_KERNEL = 3
NUM_GROUPS = 32


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, T)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class TemporalConv(nn.Conv1d):
    """Convolution over (B, C, T) that keeps the length: causal with a state, or symmetric."""

    def __init__(self, dim: int, kernel: int, causal: bool) -> None:
        super().__init__(dim, dim, kernel, padding=0 if causal else kernel // 2)
        self.causal = causal

    def forward(self, x: Tensor, state: TailState | None = None) -> Tensor:
        if state is not None:
            x = state.extend(x)
        elif self.causal:
            x = F.pad(x, (self.kernel_size[0] - 1, 0))
        return super().forward(x)


class CausalUpsample(nn.ConvTranspose1d):
    """Transposed convolution over (B, C, T), cut to exactly stride * T steps.

    Computed as one product and the sum of its three taps: for a few frames on a CPU half the time
    that torch takes for the convolution.
    """

    def __init__(self, dim: int, stride: int) -> None:
        if stride not in (1, 2):
            raise ValueError(f"stride {stride}: must be 1 or 2")
        super().__init__(dim, dim, UPSAMPLE_KERNEL, stride=stride)

    @property
    def tail_steps(self) -> int:
        """Earlier inputs that still reach into the next output."""
        return -(-(UPSAMPLE_KERNEL - self.stride[0]) // self.stride[0])

    def forward(self, x: Tensor, state: TailState | None = None) -> Tensor:  # type: ignore[override]
        tail = self.tail_steps
        joined = F.pad(x, (tail, 0)) if state is None else state.extend(x)
        taps = joined.transpose(1, 2) @ self.weight.flatten(1)
        first, second, third = taps.unflatten(-1, self.weight.shape[1:]).unbind(-1)
        if self.stride[0] == 1:
            summed = first[:, 2:] + second[:, 1:-1] + third[:, :-2]
        else:  # a step's third tap falls together with the next one's first
            pairs = (first[:, 1:] + third[:, :-1], second[:, 1:])
            summed = torch.stack(pairs, 2).flatten(1, 2)
        return (summed + self.bias).transpose(1, 2)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(.))) twice; LayerNorm when causal, GroupNorm when not.

    The convolutions sit at the published places of two Sequentials, whose other members have no
    weights; `block1.1` and `block1.4` are norm and convolution of the causal form.
    """

    def __init__(self, dim: int, causal: bool) -> None:
        super().__init__()
        conv = TemporalConv(dim, RESIDUAL_KERNEL, causal)
        second = TemporalConv(dim, RESIDUAL_KERNEL, causal)
        places = ("1", "4", "1", "5") if causal else ("0", "2", "0", "3")
        self.block1 = nn.ModuleDict({places[0]: self._norm(dim, causal), places[1]: conv})
        self.block2 = nn.ModuleDict({places[2]: self._norm(dim, causal), places[3]: second})

    @staticmethod
    def _norm(dim: int, causal: bool) -> nn.Module:
        if causal:
            return ChannelLayerNorm(dim)
        return nn.GroupNorm(NUM_GROUPS, dim, eps=NORM_EPS)

    def forward(self, x: Tensor, states: list[TailState] | None = None) -> Tensor:
        y = x
        for block, state in zip((self.block1, self.block2), states or (None, None), strict=True):
            norm, conv = block.values()
            y = conv(F.silu(norm(y)), state)
        return x + y


class DecoderBackbone(nn.Module):
    """Convolution, residual blocks, transformer without positions, residual blocks, norm."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        dim, causal = config.embed_dim, config.causal
        self.causal = causal
        self.in_proj = TemporalConv(dim, INPUT_KERNEL, causal)
        self.prior_net = nn.ModuleList(ResidualBlock(dim, causal) for _ in range(2))
        self.transformers = nn.ModuleList(
            TransformerLayer(dim, config.num_heads) for _ in range(config.num_layers)
        )
        self.post_net = nn.ModuleList(ResidualBlock(dim, causal) for _ in range(2))
        self.final_norm = nn.LayerNorm(dim, eps=NORM_EPS)

    def forward(
        self,
        x: Tensor,
        state: DecoderState | None = None,
        adapter: VoiceAdapter | None = None,
    ) -> Tensor:
        """(B, T, D) to (B, T, D); T is a whole number of frames."""
        tails = state.convolutions if state is not None else [None] * 9
        num_before = 1 + len(self.prior_net)
        num_attended = num_before + len(self.transformers)
        x = adapted(self.in_proj(x.transpose(1, 2), tails[0]), adapter, 0)
        for i, block in enumerate(self.prior_net):
            x = adapted(block(x, tails[1 + 2 * i : 3 + 2 * i]), adapter, 1 + i)
        x = self._attend(x, state, adapter, num_before)
        for i, block in enumerate(self.post_net):
            x = adapted(block(x, tails[5 + 2 * i : 7 + 2 * i]), adapter, num_attended + i)
        x = self.final_norm(x.transpose(1, 2)).transpose(1, 2)
        return adapted(x, adapter, num_attended + len(self.post_net)).transpose(1, 2)

    def _attend(
        self, x: Tensor, state: DecoderState | None, adapter: VoiceAdapter | None, first: int
    ) -> Tensor:
        """(B, D, T) to the same shape; `first` is the first layer's number among the blocks."""
        num_steps = x.shape[2]
        start = (
            state.steps if state is not None else torch.zeros(1, dtype=torch.long, device=x.device)
        )
        positions = start[:, None] + torch.arange(num_steps, device=x.device)
        live = num_steps + (state.live if state is not None else 0)
        mask = block_causal_mask(positions, live) if self.causal else None
        for i, layer in enumerate(self.transformers):
            own = state.attention[i] if state is not None else None
            x = layer(x.transpose(1, 2), mask, own, positions).transpose(1, 2)
            x = adapted(x, adapter, first + i)
        return x


def adapted(x: Tensor, adapter: VoiceAdapter | None, block: int) -> Tensor:
    """What block number `block` makes, (B, D, T), as the rows' adapters change it."""
    return x if adapter is None else adapter.after(block, x)


def block_causal_mask(positions: Tensor, num_keys: int) -> Tensor:
    """(B, 1, T, num_keys): a step sees its own frame's steps and all earlier ones."""
    frame_end = (positions // STEPS_PER_FRAME + 1) * STEPS_PER_FRAME
    keys = torch.arange(num_keys, device=positions.device)
    return (keys < frame_end[..., None])[:, None]


class AcousticDecoder(nn.Module):
    """(B, T at 50 Hz, D) to audio (B, 480 * T) at 24 kHz."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.embed_dim
        self.upsample_conv = nn.ModuleDict(
            {"0": CausalUpsample(dim, 2), "2": CausalUpsample(dim, 1)}
        )
        self.backbone = DecoderBackbone(config)
        self.isift = IstftHead(dim, config.hop_length)  # spelt so in the published keys
        window = self.isift.istft.window
        self.source = (
            HarmonicSource(dim, config.hop_length, window) if config.harmonic_source else None
        )
        self.noise = NoiseSource(dim) if config.noise_source else None

    def initial_state(self, batch: int, max_steps: int) -> DecoderState:
        """Zeros for `batch` rows of at most `max_steps` steps (100 Hz)."""
        if not self.config.causal:
            raise ValueError("this codec's decoder is not causal (causal: false): it cannot stream")
        weight = self.isift.out.weight
        dim, heads = self.config.embed_dim, self.config.num_heads

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch, *shape, device=weight.device, dtype=weight.dtype)

        cache = (heads, max_steps, dim // heads)
        convs = [INPUT_KERNEL - 1] + [RESIDUAL_KERNEL - 1] * 8
        return DecoderState(
            steps=torch.zeros(batch, dtype=torch.long, device=weight.device),
            prompt_steps=torch.zeros(batch, dtype=torch.long, device=weight.device),
            upsample=[TailState(zeros(dim, up.tail_steps)) for up in self._upsamples()],
            convolutions=[TailState(zeros(dim, steps)) for steps in convs],
            attention=[
                AttentionState(zeros(*cache), zeros(*cache)) for _ in self.backbone.transformers
            ],
            overlap=self.isift.istft.initial_state(batch),
            source=None if self.source is None else self.source.initial_state(batch),
            gains=zeros(self.isift.istft.num_bins) + 1 if self.config.equalizer else None,
        )

    def _upsamples(self) -> Iterable[CausalUpsample]:
        return cast("Iterable[CausalUpsample]", self.upsample_conv.values())

    def noise_from(
        self, start: Tensor, num_steps: int, temperature: float | None = None
    ) -> Tensor | None:
        """What a noise source gives rows that stand at steps `start` (B,); None without one.

        The temperature is the config's where not given.
        """
        if self.noise is None:
            return None
        if temperature is None:
            temperature = self.config.noise_temperature
        return self.noise.drawn(start, num_steps, temperature)

    def hidden(
        self,
        x: Tensor,
        state: DecoderState | None = None,
        noise: Tensor | None = None,
        adapter: VoiceAdapter | None = None,
    ) -> Tensor:
        """(B, T at 50 Hz, D) to hidden states (B, 2 * T, D) at 100 Hz.

        `noise` is of these 2 * T steps, from `noise_from`; a decoder with a noise source needs it.
        `adapter` is of the rows.
        """
        x = x.transpose(1, 2)
        tails = state.upsample if state is not None else (None, None)
        for up, tail in zip(self._upsamples(), tails, strict=True):
            x = F.gelu(up(x, tail))
        x = x.transpose(1, 2)
        if self.noise is not None:
            x = x + self.noise.into_backbone(noise)
        return self.backbone(x, state, adapter)

    def hear(self, x: Tensor, state: DecoderState) -> None:
        """Takes in whole frames before all others, of which no sound is made: a prompt's."""
        num_steps = 2 * x.shape[1]
        noise = self.noise_from(state.steps, num_steps)
        self.hidden(x, state, noise, state.adapter)
        state.advance(num_steps)
        state.prompt_steps += num_steps

    def stream(self, x: Tensor, state: DecoderState) -> Tensor:
        """Adds whole frames; returns the samples they complete, 480 * T, untrimmed."""
        num_steps = 2 * x.shape[1]
        noise = self.noise_from(state.steps, num_steps)
        hidden = self.hidden(x, state, noise, state.adapter)
        spectrum = self._spectrum(hidden, state.source, noise=noise, adapter=state.adapter)
        spectrum = equalized(spectrum, state.gains)
        audio = self.isift.istft(spectrum, state.overlap, state.sound_steps)
        state.advance(num_steps)
        return audio

    def flush(self, state: DecoderState) -> Tensor:
        """The samples still open after the last frame, untrimmed."""
        return self.isift.istft.flush(state.overlap, state.sound_steps)

    def forward(
        self,
        x: Tensor,
        gains: Tensor | None = None,
        prompt_steps: int = 0,
        adapter: VoiceAdapter | None = None,
    ) -> Tensor:
        """The whole clip at once.

        Args:
            x: (B, T at 50 Hz, D).
            gains: (B, bins) of an equaliser's, None for none.
            prompt_steps: so many steps (100 Hz) come before the clip, and no sound is made of them.
            adapter: of the rows; None for none.
        """
        start = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
        noise = self.noise_from(start, 2 * x.shape[1])
        hidden = self.hidden(x, None, noise, adapter)[:, prompt_steps:]
        noise = None if noise is None else noise[:, prompt_steps:]
        return self.audio(hidden, noise=noise, gains=gains, adapter=adapter)

    def audio(
        self,
        hidden: Tensor,
        excitation: Excitation | None = None,
        noise: Tensor | None = None,
        gains: Tensor | None = None,
        adapter: VoiceAdapter | None = None,
    ) -> Tensor:
        """A whole clip's hidden states (B, T, D) at 100 Hz to its audio (B, 240 * T).

        `excitation` is for a harmonic source, as in `HarmonicSource.forward`; `noise` and `adapter`
        are what `hidden` was given, and `gains` as in `forward`.
        """
        istft = self.isift.istft
        steps = torch.zeros(hidden.shape[0], dtype=torch.long, device=hidden.device)
        state = istft.initial_state(hidden.shape[0])
        spectrum = self._spectrum(hidden, None, excitation, noise, adapter)
        spectrum = equalized(spectrum, gains)
        body = istft(spectrum, state, steps)
        audio = torch.cat([body, istft.flush(state, steps + hidden.shape[1])], dim=1)
        return audio[:, istft.trim_samples : -istft.trim_samples]

    def _spectrum(
        self,
        hidden: Tensor,
        state: SourceState | None,
        excitation: Excitation | None = None,
        noise: Tensor | None = None,
        adapter: VoiceAdapter | None = None,
    ) -> Tensor:
        heard = hidden if self.noise is None else hidden + self.noise.into_head(noise)
        spectrum = self.isift.spectrum(heard, None if adapter is None else adapter.head(heard))
        if self.source is not None:
            spectrum = self.source(hidden, spectrum, state, excitation)
        return spectrum


def equalized(spectrum: Tensor, gains: Tensor | None) -> Tensor:
    """Spectra (B, T, bins) times each row's gains (B, bins), where there are any."""
    return spectrum if gains is None else spectrum * gains[:, None]
