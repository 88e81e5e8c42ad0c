"""Ends the process when its worker is gone, or when it does not manage to end by itself."""

from __future__ import annotations

import os
import threading
import time

_INTERVAL_S = 1.0


def exit_with(parent: int) -> None:
    """From now on the process ends within two seconds of the end of its parent.

    The end of stdin says the same, but only to a host that is not busy in a call.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_INTERVAL_S)
        os._exit(1)

    threading.Thread(target=watch, name="lance-backfill-watch", daemon=True).start()


def exit_within(seconds: float, code: int) -> None:
    """Ends the process after this time, whatever threads and exit handlers of the user's do."""

    def wait() -> None:
        time.sleep(seconds)
        os._exit(code)

    threading.Thread(target=wait, name="lance-backfill-exit", daemon=True).start()
