"""The model that is measured: loaded from a folder, or random numbers of given sizes."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from benchmarks.options import Settings
from benchmarks.sizes import parse_sizes
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.codec.codec import RedCodec
from fireredtts2.config import CodecConfig, LLMConfig
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.loading import build_engine, load_llm
from fireredtts2.engine.request import Request
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.fused import FusedDualTransformer, WeightKind
from fireredtts2.llm.sampling import SamplingParams
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.narration.conversation import Conversation, Spoken
from fireredtts2.narration.layout import Layout, Tokenizer
from fireredtts2.narration.prompter import Prompter
from fireredtts2.text_frontend import TextFrontend
from fireredtts2.voices import VoiceLibrary
from fireredtts2.weights import build_empty

SEED = 1
NUM_VOICES = 4
VOICE_FRAMES = 75  # of a random voice: 6 s
VOICE_TEXT = "The harbour was quiet that morning, and nobody had yet come down to the boats."
TEXTS = (
    "I looked for the keys everywhere, and they were in my coat all along.",
    "Did you hear what happened at the station this morning?",
    "No, I was asleep until nine. Tell me about it from the beginning.",
    "A train came in with no driver, or so they say, and stopped by itself.",
    "That cannot be right. Somebody must have been at the controls.",
    "Well, they are looking into it now, and the platform is closed until noon.",
    "Then I shall take the bus, and read about it in the evening.",
    "Take an umbrella with you, because it will rain before long.",
)
#: A large vocabulary has about one id for so many characters.
CHARACTERS_PER_ID = 4
LARGE_VOCABULARY = 10_000


class Source(Protocol):
    """Where a model comes from."""

    @property
    def llm_config(self) -> LLMConfig: ...
    @property
    def codec_config(self) -> CodecConfig: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def frontend(self) -> TextFrontend: ...
    @property
    def voices(self) -> list[Spoken]: ...
    def make_llm(self, dtype: torch.dtype) -> DualTransformer: ...
    def make_codec(self) -> RedCodec: ...


class FolderSource:
    """A checkpoint folder."""

    def __init__(self, path: str, device: torch.device) -> None:
        self._folder, self._device = CheckpointFolder(path), device
        self.llm_config = self._folder.llm_config
        self.codec_config = self._folder.codec_config

    @cached_property
    def _prompter(self) -> Prompter:
        prompter = Prompter.from_checkpoint(self._folder, self._device)
        # The user's own voices stay out: a figure must not depend on them.
        return replace(
            prompter, library=VoiceLibrary([self._folder.voices_path], prompter.codec_id)
        )

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        return TextTokenizer.from_folder(self._folder.tokenizer_path)

    @property
    def frontend(self) -> TextFrontend:
        return self._prompter.frontend

    @cached_property
    def voices(self) -> list[Spoken]:
        """The first ones that come with the model; random ones where it has not two."""
        names = self._prompter.library.list()[:NUM_VOICES]
        found = [self._prompter.from_voice("S1", name) for name in names]
        if len(found) > 1:
            return found
        return random_voices(self.llm_config, self.codec_config, self.frontend)

    def make_llm(self, dtype: torch.dtype) -> DualTransformer:
        return load_llm(self._folder, self._folder.gen_types[0], self._device, dtype)

    def make_codec(self) -> RedCodec:
        return self._prompter.codec


class RandomSource:
    """Random weights, made on the device; nothing is fetched or written."""

    def __init__(self, sizes: str, device: torch.device) -> None:
        self.llm_config, self.codec_config = parse_sizes(sizes)
        self._device = device
        self.tokenizer = StandInTokenizer(self.llm_config.text_vocab_size)
        self.frontend = TextFrontend.plain()
        self.voices = random_voices(self.llm_config, self.codec_config, self.frontend)

    def make_llm(self, dtype: torch.dtype) -> DualTransformer:
        model = build_empty(lambda: DualTransformer(self.llm_config).to(dtype))
        model.text_head = nn.Identity()  # type: ignore[assignment] # only training uses it
        model = model.to_empty(device=self._device)
        model.init_weights(torch.Generator(self._device).manual_seed(SEED))
        return model.eval().requires_grad_(False)

    def make_codec(self) -> RedCodec:
        torch.manual_seed(SEED)
        with torch.device(self._device):
            codec = RedCodec(self.codec_config)
        codec.semantic_decoder = nn.Identity()  # type: ignore[assignment] # only training uses it
        return codec.to(self._device).eval().requires_grad_(False)


class StandInTokenizer:
    """About as many ids as a real tokenizer gives; which ones does not matter to random weights."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._step = CHARACTERS_PER_ID if vocab_size > LARGE_VOCABULARY else 1

    def encode_segment_text(self, tag: str, text: str) -> list[int]:
        pieces = [text[n : n + self._step] for n in range(0, len(text), self._step)]
        return [sum(piece.encode()) % self._vocab_size for piece in (tag, "<", *pieces, ">")]


