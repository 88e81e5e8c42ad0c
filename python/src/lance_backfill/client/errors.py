"""How calls of the binary end, if not well."""

from __future__ import annotations

from typing import Any


class BackfillError(Exception):
    """The binary said no, or what it was asked for failed; the message is its one line.

    Attributes:
        exit_code: What the binary exited with; negative if a signal ended it.
        result: What was done all the same: the document that it printed, or None.
        detail: More lines where there are some, such as the traceback of a function that cannot be
            called.  From Python 3.11 on they are shown below the message.
    """

    def __init__(
        self, message: str, *, exit_code: int = 1, result: Any = None, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.result = result
        self.detail = detail
        if detail and hasattr(self, "add_note"):
            self.add_note(detail)


class BadInput(BackfillError, ValueError):
    """What was asked for cannot be done, and nothing was changed: exit code 2."""

    def __init__(
        self, message: str, *, exit_code: int = 2, result: Any = None, detail: str = ""
    ) -> None:
        super().__init__(message, exit_code=exit_code, result=result, detail=detail)


class Cancelled(BackfillError):
    """Somebody called the job off; what it had finished counts."""
