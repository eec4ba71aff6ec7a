"""What requests hold: OpenAI's fields, and ours beside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

ResponseFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
StreamFormat = Literal["audio", "sse"]
DialoguePart = Literal["audio", "subtitles", "stems", "turns"]
Speed = Annotated[float, Field(ge=0.25, le=4.0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)] | None
Temperature = Annotated[float, Field(ge=0, le=5)] | None
TopK = Annotated[int, Field(ge=1, le=100_000)] | None
Takes = Annotated[int, Field(ge=1, le=16)] | None

#: Shown in the documentation; they work with the embedded model.
SPEECH_EXAMPLE: JsonDict = {
    "model": "tts-1",
    "input": "You hear this while it is made.",
    "voice": "af_heart",
    "response_format": "mp3",
}
DIALOGUE_EXAMPLE: JsonDict = {
    "turns": [
        {"speaker": "S1", "text": "Are you there?"},
        {"speaker": "S2", "text": "I am.", "pause_s": 0.3},
    ],
    "voices": {"S1": "af_heart", "S2": "am_michael"},
}


class Manner(BaseModel):
    """How is spoken; what is not given is as the model has it."""

    seed: Seed = None
    temperature: Temperature = None
    topk: TopK = None
    takes: Takes = Field(
        None, description="how often at most a piece is spoken until the model hears all of it"
    )

    def given(self) -> dict[str, Any]:
        """What was given, as options of `FireRedTTS2`'s calls."""
        values = {name: getattr(self, name) for name in Manner.model_fields}
        return {name: value for name, value in values.items() if value is not None}


class _Asked(Manner):
    """What every request for speech may say."""

    # Clients send fields that mean nothing here ("instructions", "task_type"): let them.
    model_config = ConfigDict(extra="ignore", str_max_length=1_000_000)

    model: str = "fireredtts2"
    response_format: ResponseFormat = "mp3"
    stream_format: StreamFormat = "audio"
    speed: Speed = 1.0


class SpeechRequest(_Asked):
    """One text in one voice; `ref_audio` with `ref_text` clones another."""

    model_config = ConfigDict(json_schema_extra={"examples": [SPEECH_EXAMPLE]})

    input: str
    voice: str | None = None
    ref_audio: str | None = Field(None, description='a clip as "data:audio/wav;base64,..."')
    ref_text: str | None = Field(None, description="what is said in it")
    session_id: str | None = Field(None, description="of the conversation that this goes on with")
    speaker: str | None = Field(None, description="who says it in a session: S1 to S4")


class DialogueTurn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    speaker: str
    text: str
    pause_s: Annotated[float, Field(ge=0, le=60)] = 0.0


class DialogueRequest(_Asked):
    """A conversation: `turns`, or a `script` as the command line reads it."""

    model_config = ConfigDict(json_schema_extra={"examples": [DIALOGUE_EXAMPLE]})

    turns: Annotated[list[DialogueTurn], Field(max_length=10_000)] | None = None
    script: str | None = None
    voices: dict[str, str] = Field(default_factory=dict, description="voices by speaker")
    session_id: str | None = Field(None, description="of the conversation that this goes on with")
    hold_turns: bool = Field(
        False, description="a turn is heard when it is known to be good: a runaway is tried again"
    )
    returns: Annotated[list[DialoguePart], Field(min_length=1, max_length=4)] | None = Field(
        None, alias="return", description="a ZIP with these, when all is made"
    )
