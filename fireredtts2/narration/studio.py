"""A loaded model and all it takes to turn scripts into streams of audio chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fireredtts2.adapters import Adapter, find_adapter
from fireredtts2.checkpoint import CheckpointFolder, GenType
from fireredtts2.codec import RedCodec
from fireredtts2.codec.timbre import Timbre
from fireredtts2.config import DEFAULT_TOPK, LLMConfig, TextConfig
from fireredtts2.engine.front import AnyEngine, Front
from fireredtts2.engine.loading import build_engine, load_codec, load_fused_llm
from fireredtts2.engine.memory_plan import Auto
from fireredtts2.llm.fused import WeightKind
from fireredtts2.llm.sampling import SamplingParams
from fireredtts2.llm.tokenizer import TextTokenizer
from fireredtts2.narration.continuation import Continuation, SingleSegment
from fireredtts2.narration.conversation import Context, Conversation, Spoken
from fireredtts2.narration.exchange import Exchange
from fireredtts2.narration.layout import Layout
from fireredtts2.narration.lead import Lead
from fireredtts2.narration.lines import Typesetter
from fireredtts2.narration.narrator import Line, Narrator
from fireredtts2.narration.options import Options
from fireredtts2.narration.pace import Pace
from fireredtts2.narration.prompter import Prompter, VoiceLike, speaker_name
from fireredtts2.proofing.listener import LISTENER_FILE, Listener
from fireredtts2.script import Script, ScriptTurn
from fireredtts2.speech import AudioChunk, Progress, Segment, Turn


@dataclass(frozen=True)
class Direction:
    """How a stream is made, whatever it says.

    Attributes:
        options: sampling, limits, attempts.
        hold: let a piece of a turn out only when it is known to be good.
        keeps_turns: let a `SpeechError` hold the turns before it.
        on_turn: called with every finished turn.
        on_progress: called as audio is made.
        after: the first turns, where they were spoken earlier.
        priority: among all that wait for the engine; 0 is usual.
        lead: how far whoever hears a stream is behind; by default as if he heard it as it comes.
    """

    options: Options
    hold: bool
    keeps_turns: bool
    on_turn: Callable[[Turn], None] | None = None
    on_progress: Callable[[Progress], None] | None = None
    after: Sequence[Turn] = ()
    priority: int = 0
    lead: Lead | None = None


def advised_sampling(config: LLMConfig) -> Mapping[str, float]:
    """The checkpoint's own sampling.

    Raises:
        ValueError: it is not a sampling.
    """
    try:
        SamplingParams(**config.sampling)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"llm_models.sampling {dict(config.sampling)}: {error}") from None
    return config.sampling


def read_adapter(
    folder: CheckpointFolder, gen_type: GenType, adapter: str | Path | None
) -> Adapter | None:
    """The adapter of a path or name, where one is asked for.

    Raises:
        ValueError: there is none, or it is for the other language model.
    """
    if adapter is None:
        return None
    found = Adapter.load(find_adapter(folder.path, adapter))
    if found.config.gen_type != gen_type and folder.llm_path("dialogue") != folder.llm_path(
        "monologue"
    ):
        raise ValueError(
            f"{found.source}: made for the {found.config.gen_type} model; gen_type is {gen_type!r}"
        )
    return found


def read_listener(folder: Path, text: TextConfig, codec: RedCodec) -> Listener | None:
    """The checkpoint's listener; None where it has none.

    Raises:
        ValueError: its weights do not fit, or it is asked for and not there.
    """
    if text.proof_takes == 1:
        return None
    path = folder / LISTENER_FILE
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; config_text.json asks for {text.proof_takes} takes"
        )
    return Listener.from_file(path, codec, text.proof_clearness)


def named_adapters(
    folder: CheckpointFolder, gen_type: GenType, adapters: Sequence[str | Path]
) -> dict[str, Adapter]:
    """Adapters by the names of their folders.

    Raises:
        ValueError: as `read_adapter`, or two have one name.
    """
    found: dict[str, Adapter] = {}
    for adapter in adapters:
        name = Path(adapter).name
        if not name:
            raise ValueError(f"adapter {str(adapter)!r}: no name of a folder")
        if name in found:
            raise ValueError(
                f"adapter {str(adapter)!r}: another one is called {name!r} too, and a stream could "
                "not tell them apart; rename its folder, or give it a name with `fireredtts2 "
                "adapter export`"
            )
        read = read_adapter(folder, gen_type, adapter)
        assert read is not None
        found[name] = read
    return found


class Studio:
    """Makes streams. Arguments are checked when a stream is asked for, not when it is read.

    Args:
        pretrained_dir: a checkpoint folder, or "mini".
        gen_type: which of its language models.
        devices: where to compute; with more than one, an engine on each.
        weights: of the language model.
        num_slots: turns spoken at the same time, on each device; "auto": as many as fit.
        compiles: make one program of a frame, now.
        adapter: a fine-tuned adapter's folder, or its name in the checkpoint's `adapters/`, merged
            into the weights.
        adapters: more of them, of which every stream may have another one.
    """

    def __init__(
        self,
        pretrained_dir: str | Path,
        gen_type: GenType,
        devices: Sequence[torch.device],
        weights: WeightKind,
        num_slots: int | Auto,
        compiles: bool = False,
        adapter: str | Path | None = None,
        adapters: Sequence[str | Path] = (),
    ) -> None:
        folder = CheckpointFolder(pretrained_dir)
        self._adapters = named_adapters(folder, gen_type, adapters)
        self._adapter = read_adapter(folder, gen_type, adapter)
        self.gen_type = gen_type
        self.device = devices[0]
        self.prompter = Prompter.from_checkpoint(folder, self.device)
        self.codec, self.voices = self.prompter.codec, self.prompter.library
        self.engine = self._engine(folder, devices, weights, num_slots, compiles)
        config = self.engine.model_runner.model.config
        self._advised = advised_sampling(config)
        if compiles:
            self.prepare()
        text = folder.text_config
        self._typesetter = Typesetter(self.prompter.frontend, text.piece_bytes)
        self._pace = Pace(
            text.max_frames_per_unit, text.min_frames_per_unit, text.piece_pause_frames
        )
        self._takes = text.proof_takes
        self._listener = read_listener(folder.path, text, self.codec)
        tokenizer = TextTokenizer.from_folder(folder.tokenizer_path)
        if tokenizer.vocab_size > config.text_vocab_size:
            raise ValueError(
                f"{folder.tokenizer_path}: {tokenizer.vocab_size} tokens, of which the language "
                f"model knows {config.text_vocab_size}: they do not belong together"
            )
        self._layout = Layout(tokenizer, config.audio_num_codebooks, config.audio_vocab_size)

    def _engine(
        self,
        folder: CheckpointFolder,
        devices: Sequence[torch.device],
        weights: WeightKind,
        num_slots: int | Auto,
        compiles: bool,
    ) -> AnyEngine:
        """An engine, or one on each device behind a front."""
        engines = []
        for number, device in enumerate(devices):
            # Without an adapter the call is as it was: some replace it by one of four arguments.
            more: tuple[Any, ...] = () if self._adapter is None else (self._adapter,)
            if self._adapters:
                more = (self._adapter, self._adapters)
            llm = load_fused_llm(folder, self.gen_type, device, weights, *more)
            codec = load_codec(folder, folder.read_codec(), device) if number else self.codec
            engines.append(build_engine(llm, codec, num_slots, compiles=compiles))
        return engines[0] if len(engines) == 1 else Front(engines)

    def prepare(self) -> None:
        """Lets the engine compile or capture what it will need, before anybody waits for it.

        Raises:
            ValueError: it is to be compiled, and that does not work here.
        """
        self.engine.prepare(SamplingParams(**self._advised))  # type: ignore[arg-type]

    def options(self, values: Mapping[str, Any], hold: bool = True) -> Options:
        """Options as the caller gave them, and for the rest as this model is best sampled.

        Args:
            values: by name; None is not given.
            hold: whether turns are held. In a stream it depends on the time what is spoken again,
                so that a caller who gives a seed, to hear the same again, gets single takes.

        Raises:
            ValueError: an unknown option, or a value that is not allowed.
        """
        given = {name: value for name, value in values.items() if value is not None}
        num_codes = self.engine.model_runner.model.config.audio_vocab_size
        for name in ("topk", "depth_topk"):
            value = given.get(name)
            # The published default is taken by models with fewer codes too.
            if isinstance(value, int) and value > max(num_codes, DEFAULT_TOPK):
                raise ValueError(f"{name} {value}: this model has {num_codes} codes to choose from")
        takes = self._takes if hold or "seed" not in given else 1
        options = Options.from_keywords({"takes": takes, **self._advised, **given})
        known = self.engine.model_runner.adapter_numbers
        if options.adapter not in known:
            names = ", ".join(name for name in known if name) or "none"
            raise ValueError(f"adapter {options.adapter!r}: not loaded; loaded are: {names}")
        return options

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of those that a stream may have."""
        return tuple(self._adapters)

    def dialogue(
        self,
        script: Iterable[str | ScriptTurn],
        voices: Mapping[str, VoiceLike] | None,
        direction: Direction,
    ) -> Iterator[AudioChunk]:
        """A conversation in named voices; a script file may name voices of its own."""
        lines = self._typesetter.dialogue(script)
        speaking = {line.speaker for line in lines}
        own = script.voices if isinstance(script, Script) else None
        prompts = self.prompter.from_cast(voices, speaking, own)
        return self._narrate(lines, self._conversation(prompts, direction.options), direction)

    def cloned_dialogue(
        self, script: Iterable[str], prompts: Sequence[Spoken], direction: Direction
    ) -> Iterator[AudioChunk]:
        """A conversation after prompts."""
        lines = self._typesetter.dialogue(script)
        return self._narrate(lines, self._conversation(prompts, direction.options), direction)

    def say(self, text: str, voice: VoiceLike | None, direction: Direction) -> Iterator[AudioChunk]:
        """One voice, in the form that the loaded model has learnt."""
        line = self._typesetter.monologue(text)
        prompt = None if voice is None else self.prompter.from_voice(line.speaker, voice)
        if self.gen_type == "monologue":
            return self.monologue(text, prompt, direction)
        conversation = self._conversation([prompt] if prompt else [], direction.options)
        return self._narrate([line], conversation, direction)

    def monologue(
        self, text: str, prompt: Spoken | None, direction: Direction
    ) -> Iterator[AudioChunk]:
        """One voice that goes on from its prompt."""
        line = self._typesetter.monologue(text)
        layout, reads_units = self._layout_of(direction.options), self.prompter.frontend.reads_units
        continuation = Continuation(
            layout, prompt, reads_units=reads_units, timbre_of=self._timbre_of
        )
        return self._narrate([line], continuation, direction)

    def exchange(self, voices: Mapping[str, VoiceLike] | None, options: Options) -> Exchange:
        """A conversation whose texts come one by one."""
        speaking = {speaker_name(speaker) for speaker in voices or ()}
        conversation = self._conversation(self.prompter.from_cast(voices, speaking), options)
        return Exchange(
            self.engine, conversation, self._typesetter, options, self._pace, self._listener
        )

    def turn(
        self, text: str, speaker: str, context: Sequence[Segment | Turn], direction: Direction
    ) -> Iterator[AudioChunk]:
        """One turn after a context."""
        line = self._typesetter.single(speaker, text)
        before = [self.prompter.from_segment(segment) for segment in context]
        return self._narrate([line], self._conversation(before, direction.options), direction)

    def single(
        self, context: Sequence[Segment | Turn], direction: Direction
    ) -> Iterator[AudioChunk]:
        """The last segment's audio goes on until its text has been said."""
        if not context or not context[-1].text.strip():
            raise ValueError("there must be a last segment, with text, to be continued")
        *before, last = context
        has_audio = last.codes is not None or last.audio is not None
        goes_on = self.prompter.from_segment(last) if has_audio else None
        spoken = [self.prompter.from_segment(segment) for segment in before]
        line = self._typesetter.single(last.speaker, last.text)
        layout = self._layout_of(direction.options)
        codes, timbre = (goes_on.codes, goes_on.timbre) if goes_on else (None, None)
        return self._narrate([line], SingleSegment(layout, spoken, codes, timbre), direction)

    def _layout_of(self, options: Options) -> Layout:
        return replace(self._layout, adapter=options.adapter)

    def _conversation(self, prompts: Sequence[Spoken], options: Options) -> Conversation:
        runner = self.engine.model_runner
        trained_rows = runner.model.config.trained_rows
        layout = self._layout_of(options)
        return Conversation(layout, prompts, runner.max_rows, trained_rows, self._timbre_of)

    def _timbre_of(self, codes: Tensor) -> Timbre | None:
        """What a random voice is decoded with from its second turn on, by what it said before."""
        return self.codec.timbre(codes[: self.prompter.num_codebooks], None)

    def _narrate(
        self, lines: Sequence[Line], context: Context, direction: Direction
    ) -> Iterator[AudioChunk]:
        narrator = Narrator(
            self.engine,
            context,
            direction.options,
            encode=self.prompter.encode_output,
            pace=self._pace,
            keeps_turns=direction.keeps_turns,
            on_turn=direction.on_turn,
            on_progress=direction.on_progress,
            priority=direction.priority,
            listener=self._listener,
            lead=direction.lead,
        )
        narrator.check(lines)
        narrator.resume(lines, direction.after)
        return narrator.narrate(lines, direction.hold)
