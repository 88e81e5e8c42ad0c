"""Starts a host: what the worker runs, as `PYTHON [-I -S] .../lance_backfill/launch.py`.

Its first act is to move the two ends of the protocol away from descriptors 0 and 1, so that nothing
which is imported or printed later can reach them.
"""

import os
import sys


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


# A child that the function starts by the `spawn` method imports this file under another name.
if __name__ == "__main__":
    descriptors = _take_over_descriptors()
    _find_the_package()
    from lance_backfill.host.session import serve

    serve(*descriptors)
