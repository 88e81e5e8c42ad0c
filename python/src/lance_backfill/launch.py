"""Starts a host: what the worker runs, as `PYTHON [-I -S] .../lance_backfill/launch.py`.

Its first act is to move the two ends of the protocol away from descriptors 0 and 1, so that nothing
which is imported or printed later can reach them.
"""

import os
import sys

_PR_SET_PDEATHSIG = 1


def _take_over_descriptors() -> tuple[int, int]:
    """Moves the protocol to descriptors of its own; what is printed goes where stderr goes."""
    from_worker, to_worker = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return from_worker, to_worker


def _find_the_package() -> None:
    """Makes `lance_backfill` importable, and its modules not under their bare names."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]  # noqa: PTH100
    sys.path.insert(0, os.path.dirname(here))  # noqa: PTH120


def _die_with(parent: int) -> None:
    """Lets the system kill this process when its worker ends, if the worker asks for it.

    A thread watches the worker, too (host/watch.py), but C code that keeps the interpreter to
    itself, as a regular expression does, keeps it from that thread as well.  The system goes by the
    thread that started this process, and so a worker whose threads come and go must not ask.
    """
    # It is taken away, so that no process of the function's asks for the same.
    asked = os.environ.pop("LANCE_BACKFILL_DIE_WITH_PARENT", None) == "1"
    if not asked or sys.platform != "linux":
        return
    try:
        # At the top they would find this package's `types` in place of Python's.
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    except (ImportError, OSError, AttributeError):
        return
    # It ended before it was said what should happen then.
    if os.getppid() != parent:
        os._exit(1)


# A child that the function starts by the `spawn` method imports this file under another name.
if __name__ == "__main__":
    started_by = os.getppid()
    descriptors = _take_over_descriptors()
    _find_the_package()
    _die_with(started_by)
    from lance_backfill.host.session import serve

    serve(*descriptors)
