"""The public face: text in, speech out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from fireredtts2.audio import AudioSource
from fireredtts2.narration.errors import SpeechError
from fireredtts2.narration.exchange import Exchange
from fireredtts2.narration.lead import Lead
from fireredtts2.narration.options import OptionValues
from fireredtts2.narration.prompter import LearnAdapter, VoiceLike
from fireredtts2.narration.studio import Direction
from fireredtts2.published_calls import PublishedCalls
from fireredtts2.script import ScriptTurn
from fireredtts2.speech import AudioChunk, Progress, Segment, Speech, Turn, collect
from fireredtts2.text import clean_text, process_text_list, split_text
from fireredtts2.voices import Voice, VoiceLibrary

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "AudioChunk",
    "FireRedTTS2",
    "FireRedTTS2_Stream",
    "Progress",
    "Segment",
    "Speech",
    "SpeechError",
    "Turn",
    "Voice",
    "VoiceLibrary",
    "clean_text",
    "process_text_list",
    "split_text",
]

OnTurn = Callable[[Turn], None]
OnProgress = Callable[[Progress], None]
Script = Iterable["str | ScriptTurn"]


class FireRedTTS2(PublishedCalls[Tensor]):
    """Speaks: conversations of up to four voices, or one voice alone.

    Args:
        pretrained_dir: a checkpoint folder, or "mini", the model inside the package.
        gen_type: "dialogue" or "monologue": which of a folder's two language models.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the best that is there; several, as in
            "cuda:0,cuda:1", share the turns of a server or of threads.
        use_bf16: the same as dtype="bfloat16".
        dtype: of the language model's weights: "float32", "bfloat16", "int8" (on a CPU less than
            half the time, see docs/benchmarks.md; on a GPU half the memory, by torchao), "fp8" (on
            a GPU, by torchao), or "auto": bfloat16 on an NVIDIA GPU that "auto" found, else
            float32. The codec always computes in float32.
        num_slots: how many turns can be spoken at the same time on each device, by streams or
            threads that take turns; every slot has a context window's memory. "auto": as many as
            fit. What does not fit is refused at once.
        num_threads: of the CPU, for the whole process; what torch has where not given. "auto": what
            suits the model, one for a small one.
        compile: make one program of a frame by torch.compile, which takes a minute, once a machine.
            With int8 on a CPU a frame then takes less than half the time. Needs a C++ compiler, on
            a GPU Triton.
        adapter: a fine-tuned adapter's folder, or its name in the checkpoint's `adapters/`; it is
            merged into the weights at load.
        adapters: more of them, as `adapter`; each call may have another one, by the name of its
            folder: `tts.say(text, adapter="anna")`. Turns with different ones are batched together.

    Attributes:
        voices: the library of named voices, those of the model and the user's own.
        codec: the `RedCodec`.
        device: where it computes.

    Raises:
        ValueError: no such folder, device or type; weights that do not fit.
        FileNotFoundError: a part of the checkpoint is missing.

    Every call below takes these options (`fireredtts2.narration.options.Options`): `temperature`,
    `topk`, `depth_temperature`, `depth_topk`, `seed`, `turn_limit_ms`, `max_attempts`, `takes`,
    `on_runaway`, `reencode_context`, `adapter`. The same seed gives the same samples; those of a
    stream are those of the whole clip but for rounding (1e-5; with a harmonic source 3e-4), where
    `takes` is 1: where the model has a listener, a whole clip's turn is spoken again if it is not
    clear, and a stream's as far as there is time while what came before is heard. That depends on
    the machine: a stream with a seed has single takes, unless it is given `takes` too.

    A turn that comes out empty, or does not end within its limit, is tried again with other random
    numbers, and after `max_attempts` raises `SpeechError`, which holds the turns finished before
    (of a stream none: they have been yielded). A stream cannot take back what was heard: it holds a
    turn's start until something was said, and a runaway turn that it has let out is heard up to its
    limit, then raises.
    Texts are looked through before the first is spoken: what cannot be read raises at once.

    Example:
        >>> from fireredtts2 import FireRedTTS2
        >>> tts = FireRedTTS2("mini")  # doctest: +SKIP
        >>> speech = tts.dialogue(
        ...     ["[S1]Have you heard?", "[S2]No, what is it?"], seed=1
        ... )  # doctest: +SKIP
        >>> speech.save("dialogue.wav")  # doctest: +SKIP
        >>> for turn in speech.turns:  # doctest: +SKIP
        ...     print(turn.speaker, turn.start_s, turn.end_s, turn.text)
        >>> for chunk in tts.stream_say("Heard while it is made.", seed=1):  # doctest: +SKIP
        ...     player.write(chunk.audio.numpy())
    """

    holds = True

    def _result(self, chunks: Iterator[AudioChunk]) -> Tensor:
        return collect(chunks).audio[None]

    # --- Whole clips --------------------------------------------------------------------------

    def dialogue(
        self,
        script: Script,
        voices: Mapping[str, VoiceLike] | None = None,
        *,
        on_turn: OnTurn | None = None,
        on_progress: OnProgress | None = None,
        **options: Unpack[OptionValues],
    ) -> Speech:
        """Speaks a conversation.

        Args:
            script: turns like "[S1]Hello.", or the turns of a script file. Long turns are spoken
                in pieces and come back as one.
            voices: the voice of each speaker, {"S1": "name"} or a `Voice`. A speaker without one
                gets a random voice, which stays the same through the conversation.
            on_turn: called with every finished turn; what it keeps survives Ctrl-C.
            on_progress: called as audio is made.
            **options: see the class.

        Raises:
            ValueError: bad script, voice or option.
            SpeechError: a turn failed in every attempt; it holds the turns before.
        """
        chosen = self.studio.options(options)
        direction = Direction(chosen, True, True, on_turn, on_progress)
        return collect(self.studio.dialogue(script, voices, direction), chosen.seed)

    def say(
        self,
        text: str,
        voice: VoiceLike | None = None,
        *,
        on_turn: OnTurn | None = None,
        on_progress: OnProgress | None = None,
        **options: Unpack[OptionValues],
    ) -> Speech:
        """Speaks a text of any length in one voice; arguments as for `dialogue`."""
        chosen = self.studio.options(options)
        direction = Direction(chosen, True, True, on_turn, on_progress)
        return collect(self.studio.say(text, voice, direction), chosen.seed)

    # --- Streams ------------------------------------------------------------------------------

    def stream_dialogue(
        self,
        script: Script,
        voices: Mapping[str, VoiceLike] | None = None,
        *,
        on_turn: OnTurn | None = None,
        on_progress: OnProgress | None = None,
        hold_turns: bool = False,
        after: Sequence[Turn] = (),
        priority: int = 0,
        lead: Lead | None = None,
        **options: Unpack[OptionValues],
    ) -> Iterator[AudioChunk]:
        """`dialogue` as a stream: the same speech, while it is made.

        Args:
            script: as for `dialogue`.
            voices: as for `dialogue`.
            on_turn: as for `dialogue`.
            on_progress: as for `dialogue`.
            hold_turns: yield a turn only when it is known to be good, so that a runaway is tried
                again unheard; for writing files.
            after: the script's first turns, where they were spoken earlier with the same seed: the
                stream goes on as it would have. Their audio is not needed.
            priority: among all that wait for the engine; below 0 lets others go first.
            lead: how far whoever hears it is behind, where that is another than who hears all of it
                from the first chunk on, as it was spoken.
            **options: see the class.
        """
        chosen = self.studio.options(options, hold_turns)
        direction = Direction(
            chosen, hold_turns, False, on_turn, on_progress, tuple(after), priority, lead
        )
        return self.studio.dialogue(script, voices, direction)

    def stream_say(
        self,
        text: str,
        voice: VoiceLike | None = None,
        *,
        on_turn: OnTurn | None = None,
        on_progress: OnProgress | None = None,
        hold_turns: bool = False,
        lead: Lead | None = None,
        **options: Unpack[OptionValues],
    ) -> Iterator[AudioChunk]:
        """`say` as a stream; `hold_turns` and `lead` as for `stream_dialogue`."""
        chosen = self.studio.options(options, hold_turns)
        direction = Direction(chosen, hold_turns, False, on_turn, on_progress, lead=lead)
        return self.studio.say(text, voice, direction)

    stream_monologue = stream_say

    def exchange(
        self,
        voices: Mapping[str, VoiceLike] | None = None,
        **options: Unpack[OptionValues],
    ) -> Exchange:
        """A conversation whose texts come one by one, as a language model writes them.

        Each text follows what was heard before it, and its stream may be closed at any time.

        Args:
            voices: as for `dialogue`.
            **options: see the class.

        Example:
            >>> exchange = tts.exchange({"S1": "af_heart"}, seed=1)  # doctest: +SKIP
            >>> for chunk in exchange.stream("Good evening."):  # doctest: +SKIP
            ...     player.write(chunk.audio.numpy())
        """
        return self.studio.exchange(voices, self.studio.options(options, hold=False))

    def stream(
        self,
        text: str,
        speaker: str = "S1",
        context: Sequence[Segment | Turn] = (),
        **options: Unpack[OptionValues],
    ) -> Iterator[AudioChunk]:
        """`generate` as a stream."""
        chosen = self.studio.options(options, hold=False)
        direction = Direction(chosen, hold=False, keeps_turns=False)
        return self.studio.turn(text, speaker, context, direction)

    # --- Voices -------------------------------------------------------------------------------

    def make_voice(
        self,
        name: str,
        wav: AudioSource,
        text: str,
        adapt: bool = False,
        more: Sequence[AudioSource] = (),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Voice:
        """Makes a voice from a clip, once; `tts.voices.add(voice)` keeps it under its name.

        Args:
            name: letters, digits, `_`, `-`, `.`.
            wav: a clip of 0.4 to 40 s in any format and rate; of several channels, the first.
            text: what is said in it.
            adapt: whether the decoder is adapted to the voice, which learns from the clip for some
                updates: a small codec then sounds more like it (docs/api.md).
            more: further recordings of the voice, as `wav`, that the decoder learns from as well;
                what is said in them need not be known.
            on_progress: is told after each of these how many there were, and how many there will
                be.

        Raises:
            ValueError: silent, too long, not audio, without a transcript, or a bad name; more
                recordings without `adapt`; a codec that cannot be adapted, or clips that nothing
                can be learnt from.
        """
        learn: LearnAdapter | None = None
        if adapt:
            from fireredtts2.training.codec.voice_adaptation import adapter_learner

            learn = adapter_learner(self.codec, on_progress)
        return self.studio.prompter.make_voice(name, wav, text, learn, more)


class FireRedTTS2_Stream(PublishedCalls[Iterator[Tensor]]):
    """The published calls as streams: iterators of audio (1, n), yielded while it is made.

    Arguments are those of `FireRedTTS2`, whose `stream_*` calls know more of what they yield.
    """

    holds = False

    def _result(self, chunks: Iterator[AudioChunk]) -> Iterator[Tensor]:
        return (chunk.audio[None] for chunk in chunks if chunk.audio.shape[0])
