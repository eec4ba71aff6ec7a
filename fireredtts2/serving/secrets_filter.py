"""Keys never reach a log: every line is looked through as it is written, tracebacks too."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

HIDDEN = "[key]"
#: Loggers with handlers of their own.
NAMES = (None, "uvicorn", "uvicorn.access", "uvicorn.error", "fireredtts2")


class HidingFormatter(logging.Formatter):
    """Another formatter's lines without secrets.

    Args:
        inner: the other one.
        secrets: what must not be seen.
    """

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self.inner = inner
        longest_first = sorted(secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def format(self, record: logging.LogRecord) -> str:
        return self._pattern.sub(HIDDEN, self.inner.format(record))


def hide(secrets: Iterable[str]) -> None:
    """Puts the formatter before every handler there is; call it when logging is set up."""
    secrets = tuple(secrets)
    if not secrets:
        return
    for name in NAMES:
        for handler in logging.getLogger(name).handlers:
            inner = handler.formatter or logging.Formatter()
            if isinstance(inner, HidingFormatter):
                inner = inner.inner
            handler.setFormatter(HidingFormatter(inner, secrets))
