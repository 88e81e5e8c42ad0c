"""A run of the binary: started, waited for, interrupted, and what it said."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import tempfile
import threading
import weakref
from typing import TYPE_CHECKING, Any

from lance_backfill.pack.folders import WARNING

from .errors import BackfillError, BadInput, Cancelled
from .spelling import in_python

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

_BAD_INPUT = 2
_STOPPED = {128 + signal.SIGINT: "SIGINT", 128 + signal.SIGTERM: "SIGTERM"}
# The binary ends its own work within two seconds of a signal; what takes longer hangs.
_INTERRUPT_S = 10.0
# How a line of progress begins, of which this variable makes the binary write some each second.
_PROGRESS = '{"progress":'
_PROGRESS_VARIABLE = "LANCE_BACKFILL_PROGRESS"
_TAIL_BYTES = 4096

_log = logging.getLogger("lance_backfill")


class Child:
    """A process of the binary.

    Its output goes to files without a name, so that nobody has to read along, and so that a run in
    a session of its own goes on when this process ends.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        own_session: bool,
        variables: Mapping[str, str] | None = None,
        parameters: Collection[str] = (),
    ) -> None:
        self._parameters = parameters
        self._out, self._err = _nameless_file(self), _nameless_file(self)
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env={**os.environ, **(variables or {}), _PROGRESS_VARIABLE: "json"},
                start_new_session=own_session,
            )
        except OSError as error:
            raise BackfillError(f"cannot start {arguments[0]}: {error.strerror}") from None
        if own_session:
            # Whoever drops this object leaves no zombie, and hears no warning that it still runs.
            threading.Thread(target=self._process.wait, daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for its end, and says whether that came."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def interrupt(self) -> None:
        """Stops it as Ctrl-C does, and waits; what it had committed stays."""
        try:
            if self.is_running:
                self._process.send_signal(signal.SIGINT)
            if not self.wait(_INTERRUPT_S):
                self._process.kill()
        except BaseException:
            self._process.kill()
            raise
        finally:
            self._process.wait()

    @contextlib.contextmanager
    def interrupted_with_us(self) -> Iterator[None]:
        """Stops it whatever ends the block early."""
        try:
            yield
        except BaseException:
            self.interrupt()
            raise

    def notes(self) -> list[str]:
        """The lines that it has written to stderr for people."""
        lines = _read(self._err).splitlines()
        return [line for line in lines if not line.startswith(_PROGRESS)]

    def rows(self) -> tuple[int, int] | None:
        """Rows that it has computed, and those to compute; None if it has not told yet."""
        for line in reversed(_read(self._err, last=_TAIL_BYTES).splitlines()):
            if line.startswith(_PROGRESS) and line.endswith("}"):
                told = json.loads(line)["progress"]
                return told["rows_done"], told["rows_total"]
        return None

    def result(self) -> Any:
        """Its document, after its end.

        Raises:
            BadInput: it exited with 2.
            Cancelled: the job was called off.
            BackfillError: it exited with anything else but 0.
        """
        code = self._process.wait()
        text = _read(self._out)
        try:
            document = json.loads(text) if text else None
        except ValueError:
            document = None
        if code == 0 and document is not None:
            for note in self.notes():
                log_note(note)
            return document
        raise _error(code, document, self.notes(), self._parameters)


def log_note(note: str) -> None:
    """Logs what the binary or packing has told, as a warning if it is one."""
    plain = note.removeprefix(WARNING)
    _log.log(logging.INFO if plain == note else logging.WARNING, plain)


def _nameless_file(owner: object) -> int:
    """A file that is gone when its owner and the child are."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    weakref.finalize(owner, os.close, descriptor)
    return descriptor


def _read(descriptor: int, last: int | None = None) -> str:
    """What a file holds, or its last bytes; its offset is the child's, and stays."""
    size = os.fstat(descriptor).st_size
    start = 0 if last is None else max(0, size - last)
    return os.pread(descriptor, size - start, start).decode("utf-8", "replace")


def _error(
    code: int, document: Any, notes: list[str], parameters: Collection[str]
) -> BackfillError:
    fields = document if isinstance(document, dict) else {}
    detail = ""
    if "error" in fields:
        message, document = str(fields["error"]), None
    elif code < 0:
        message = (
            f"lance-backfill was ended by {signal.Signals(-code).name}; call it again to go on"
        )
    elif code in _STOPPED:
        message = f"lance-backfill was stopped by {_STOPPED[code]}; call it again to go on"
    elif stopped := _stopped(fields):
        message, _, detail = stopped.partition("\n")
    else:
        last = next((note for note in reversed(notes) if note.strip()), "")
        message = last.removeprefix("error: ") or f"lance-backfill exited with {code}"
    kind = BackfillError
    if code == _BAD_INPUT:
        kind = BadInput
    elif fields.get("job_state") == "cancelled":
        kind = Cancelled
    message = in_python(message, parameters)
    return kind(message, exit_code=code, result=document, detail=detail)


def _stopped(document: dict[str, Any]) -> str | None:
    """Why work on a column ended early, with the traceback below if there is one."""
    for column in document.get("columns", []):
        if "stopped" in column:
            return f"column '{column['column']}': {column['stopped']}"
    return None
