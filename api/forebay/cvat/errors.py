"""What goes wrong with CVAT."""

from __future__ import annotations

from forebay.errors import ForebayError


class CvatError(ForebayError):
    """CVAT refuses something, cannot be reached, or lacks what it needs; the message says what to do."""


class CvatAnswerError(CvatError):
    """CVAT answered a request with an error.

    Attributes:
        status: the HTTP status.
        said: what the answer says, in CVAT's words.
    """

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said
