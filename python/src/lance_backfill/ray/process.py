"""The worker's process: it is told to stop when its actor ends, and holds the lock of its share."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_STOPS_WITH = str(Path(__file__).absolute().with_name("stops_with.py"))
_LOOK_S = 0.1
_TAIL_BYTES = 4096


def start(
    arguments: Sequence[str], variables: Mapping[str, str], lock: int
) -> subprocess.Popen[bytes]:
    """Starts the worker in a group of its own; the lock is held as long as any of it lives.

    The system tells it to stop when the thread that called this ends: it must be one that lasts as
    long as the actor.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-S", _STOPS_WITH, str(os.getpid()), *arguments],
        stdin=subprocess.DEVNULL,
        # Where the actor's own output goes: a file of Ray's, which outlives the actor.
        stdout=None,
        stderr=None,
        env=dict(variables),
        start_new_session=True,
        pass_fds=(lock,),
    )


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signals what the worker started, too; nobody may be left, which is as good."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


class ShareLock:
    """A lock that the worker before this one holds until it, and its hosts, have ended.

    Ray gives the share away when an actor dies; the worker of that actor may still finish a batch
    on the device.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.file = -1

    def take(self, patience_s: float, stopped: Callable[[], bool]) -> bool:
        """Waits for it; whoever holds it for longer than that is killed.

        Returns:
            Whether it was taken; not if it was `stopped` meanwhile, or could not be.
        """
        self.release()
        self.file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        give_up = time.monotonic() + patience_s
        while not self._try():
            if stopped():
                return False
            if time.monotonic() > give_up:
                self._kill_holders()
                time.sleep(1)
                return self._try()
            time.sleep(_LOOK_S)
        return True

    def release(self) -> None:
        """Lets go of it here; the worker still holds it."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def _try(self) -> bool:
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _kill_holders(self) -> None:
        mine = os.getpid()
        for open_file in Path("/proc").glob("[0-9]*/fd/*"):
            # Processes of others, and those that have just ended, cannot be looked into.
            with contextlib.suppress(OSError):
                holder = int(open_file.parts[2])
                if holder != mine and open_file.samefile(self._path):
                    os.kill(holder, signal.SIGKILL)


class Tail:
    """What was written to a descriptor since this was made, if it is a file."""

    def __init__(self, descriptor: int) -> None:
        self._path = Path(f"/proc/self/fd/{descriptor}")
        self._start = self._size()

    def last_words(self) -> str:
        """The last line that says something, as a sentence where it is a line of a JSON log."""
        if not self._path.is_file():
            return ""
        try:
            with self._path.open("rb") as file:
                file.seek(max(self._start, self._size() - _TAIL_BYTES))
                lines = file.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return next((in_words(line) for line in reversed(lines) if line.strip()), "")

    def _size(self) -> int:
        try:
            return self._path.stat().st_size if self._path.is_file() else 0
        except OSError:
            return 0


def in_words(line: str) -> str:
    """What a line of a log says: of JSON its message, and the error if it has one."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line.strip().removeprefix("error: ")
    if not isinstance(fields, dict):
        return line.strip()
    said = [str(fields[key]) for key in ("message", "error", "reason") if fields.get(key)]
    return ": ".join(said) or line.strip()
