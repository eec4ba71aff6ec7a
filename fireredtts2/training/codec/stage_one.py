"""Stage one: encoder, quantizer and a decoder that is only for training (paper, section 2.1)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.config import CodecConfig
from fireredtts2.training.codec.batches import VALIDATION, ChunkBatch, ChunkBatches
from fireredtts2.training.codec.quantization import (
    Uses,
    learn_codebooks,
    start_codebooks,
    uses_of,
    with_dropout,
    with_noise,
)
from fireredtts2.training.codec.read_ahead import ReadAhead
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.training.codec.sounds import SoundReader, Sounds
from fireredtts2.training.codec.stage import NOISE, Judged, StepLosses, trained_of
from fireredtts2.training.codec.training_decoders import SoundComparer, SpectrogramComparer
from fireredtts2.training.precision import computing_in

log = logging.getLogger(__name__)
LATENT_BATCHES = 40  # of these the codebooks start
MEL_STEPS = 8  # in one frame: 100 Hz
SEMANTIC_STEPS = 4  # in one frame: 50 Hz
Comparer = SoundComparer | SpectrogramComparer
COMPARERS: dict[str, type[Comparer]] = {
    "sound": SoundComparer,
    "spectrogram": SpectrogramComparer,
}


@dataclass(frozen=True)
class Forward:
    """Distances of one batch (scalars), its sound made and wanted, and what was quantized."""

    mel: Tensor
    linear: Tensor
    semantic: Tensor
    commitment: Tensor
    made: Tensor | None
    real: Tensor
    uses: Uses | None


class EncoderStage:
    """Everything but the frozen Whisper encoder and stage two's decoder; see `stage.Stage`."""

    def __init__(
        self, codec: RedCodec, recipe: CodecRecipe, sounds: Sounds, device: torch.device
    ) -> None:
        self.recipe, self.device = recipe, device
        self.precision = recipe.precision_on(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.run.seed)
            self.comparer = build_comparer(codec.config, recipe)
        self.codec = freeze(codec).to(device)
        self.comparer.to(device)
        self.rate_hz = self.comparer.rate_hz
        self.samples_per_frame = self.comparer.samples_per_frame
        self.trained = trained_of({"codec": codec, "decoder": self.comparer})
        self.buffers: dict[str, Tensor] = dict(codec.rvq.named_buffers(prefix="codec.rvq"))
        # A codec that was trained before has its codebooks.
        self.is_quantizing = recipe.model.start is not None
        reader, data = SoundReader(recipe.data.max_seconds), recipe.data
        self.batches, self.held_out = (
            ChunkBatches(
                sounds.part(held_out), reader, data.chunks_per_batch, data.crop_frames[0],
                self.rate_hz, recipe.run.seed,
            )
            for held_out in (False, True)
        )  # fmt: skip
        self.read = ReadAhead(self.batches.batch, data.workers)

    @property
    def phase(self) -> str:
        return "quantized" if self.is_quantizing else NOISE

    # --- Learning -----------------------------------------------------------------------------

    def prepare(self, step: int) -> bool:
        """Starts the codebooks when it is time."""
        if self.is_quantizing or step < self.recipe.loss.quantize_after_steps:
            return False
        generator = torch.Generator().manual_seed(self.recipe.run.seed)
        numbers = range(VALIDATION, VALIDATION + LATENT_BATCHES)
        latents = (self._latents(self.batches.batch(number)) for number in numbers)
        left = start_codebooks(self.codec.rvq, latents, generator)
        log.info("codebooks start; variance left by level: %s", [round(x, 3) for x in left])
        self.is_quantizing = True
        return True

    @torch.no_grad()
    def _latents(self, batch: ChunkBatch) -> tuple[Tensor, Tensor]:
        mel, semantic = self._features(batch)
        with computing_in(self.device, self.precision):
            return self.codec.encoded(mel, semantic), batch.live.to(self.device)

    def losses(self, number: int, step: int, generator: torch.Generator, exact: bool) -> StepLosses:
        loss = self.recipe.loss
        is_whole = step >= loss.whole_from * self.recipe.optim.total_steps
        batch = self.read(number)
        done = self._forward(batch, generator, is_whole, loss.dropout_share, exact)
        parts = {
            "mel": loss.mel_weight * done.mel,
            "semantic": loss.semantic_weight * done.semantic,
            "commitment": loss.commitment_weight * done.commitment,
        }
        if done.made is not None:
            parts["linear"] = loss.linear_weight * done.linear
        return StepLosses(parts, done.made, done.real, done.uses)

    def learn(self, uses: list[Uses], generator: torch.Generator) -> None:
        learn_codebooks(self.codec.rvq, uses, generator)

    # --- Forward ------------------------------------------------------------------------------

    @torch.no_grad()
    def _features(self, batch: ChunkBatch) -> tuple[Tensor, Tensor]:
        """Log-mel (B, mels, 600) and the frozen encoder's features (B, 300, D) of whole chunks."""
        mel = self.codec.mel(batch.audio.to(self.device))
        with computing_in(self.device, self.precision):
            return mel, self.codec.ssl(mel).float()

    def _forward(
        self,
        batch: ChunkBatch,
        generator: torch.Generator,
        is_whole: bool,
        dropout_share: float,
        exact: bool,
    ) -> Forward:
        """A batch there and back; of chunks that are not whole the encoders see the crops alone."""
        codec, frames = self.codec, self.recipe.data.crop_frames[0]
        mel, semantic = self._features(batch)
        wanted = rows_from(semantic, batch.start, frames, SEMANTIC_STEPS)
        live, start = batch.live.to(self.device), batch.start
        if not is_whole:
            mel = rows_from(mel.mT, start, frames, MEL_STEPS).mT
            semantic, live = wanted, (live - start.to(self.device)).clamp(max=frames)
            start = torch.zeros_like(start)
        with computing_in(self.device, self.precision):
            latents = codec.encoded(mel, semantic).float().mT
        values, commitment, uses = self._quantized(latents, live, dropout_share, generator)
        with computing_in(self.device, self.precision):
            features = codec.upsample(rows_from(values.mT, start, frames, 1))
            rebuilt = codec.semantic_decoder(features)
        real = batch.target.to(self.device)
        precision = None if exact else self.precision
        mel_distance, linear, made = self.comparer.compared(features.float(), real, precision)
        distance = F.mse_loss(rebuilt.float(), wanted)
        return Forward(mel_distance, linear, distance, commitment, made, real, uses)

    def _quantized(
        self, latents: Tensor, live: Tensor, dropout_share: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Uses | None]:
        rvq = self.codec.rvq
        if not self.is_quantizing:
            values = with_noise(rvq, latents, self.recipe.loss.noise_share, generator)
            return values, values.new_zeros(()), None
        quantized = with_dropout(rvq, latents, dropout_share, generator)
        uses = uses_of(rvq, latents, live)
        return quantized.values, quantized.commitment, uses

    # --- Judging ------------------------------------------------------------------------------

    @property
    def num_judged(self) -> int:
        return len(self.held_out)

    @torch.no_grad()
    def judge(self, number: int) -> Judged:
        batch = self.held_out.in_order(number)
        generator = torch.Generator().manual_seed(VALIDATION + number)
        done = self._forward(batch, generator, is_whole=True, dropout_share=0.0, exact=True)
        values = {
            "mel": float(done.mel),
            "semantic": float(done.semantic),
            "commitment": float(done.commitment),
        }
        if done.made is not None:
            values["linear"] = float(done.linear)
        if done.uses is not None:
            size = self.codec.config.rvq.codebook_size
            used = [len(codes.unique()) / min(size, len(codes)) for _, codes in done.uses]
            values["entries_used"] = sum(used) / len(used)
        real = None if done.made is None else done.real
        return Judged(values, len(batch.live), done.made, real)

    # --- State --------------------------------------------------------------------------------

    def state(self) -> dict[str, bool]:
        return {"is_quantizing": self.is_quantizing}

    def load(self, state: dict[str, bool]) -> None:
        self.is_quantizing = state["is_quantizing"]


def build_comparer(config: CodecConfig, recipe: CodecRecipe) -> Comparer:
    """Stage one's own decoder for a codec of some sizes."""
    kind = COMPARERS[recipe.model.decoder]
    return kind(config.upsample.embed_dim, recipe.model.decoder_layers)


def samples_per_frame(recipe: CodecRecipe) -> int:
    """Of the sound that stage one's own decoder is compared with."""
    return COMPARERS[recipe.model.decoder].samples_per_frame


def freeze(codec: RedCodec) -> RedCodec:
    """Leaves open what stage one trains: the decoder is stage two's, and positions stay."""
    codec.requires_grad_(True)
    codec.ssl.requires_grad_(False)
    codec.acoustic_encoder.embed_positions.requires_grad_(False)
    codec.acoustic_decoder.requires_grad_(False)
    return codec


def rows_from(x: Tensor, start: Tensor, frames: int, steps: int) -> Tensor:
    """(B, T, D) at so many steps a frame: each row's `frames` from its first frame on."""
    count = frames * steps
    cut = [row[steps * int(s) : steps * int(s) + count] for row, s in zip(x, start, strict=True)]
    return torch.stack(cut)
