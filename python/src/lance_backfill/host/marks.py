"""Marks: the row that a host is at, kept where the worker finds it after the host's death."""

from __future__ import annotations

import mmap
from pathlib import Path

CALL, ROW = 0, 1
"""Places in the marks: the call's id, and the row plus one (0: not in the function)."""

_BYTES = 16


def open_marks(path: str | None) -> memoryview[int]:
    """Maps the file into memory; without one, marks that nobody sees.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is shorter than the marks.
    """
    if path is None:
        return memoryview(bytearray(_BYTES)).cast("Q")
    with Path(path).open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), _BYTES)).cast("Q")
