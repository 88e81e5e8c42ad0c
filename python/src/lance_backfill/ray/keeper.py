"""Keeps one worker running until it is told to drain; what an actor does, without Ray."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from .command import FIRST_PAUSE_S, Orders, command, next_pause, variables
from .decisions import DRAINED, DRAINING, STARTING
from .process import ShareLock, Tail, signal_group, start

DRAIN_VARIABLE = "LANCE_BACKFILL_DRAIN"
_DRAIN_FOLDER = "/run/drain"

WORKING = "working"
WAITING = "waiting"
LEAVING = "leaving"

# The worker ends by itself within its grace; what takes so much longer hangs.
_SPARE_S = 30.0
_LOOK_S = 0.2


@dataclasses.dataclass
class Report:
    """What an actor says of itself.

    Attributes:
        state: `starting`, `working`, `waiting` to start it again, `leaving` with its pod,
            `draining`, or `drained`.
        restarts: How often the worker was started again since the actor began.
    """

    worker: str
    state: str = STARTING
    actor_pid: int = 0
    worker_pid: int | None = None
    devices: str | None = None
    pod: str | None = None
    restarts: int = 0
    last_exit: int | None = None
    last_error: str | None = None


class Keeper:
    """A thread that starts the worker, waits for its end, and starts it again."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._told = threading.Event()
        self._report = Report(
            worker=orders.name,
            actor_pid=os.getpid(),
            devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
            pod=os.environ.get("RAY_CLOUD_INSTANCE_ID"),
        )
        folder = os.environ.get(DRAIN_VARIABLE, _DRAIN_FOLDER)
        self._drain_folder = Path(folder) if Path(folder).is_dir() else None
        if self._drain_folder is not None:
            # Whom the pod's hook waits for.
            (self._drain_folder / f"worker-{orders.name}").touch()
        runtime = Path(tempfile.gettempdir(), f"lance-backfill-{os.getuid()}")
        self._lock = ShareLock(runtime / f"{orders.name}.lock")
        threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def report(self) -> dict[str, Any]:
        """What it does now."""
        return dataclasses.asdict(self._report)

    def drain(self) -> None:
        """Lets the worker finish, and starts it no more."""
        if self._report.state != DRAINED:
            self._report.state = DRAINING
        self._told.set()

    def _run(self) -> None:
        try:
            self._keep()
        except BaseException as error:
            # Nobody would keep the worker running: the actor starts anew, and says why in its log.
            os.write(2, f"the keeper failed: {error!r}\n".encode())
            os._exit(1)

    def _keep(self) -> None:
        pause = 0.0
        while not self._told.is_set():
            if self._is_leaving():
                self._leave()
                continue
            lasted = self._run_once()
            pause = next_pause(pause, lasted)
            if self._told.is_set() or self._is_leaving():
                continue
            self._report.state = WAITING
            self._report.restarts += 1
            self._told.wait(pause)
        self._report.state = DRAINED

    def _run_once(self) -> float:
        """Runs the worker to its end, and says for how many seconds."""
        report = self._report
        if not self._lock.take(self._orders.grace_s + _SPARE_S, self._told.is_set):
            if not self._told.is_set():
                report.last_error = "the worker before this one does not end: its device is taken"
            return 0.0
        arguments = command(
            self._orders, os.environ, str(self._drain_folder) if self._drain_folder else None
        )
        began, tail = time.monotonic(), Tail(2)
        try:
            process = start(arguments, variables(self._orders, os.environ), self._lock.file)
        except OSError as error:
            report.last_error = f"cannot start {arguments[0]}: {error.strerror}"
            return 0.0
        finally:
            self._lock.release()
        report.worker_pid = process.pid
        if not self._told.is_set():
            report.state = WORKING
        self._wait(process)
        report.worker_pid, report.last_exit = None, process.returncode
        if process.returncode != 0:
            report.last_error = tail.last_words() or f"the worker ended with {process.returncode}"
        return time.monotonic() - began

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for its end, and sees to it once it is told to drain."""
        give_up = None
        while process.poll() is None:
            if give_up is None and self._told.is_set():
                give_up = time.monotonic() + self._orders.grace_s + _SPARE_S
                # The worker alone: its hosts finish what it waits for.
                process.send_signal(signal.SIGTERM)
            if give_up is not None and time.monotonic() > give_up:
                signal_group(process, signal.SIGKILL)
                process.wait()
                return
            try:
                process.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                continue

    def _is_leaving(self) -> bool:
        """Whether the pod was told to go."""
        return self._drain_folder is not None and (self._drain_folder / "request").exists()

    def _leave(self) -> None:
        """Says for a worker that is not running that it has finished."""
        if self._drain_folder is not None:
            self._report.state = LEAVING
            done = self._drain_folder / f"done-{self._orders.name}"
            if not done.exists():
                done.touch()
        self._told.wait(FIRST_PAUSE_S)
