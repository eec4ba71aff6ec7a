"""What can go wrong with a request that was right."""

from __future__ import annotations


class RequestFailedError(RuntimeError):
    """The engine met an error while it made this request; others were not touched."""
