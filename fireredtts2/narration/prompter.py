"""Voice prompts and context segments, from whatever they are given as."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike

import torch
from torch import Tensor

from fireredtts2.audio import AudioSource, check_prompt, read_prompt, resample
from fireredtts2.checkpoint import CheckpointFolder, codec_fingerprint
from fireredtts2.codec.codec import RedCodec
from fireredtts2.codec.timbre import Timbre
from fireredtts2.codec.voice_adapter import VoiceAdapter, decoder_id
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.engine.loading import load_codec
from fireredtts2.narration.conversation import Spoken
from fireredtts2.script import INNER_TAG, SPEAKERS
from fireredtts2.speech import Segment, Turn
from fireredtts2.text import shown
from fireredtts2.text_frontend import TextFrontend
from fireredtts2.voices import Voice, VoiceLibrary, user_voices_path

logger = logging.getLogger(__name__)
TAG = re.compile(r"\s*\[([^\]\[]*)\]")

VoiceLike = str | Voice
#: Codes (q, T) and audio (samples,) at 16 kHz of some clips to the voice's adapter.
LearnAdapter = Callable[[Sequence[tuple[Tensor, Tensor]]], VoiceAdapter]
KNOWN_TIMBRES = 64  # of voices; an equaliser has 2 kB


def speaker_name(speaker: str) -> str:
    """ "S1" of "S1" or "[S1]".

    Raises:
        ValueError: there is no such speaker.
    """
    if not isinstance(speaker, str):
        raise ValueError(f"a speaker is one of {', '.join(SPEAKERS)}, not {speaker!r}")
    name = speaker.strip().removeprefix("[").removesuffix("]")
    if name not in SPEAKERS:
        raise ValueError(f"unknown speaker {speaker!r}; allowed: {', '.join(SPEAKERS)}")
    return name


def split_tag(text: str) -> tuple[str, str]:
    """Speaker and words of "[S1]words".

    Raises:
        ValueError: no tag, or of an unknown speaker.
    """
    tag = TAG.match(text) if isinstance(text, str) else None
    if tag is None:
        raise ValueError(
            f"no speaker tag before {str(text)[:40]!r}; begin with one of "
            + ", ".join(f"[{speaker}]" for speaker in SPEAKERS)
        )
    return speaker_name(tag[1]), text[tag.end() :].strip()


def _check_clip(name: str, clip: object) -> None:
    if not isinstance(clip, str | bytes | PathLike) and not hasattr(clip, "read"):
        raise ValueError(
            f"voice {name!r}: a clip is a path, the bytes of a file or an open binary file, "
            f"not {type(clip).__name__}"
        )


@dataclass(frozen=True)
class Prompter:
    """Makes segments of a context.

    Attributes:
        codec: encodes clips.
        codec_id: fingerprint of the codec; a voice of another one is refused.
        num_codebooks: of the language model.
        library: voices by name.
        frontend: text as written to text as the model reads it.
    """

    codec: RedCodec
    codec_id: str
    num_codebooks: int
    library: VoiceLibrary
    frontend: TextFrontend
    _known_timbres: dict[bytes, Timbre | None] = field(default_factory=dict, repr=False)

    @classmethod
    def from_checkpoint(cls, folder: CheckpointFolder, device: torch.device) -> Prompter:
        """All it takes to make voices: the codec, the folder's and the user's voices, no engine."""
        state = folder.read_codec()
        codec_id = codec_fingerprint(state)
        return cls(
            load_codec(folder, state, device),
            codec_id,
            folder.llm_config.audio_num_codebooks,
            VoiceLibrary([user_voices_path(), folder.voices_path], codec_id),
            TextFrontend.from_checkpoint(folder),
        )

    @property
    def _device(self) -> torch.device:
        return next(self.codec.parameters()).device

    def encode(self, audio: Tensor) -> Tensor:
        """Audio (samples,) at 16 kHz to codes (Q, T) on the CPU."""
        codes, _ = self.codec.encode(audio.float().to(self._device)[None])
        return codes[0].cpu()

    def encode_output(self, audio: Tensor) -> Tensor:
        """Audio (samples,) at 24 kHz to codes (Q, T)."""
        return self.encode(resample(audio, OUTPUT_RATE_HZ, INPUT_RATE_HZ))

    @cached_property
    def decoder_id(self) -> str:
        """Names the decoder that adapters must have been learnt for."""
        return decoder_id(self.codec.acoustic_decoder.state_dict())

    def make_voice(
        self,
        name: str,
        clip: AudioSource,
        text: str,
        learn: LearnAdapter | None = None,
        more: Sequence[AudioSource] = (),
    ) -> Voice:
        """Encodes a clip once, and lets `learn` adapt the decoder to it and to `more` clips.

        See `FireRedTTS2.make_voice`.
        """
        for one in (clip, *more):
            _check_clip(name, one)
        if more and learn is None:
            raise ValueError(
                f"voice {name!r}: {len(more)} more clips were given, of which only an adapter "
                "learns: ask for it as well (adapt)"
            )
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"voice {name!r}: a voice prompt needs the transcript of its clip")
        self._check_transcript(name, text)
        audio = read_prompt(clip)
        codes = self.encode(audio)
        voice = Voice(
            name,
            codes,
            text,
            codec_id=self.codec_id,
            source_samples=len(audio),
            spectrum=self.spectrum(audio),
        )
        if learn is None:
            return voice
        others = [read_prompt(one) for one in more]
        clips = [(codes, audio), *((self.encode(one), one) for one in others)]
        heard = [(one[: self.num_codebooks].to(self._device), sound) for one, sound in clips]
        adapter = learn(heard)
        return replace(voice, adapter=adapter.tensors, decoder_id=self.decoder_id)

    def _check_transcript(self, name: str, text: str) -> None:
        """A voice that cannot be read would fail at whatever it is to say."""
        if (inner := INNER_TAG.search(text)) is not None:
            raise ValueError(
                f"voice {name!r}: the transcript {shown(text)} has a speaker tag, {inner[0]}; give "
                "the words alone"
            )
        try:
            self.frontend.prepare(text)
        except ValueError as error:
            raise ValueError(f"voice {name!r}: the transcript cannot be read: {error}") from None

    def spectrum(self, audio: Tensor) -> Tensor | None:
        """Audio (samples,) at 16 kHz to its average spectrum (num_mels,), for an equaliser."""
        spectrum = self.codec.spectrum(audio.float().to(self._device))
        return None if spectrum is None else spectrum.cpu()

    def voice_timbre(self, voice: Voice) -> Timbre | None:
        """What a voice is decoded with."""
        return self.timbre(voice.codes, voice.spectrum, self._adapter(voice))

    def _adapter(self, voice: Voice) -> VoiceAdapter | None:
        """A voice's, unless it is of another decoder: then it would distort the voice."""
        if voice.adapter is None:
            return None
        if voice.decoder_id != self.decoder_id:
            logger.warning(
                "voice %r was adapted to another decoder (%s; this model's is %s): it is spoken "
                "without its adapter; make it again from its clip",
                voice.name, voice.decoder_id or "not named", self.decoder_id,
            )  # fmt: skip
            return None
        config = self.codec.config.acoustic_decoder
        try:
            return VoiceAdapter.from_tensors(voice.adapter, config)
        except ValueError as error:
            raise ValueError(f"voice {voice.name!r}: {error}; make it again") from None

    def timbre(
        self, codes: Tensor, spectrum: Tensor | None, adapter: VoiceAdapter | None = None
    ) -> Timbre | None:
        """What a clip's voice is decoded with; see `RedCodec.timbre`.

        Args:
            codes: (Q, T) of the clip.
            spectrum: (num_mels,) of the clip; None where it is not known.
            adapter: of the decoder to the voice; None for none.
        """
        heard = codes[: self.num_codebooks].contiguous()
        key = heard.numpy().tobytes() + (b"" if spectrum is None else spectrum.numpy().tobytes())
        key += b"" if adapter is None else adapter.digest
        # NOTE: kept, for a clip is decoded to know its gains, and a voice speaks many times.
        if key not in self._known_timbres:
            while len(self._known_timbres) >= KNOWN_TIMBRES:
                self._known_timbres.pop(next(iter(self._known_timbres)), None)
            known = self.codec.timbre(heard.to(self._device), spectrum, adapter)
            self._known_timbres[key] = known
        return self._known_timbres[key]

    def heard(self, voice: Voice) -> Tensor:
        """A voice's clip as its codes decode, (samples,) at 24 kHz on the CPU."""
        gains, adapter = (self.voice_timbre(voice) or Timbre()).one_row(self._device)
        codes = voice.codes[None].to(self._device)
        return self.codec.decode(codes, gains, adapter=adapter)[0].cpu()

    def voice(self, voice: VoiceLike) -> Voice:
        """The voice of this name, or this voice, checked."""
        if isinstance(voice, str):
            return self.library.get(voice)
        if not isinstance(voice, Voice):
            raise ValueError(
                f"a voice is a name or a Voice (of `make_voice`), not {type(voice).__name__}"
            )
        if voice.codec_id and voice.codec_id != self.codec_id:
            raise ValueError(
                f"voice {voice.name!r} was made with another codec ({voice.codec_id}; this model's "
                f"is {self.codec_id}); make it again from its clip with make_voice"
            )
        if voice.codes.shape[0] < self.num_codebooks:
            raise ValueError(
                f"voice {voice.name!r} has {voice.codes.shape[0]} codebooks; this model needs "
                f"{self.num_codebooks}"
            )
        return voice

    def from_voice(self, speaker: str, voice: VoiceLike) -> Spoken:
        """A voice as what `speaker` said before."""
        chosen = self.voice(voice)
        text = self.frontend.prepare(chosen.text)
        return Spoken(speaker_name(speaker), text, chosen.codes, self.voice_timbre(chosen))

    def from_cast(
        self,
        voices: Mapping[str, VoiceLike] | None,
        speaking: set[str],
        default: Mapping[str, VoiceLike] | None = None,
    ) -> list[Spoken]:
        """The prompts of those who speak, in the order of their numbers.

        Args:
            voices: by speaker.
            speaking: who speaks; others need no prompt.
            default: voices of speakers that `voices` leaves out.
        """
        if voices is not None and not isinstance(voices, Mapping):
            raise ValueError(
                f'voices are given by speaker, {{"S1": "name"}}, not as {type(voices).__name__}'
            )
        given = {**(default or {}), **(voices or {})}
        cast = {speaker_name(speaker): voice for speaker, voice in given.items()}
        return [self.from_voice(name, cast[name]) for name in sorted(cast) if name in speaking]

    def from_clip(self, speaker: str, clip: AudioSource, text: str) -> Spoken:
        """A clip and its transcript as what `speaker` said before."""
        return self.from_voice(speaker, self.make_voice("prompt", clip, text))

    def from_optional_clip(self, clip: AudioSource | None, text: str | None) -> Spoken | None:
        """The only speaker's prompt, if there is one.

        Raises:
            ValueError: a clip without its transcript, or the reverse.
        """
        if clip is None and text is None:
            return None
        if clip is None or text is None:
            lacking = "prompt_wav" if clip is None else "prompt_text"
            raise ValueError(f"a voice prompt without {lacking}; give clip and transcript, or none")
        return self.from_clip(SPEAKERS[0], clip, text)

    def from_clips(
        self, clips: Sequence[AudioSource] | None, texts: Sequence[str] | None
    ) -> list[Spoken]:
        """Clips and their tagged transcripts, pairwise.

        Raises:
            ValueError: one without the other, or not as many of one as of the other.
        """
        if isinstance(clips, str | bytes | PathLike) or isinstance(texts, str):
            raise ValueError("prompt clips and prompt texts are lists, one of each a speaker")
        clips, texts = list(clips or []), list(texts or [])
        if len(clips) != len(texts):
            raise ValueError(
                f"{len(clips)} prompt clips and {len(texts)} prompt texts were given; "
                "every clip needs its transcript, and every transcript its clip"
            )
        tagged = [split_tag(text) for text in texts]
        speakers = [speaker for speaker, _ in tagged]
        if len(set(speakers)) < len(speakers):
            raise ValueError(f"prompts for {', '.join(speakers)}: one a speaker, please")
        return [
            self.from_clip(speaker, clip, text)
            for clip, (speaker, text) in zip(clips, tagged, strict=True)
        ]

    def from_segment(self, segment: Segment | Turn) -> Spoken:
        """A segment of a caller's own context."""
        codes, spectrum = segment.codes, None
        if codes is None:
            if segment.audio is None or not segment.text.strip():
                raise ValueError(f"a segment of {segment.speaker} needs its text and its audio")
            rate_hz = segment.sample_rate if isinstance(segment, Segment) else OUTPUT_RATE_HZ
            wave = segment.audio.detach().float().cpu()
            if wave.ndim not in (1, 2) or wave.numel() == 0:
                raise ValueError(
                    f"a segment's audio has shape {tuple(wave.shape)}; expected (samples,) or "
                    "(channels, samples)"
                )
            mono = wave if wave.ndim == 1 else wave[0]  # SPEC 6: of several channels the first
            audio = resample(mono, rate_hz, INPUT_RATE_HZ)
            check_prompt(audio, name=f"segment of {segment.speaker}")
            codes = self.encode(audio)
            spectrum = self.spectrum(audio)
        elif codes.ndim != 2 or codes.shape[0] < self.num_codebooks:
            raise ValueError(
                f"codes of shape {tuple(codes.shape)}; expected ({self.num_codebooks}, frames)"
            )
        text = self.frontend.prepare(segment.text)
        codes = codes.to(torch.int64)
        timbre = self.timbre(codes.cpu(), spectrum)
        return Spoken(speaker_name(segment.speaker), text, codes, timbre)
