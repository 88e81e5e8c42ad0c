"""Runs a program that is told to stop when the thread that started it ends.

`PYTHON -I -S .../stops_with.py PARENT PROGRAM [ARGUMENT...]`.  The system is asked for it by
a process of its own: nothing may be done between fork and exec of one with threads, such as Ray's.
A stop is no kill: a worker whose actor was killed finishes its batch.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Becomes the program."""
    parent, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM))
        # It ended before it was said what should happen then.
        if os.getppid() != int(parent):
            sys.exit(1)
    try:
        os.execvp(program, [program, *arguments])  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot start {program}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
