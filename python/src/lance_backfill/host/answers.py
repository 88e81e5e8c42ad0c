"""The way back to the worker, which is the host's alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lance_backfill.host.frames import FrameWriter
from lance_backfill.host.streams import end_line

if TYPE_CHECKING:
    from lance_backfill.host.frames import Header


class Answers(FrameWriter):
    """Writes a host's frames: from its own process only, and behind what was printed."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self._pid = os.getpid()

    def write(self, header: Header, *body: Any, then: Header | None = None) -> None:
        """Writes a frame, and at once with it another one; see `FrameWriter`."""
        self.end_child()
        # With the frame that ends a call the worker goes on to another batch.
        if (then or header)["type"] != "part":
            end_line()
        super().write(header, *body, then=then)

    def end_child(self, error: BaseException | None = None) -> None:
        """Ends the process if it is a child that the function forked and that came back out of it.

        It is a copy of the host, and would answer in its name.  What it meant to do it did not do
        to the end, which its status says, unless it left by `sys.exit(0)`.
        """
        if os.getpid() != self._pid:
            os._exit(0 if isinstance(error, SystemExit) and not error.code else 1)
