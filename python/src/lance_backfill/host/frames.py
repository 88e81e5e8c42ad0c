"""Frames: what both sides of the protocol read from and write to a pair of pipes."""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Header = dict[str, Any]

_MAGIC = b"LBH1"
_PREAMBLE = struct.Struct("<4sIQ")

_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

# A call of a few rows fits and so costs one read.  It is also what a pipe holds by default.
_BUFFER_BYTES = 64 * 1024

# Linux: what one write may hand over without waiting for the reader.  A pipe of the default size
# takes a large body in ten times as many switches between the processes.
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1024 * 1024


class ProtocolError(Exception):
    """The other side sent what is not a frame, or stopped in the middle of one."""


class FrameReader:
    """Reads frames from a descriptor; the bodies are in memory that nothing else uses."""

    def __init__(self, descriptor: int, allocate: Callable[[int], Any] = bytearray) -> None:
        """Takes the descriptor and what makes the buffer of a body, given its bytes."""
        self.descriptor = descriptor
        self.allocate = allocate
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = 0
        self._end = 0
        _widen(descriptor)

    def read(self) -> tuple[Header, Any] | None:
        """Waits for a frame: its header, and its body or None; None where the stream ended.

        Raises:
            ProtocolError: the bytes are no frame, or end within one.
        """
        if self._start == self._end and not self._refill():
            return None
        magic, header_bytes, body_bytes = _PREAMBLE.unpack(self._take(_PREAMBLE.size))
        if magic != _MAGIC:
            raise ProtocolError(f"a frame starts with {magic!r}, not {_MAGIC!r}")
        try:
            header = json.loads(self._take(header_bytes).decode())
        except ValueError as error:
            raise ProtocolError(f"the header of a frame is not JSON: {error}") from error
        if not isinstance(header, dict):
            raise ProtocolError("the header of a frame is not a JSON object")
        if body_bytes == 0:
            return header, None
        body = self.allocate(body_bytes)
        self._fill(memoryview(body).cast("B"))
        return header, body

    def _take(self, length: int) -> bytearray:
        taken = bytearray(length)
        self._fill(memoryview(taken))
        return taken

    def _fill(self, target: memoryview) -> None:
        """Fills the target; what is larger than the buffer is read past it."""
        filled, length = 0, len(target)
        while filled < length:
            held = self._end - self._start
            if held:
                step = min(held, length - filled)
                target[filled : filled + step] = self._buffer[self._start : self._start + step]
                self._start += step
            elif length - filled >= _BUFFER_BYTES:
                step = os.readv(self.descriptor, [target[filled:]])
                if step == 0:
                    raise ProtocolError("the stream ended within a frame")
            else:
                step = 0
                if not self._refill():
                    raise ProtocolError("the stream ended within a frame")
            filled += step

    def _refill(self) -> bool:
        self._start = 0
        self._end = os.readv(self.descriptor, [self._buffer])
        return self._end > 0


class FrameWriter:
    """Writes frames to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor."""
        self.descriptor = descriptor
        _widen(descriptor)

    def write(self, header: Header, *body: Any, then: Header | None = None) -> None:
        """Writes a frame, and at once with it another one without a body.

        The body may be in several pieces, which are not copied.

        Raises:
            OSError: the other side is gone.
        """
        pieces = [memoryview(piece).cast("B") for piece in body]
        pieces.insert(0, memoryview(_head(header, sum(map(len, pieces)))))
        if then is not None:
            pieces.append(memoryview(_head(then, 0)))
        self._write_all(pieces)

    def _write_all(self, pieces: list[memoryview]) -> None:
        while pieces:
            written = os.writev(self.descriptor, pieces)
            while pieces and written >= len(pieces[0]):
                written -= len(pieces.pop(0))
            if written:
                pieces[0] = pieces[0][written:]


def _head(header: Header, body_bytes: int) -> bytes:
    # A message may hold a lone surrogate, which UTF-8 has no bytes for.
    text = _encode_json(header).encode(errors="backslashreplace")
    return _PREAMBLE.pack(_MAGIC, len(text), body_bytes) + text


def _widen(descriptor: int) -> None:
    try:
        import fcntl

        fcntl.fcntl(descriptor, _F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, OSError):
        # Not Linux, not a pipe, or the user's share of pipe memory is used up: slower, not wrong.
        pass
