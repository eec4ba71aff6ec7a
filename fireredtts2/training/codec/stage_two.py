"""Stage two: encoder and quantizer frozen, the causal 24 kHz decoder trained on their codes."""

from __future__ import annotations

import torch
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.codec.adversarial import decoded, remade
from fireredtts2.training.codec.batches import CropPlace, CropPlan, crop_audio
from fireredtts2.training.codec.codes import CodeReader
from fireredtts2.training.codec.decoder_losses import DecoderLosses
from fireredtts2.training.codec.decoding_parts import freeze
from fireredtts2.training.codec.quantization import Uses
from fireredtts2.training.codec.read_ahead import ReadAhead
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.training.codec.sounds import SoundReader, Sounds
from fireredtts2.training.codec.stage import Judged, StepLosses, trained_of


class DecoderStage:
    """The output projection, the upsampling and the decoder: what `encode` does not use."""

    rate_hz, samples_per_frame = OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME

    def __init__(
        self, codec: RedCodec, recipe: CodecRecipe, sounds: Sounds, device: torch.device
    ) -> None:
        self.recipe, self.device = recipe, device
        self.precision = recipe.precision_on(device)
        self.codec = freeze(codec).to(device)
        self.loss = DecoderLosses(codec).to(device)
        self.trained = trained_of({"codec": codec})
        self.buffers: dict[str, Tensor] = {}
        self.codebooks = recipe.data.codebooks or (codec.num_codebooks,)
        if max(self.codebooks) > codec.num_codebooks:
            raise ValueError(
                f"data.codebooks: {list(self.codebooks)} given; this codec has "
                f"{codec.num_codebooks}"
            )
        if recipe.loss.takes > 1 and codec.acoustic_decoder.noise is None:
            raise ValueError(
                f"loss.takes: {recipe.loss.takes} given; this codec's decoder has no noise source, "
                "so that its takes are all the same: allowed is 1"
            )
        self.reader = SoundReader(recipe.data.max_seconds)
        self.codes = CodeReader(codec, self.reader)
        data = recipe.data
        self.plan = CropPlan(
            sounds.part(False),
            data.crop_frames,
            data.frames_per_batch,
            recipe.run.seed,
            data.prompt_share,
        )
        longest = max(data.crop_frames)
        self.held_out = [
            CropPlace(sound, 0, min(longest, sound.num_frames)) for sound in sounds.part(True)
        ]
        self.read = ReadAhead(self._read, data.workers)

    @property
    def phase(self) -> str:
        return "decoder"

    def prepare(self, step: int) -> bool:
        return False

    def losses(self, number: int, step: int, generator: torch.Generator, exact: bool) -> StepLosses:
        loss = self.recipe.loss
        places, audio = self.read(number)
        codes, real = self.codes.crops(places, self.device), audio.to(self.device)
        if prompts := self.plan.prompts(number, places):
            codes = torch.cat([self.codes.crops(prompts, self.device), codes], dim=2)
        drawn = int(torch.randint(len(self.codebooks), (), generator=generator))
        precision = None if exact else self.precision
        codes = codes[:, : self.codebooks[drawn]]
        made = remade(self.codec, codes, real, precision, loss.takes, generator)
        return StepLosses(self.loss(made, real, loss), made.audio[: len(real)], real)

    def _read(self, number: int) -> tuple[list[CropPlace], Tensor]:
        places = self.plan.places(number)
        return places, crop_audio(self.reader, places)

    def learn(self, uses: list[Uses], generator: torch.Generator) -> None:
        """Nothing but the optimizer moves anything here."""

    @property
    def num_judged(self) -> int:
        return len(self.held_out)

    @torch.no_grad()
    def judge(self, number: int) -> Judged:
        places = self.held_out[number : number + 1]
        codes = self.codes.crops(places, self.device)
        real = crop_audio(self.reader, places).to(self.device)
        made = decoded(self.codec, codes[:, : max(self.codebooks)], None)
        spectra = self.loss.spectra(made, real)
        found = {"mel": float(spectra.mel), "linear": float(spectra.linear)}
        return Judged(found, 1, made, real)

    def state(self) -> dict[str, bool]:
        return {}

    def load(self, state: dict[str, bool]) -> None:
        """There is nothing but weights."""
