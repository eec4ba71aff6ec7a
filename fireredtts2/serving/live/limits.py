"""What one live connection may take."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class LiveLimits:
    """Of one connection.

    Attributes:
        max_message_characters: of one message.
        max_contexts: spoken side by side.
        max_pending_characters: of text that waits to be spoken, in each context.
        idle_timeout_s: without a message, and with nothing to be spoken, before it is closed.
        pause_s: a writer that pauses so long is spoken as far as he came.
        max_errors: bad messages, before it is closed.
    """

    max_message_characters: int = 65_536
    max_contexts: int = 8
    max_pending_characters: int = 20_000
    idle_timeout_s: float = 300.0
    pause_s: float = 0.7
    max_errors: int = 20

    def __post_init__(self) -> None:
        for one in fields(self):
            if not getattr(self, one.name) > 0:
                raise ValueError(f"live: {one.name} {getattr(self, one.name)!r}: must be above 0")
