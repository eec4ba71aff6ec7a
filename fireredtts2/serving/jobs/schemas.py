"""What a request for a job holds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fireredtts2.serving.schemas import DialogueTurn, Manner

JobFormat = Literal["wav", "flac", "mp3", "m4b"]
SubtitleFormat = Literal["srt", "vtt"]
Pause = Annotated[float, Field(ge=0, le=60)]


class Part(BaseModel):
    """What is said: plain text of one voice, a tagged script, or turns."""

    model_config = ConfigDict(extra="forbid", str_max_length=20_000_000)

    text: str | None = Field(None, description="one voice; a blank line begins a paragraph")
    script: str | None = Field(None, description="as the command line reads it")
    turns: list[DialogueTurn] | None = None


class Chapter(Part):
    """A part with a title; M4B files show it."""

    title: Annotated[str, Field(min_length=1, max_length=200)]


class JobRequest(Part, Manner):
    """One of `text`, `script`, `turns` and `chapters`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "title": "A short book",
                    "chapters": [{"title": "One", "text": "It began.\n\nIt went on."}],
                    "voice": "af_heart",
                    "formats": ["m4b"],
                    "subtitles": ["srt"],
                }
            ]
        },
    )

    model: str = "fireredtts2"
    title: Annotated[str, Field(max_length=200)] | None = None
    chapters: Annotated[list[Chapter], Field(min_length=1, max_length=1_000)] | None = None
    voice: str | None = Field(None, description="of `text`")
    voices: dict[str, str] = Field(default_factory=dict, description="by speaker")
    formats: Annotated[list[JobFormat], Field(min_length=1, max_length=4)] = ["mp3"]
    subtitles: Annotated[list[SubtitleFormat], Field(max_length=2)] = []
    stems: bool = False
    paragraph_pause_s: Pause = 0.6
    chapter_pause_s: Pause = 1.5
