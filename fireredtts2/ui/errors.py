"""What goes wrong in the studio, said to its user."""

from __future__ import annotations


class StudioError(Exception):
    """What the page shows.

    Attributes:
        status: of the API's answer; 0 where there was none.
        code: of the API's error; "" without one.
        retry_after_s: when a server that is full wants to be asked again.
    """

    def __init__(
        self, message: str, status: int = 0, code: str = "", retry_after_s: float = 1.0
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after_s = status, code, retry_after_s