class Subject:
    """A model and what it takes to have it speak; parts are made when they are first asked for.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self.device, self.kind = settings.device, settings.kind
        self.compiles = settings.compiles
        sizes = settings.init_random
        self._source: Source = (
            FolderSource(settings.model, self.device)
            if sizes is None
            else RandomSource(sizes, self.device)
        )
        self.config = self._source.llm_config
        self.codebook_size = self._source.codec_config.rvq.codebook_size
        self.sampling = SamplingParams(**self.config.sampling)  # type: ignore[arg-type]
        self._fused: dict[WeightKind, FusedDualTransformer] = {}

    @cached_property
    def plain(self) -> DualTransformer:
        """The module as it stands, in float32."""
        return self._source.make_llm(torch.float32)

    def fused(self, kind: WeightKind) -> FusedDualTransformer:
        """As the engine has it. The plain one is held beside it only if it was asked for before."""
        if kind not in self._fused:
            if "plain" in self.__dict__:
                self._fused[kind] = FusedDualTransformer(self.plain, kind)
            else:
                dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
                made = self._source.make_llm(dtype)
                self._fused[kind] = FusedDualTransformer(made, kind, frees=True)
        return self._fused[kind]

    @cached_property
    def codec(self) -> RedCodec:
        return self._source.make_codec()

    @cached_property
    def layout(self) -> Layout:
        return Layout(
            self._source.tokenizer, self.config.audio_num_codebooks, self.config.audio_vocab_size
        )

    @property
    def voices(self) -> list[Spoken]:
        """Some voice prompts of speaker S1."""
        return self._source.voices

    def prepared(self, text: str) -> str:
        """A text as the model reads it."""
        return self._source.frontend.prepare(text)

    def engine(self, num_slots: int) -> Engine:
        """An engine as the public face has it."""
        model = self.fused(self.kind)
        engine = build_engine(model, self.codec, num_slots, compiles=self.compiles)
        if self.compiles:
            engine.prepare(self.sampling)  # what is captured instead comes with a warm-up
        return engine

    def conversation(self, engine: Engine, voices: list[Spoken]) -> Conversation:
        """One that has not begun yet."""
        max_rows = engine.model_runner.max_rows
        return Conversation(self.layout, voices, max_rows, self.config.trained_rows)

    def request(
        self,
        context: Conversation,
        speaker: str,
        text: str,
        seed: int,
        max_frames: int,
        max_unread_s: float | None = None,
    ) -> Request:
        """The next turn of a conversation; its text is prepared already."""
        blocks = context.blocks(speaker, text, max_frames)
        return Request(blocks, self.sampling, seed, max_frames, max_unread_s=max_unread_s)

    def turn(
        self,
        engine: Engine,
        voice: Spoken,
        text: str,
        seed: int,
        max_frames: int,
        max_unread_s: float | None = None,
    ) -> Request:
        """One turn after a voice prompt; its text is prepared already."""
        context = self.conversation(engine, [voice])
        return self.request(context, voice.speaker, text, seed, max_frames, max_unread_s)

    def random_codes(self, num_frames: int, batch: int = 1) -> Tensor:
        """(batch, Q, T) on the CPU, the same ones every time."""
        shape = (batch, self.config.audio_num_codebooks, num_frames)
        generator = torch.Generator().manual_seed(SEED)
        return torch.randint(1, self.codebook_size, shape, generator=generator)


def random_voices(llm: LLMConfig, codec: CodecConfig, frontend: TextFrontend) -> list[Spoken]:
    """Voices that are noise."""
    generator = torch.Generator().manual_seed(SEED)
    shape = (NUM_VOICES, llm.audio_num_codebooks, VOICE_FRAMES)
    codes = torch.randint(1, codec.rvq.codebook_size, shape, generator=generator)
    text = frontend.prepare(VOICE_TEXT)
    return [Spoken("S1", text, own) for own in codes]
