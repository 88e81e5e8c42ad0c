"""Starts a Ray head, and ends it with its owner, however that ends.

`PYTHON -I -S .../guard.py FOLDER MARK COMMAND...`: when the owner closes this one's input, as the
system does for one that was killed, the head is stopped and its folder removed.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_LOOK_S = 0.2
_STOP_S = 8.0
_KILL_S = 10.0


def marked(mark: str) -> list[int]:
    """Processes with this in their environment; only Linux tells."""
    wanted = mark.encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parts[2]))
    return found


def main() -> int:
    """Returns when the head has ended."""
    folder, mark, *command = sys.argv[1:]
    told = []
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: told.append(1))
    name, _, value = mark.partition("=")
    with Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, name: value},
            start_new_session=True,
        )
    while process.poll() is None:
        if told or (select.select([0], [], [], _LOOK_S)[0] and not os.read(0, 1)):
            _stop(process, mark)
            shutil.rmtree(folder, ignore_errors=True)
            return 0
    _stop(process, mark)
    return 1


def _stop(process: subprocess.Popen[bytes], mark: str) -> None:
    """Stops what belongs to the head and nothing else; what does not end in time is killed."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    give_up = time.monotonic() + _KILL_S
    while (left := marked(mark)) and time.monotonic() < give_up:
        for one in left:
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        time.sleep(_LOOK_S)
        process.poll()


if __name__ == "__main__":
    sys.exit(main())
