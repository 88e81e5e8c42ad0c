"""What is printed: it leaves line by line, and a call leaves no half of a line behind."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, ClassVar


class _Output(io.FileIO):
    """Descriptor 1 or 2, both of which lead to the worker's log."""

    within_line: ClassVar[bool] = False

    def write(self, data: Any) -> int:
        """Writes bytes and notes whether they end a line."""
        written = super().write(data)
        if written:
            _Output.within_line = data[written - 1] != ord("\n")
        return written


def prepare_streams() -> None:
    """What is printed never fails because of a character, and goes out with each end of a line.

    That includes the carriage returns of progress bars.
    """
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        output = _Output(descriptor, "w", closefd=False)
        output.name = f"<{name}>"
        stream = io.TextIOWrapper(
            io.BufferedWriter(output),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def end_line() -> None:
    """Sends what is printed so far, and ends its line: the worker logs lines, each with its batch.

    What did not go through Python's streams, as of a child process, is not known here.
    """
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        # The function may have closed or replaced it.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    if _Output.within_line:
        _Output.within_line = False
        with contextlib.suppress(OSError):
            os.write(2, b"\n")
