"""A Ray head on this machine, reachable from this machine alone, and stopped with its owner."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .guard import marked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

VERSION = "2.60.0"
RAY_VARIABLE = "LANCE_BACKFILL_RAY"
# All processes of a head have it, also those that left its session.
_MARK = "LANCE_BACKFILL_RAY_HEAD"

# What `ray start` writes when all of its processes run.
_STARTED = "Ray runtime started"
_START_S = 120.0
_TAIL = 2000
_OBJECT_STORE_BYTES = 128 * 1024 * 1024
_PACKAGE = Path(__file__).absolute().parent.parent
_GUARD = str(Path(__file__).absolute().with_name("guard.py"))


class HeadFailed(Exception):
    """The head did not start; the message says why."""


def find_ray() -> str:
    """The program `ray`: of `LANCE_BACKFILL_RAY`, of this interpreter, or on PATH.

    Raises:
        HeadFailed: there is none.
    """
    named = os.environ.get(RAY_VARIABLE)
    candidates = [named] if named else [str(Path(sys.executable).parent / "ray"), "ray"]
    for candidate in candidates:
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise HeadFailed(
        f"there is no program {named or 'ray'}: pip install 'ray[default]=={VERSION}', "
        f"or name it by {RAY_VARIABLE}"
    )


class LocalHead:
    """A head with ports, a token and a folder of its own; to be used as a context manager.

    Attributes:
        address: Where the dashboard and the Jobs API answer.
        token: What they ask for.
    """

    def __init__(
        self,
        *,
        gpus: int | None = None,
        cpus: int | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.token = secrets.token_hex(32)
        self._program = find_ray()
        self._place()
        self._mark = f"{_MARK}={secrets.token_hex(8)}"
        self._counts = [
            f"--num-{kind}={count}"
            for kind, count in (("gpus", gpus), ("cpus", cpus))
            if count is not None
        ]
        self._variables = dict(variables or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def token_file(self) -> Path:
        """A file that holds the token, and is gone with the head."""
        return self._folder / "token"

    def environment(self) -> dict[str, str]:
        """Variables by which a process of this machine joins the head, as `ray.init` does."""
        return {
            "RAY_ADDRESS": f"127.0.0.1:{self._ports[1]}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            # Without it Ray takes the machine's own address, and listens on all of them.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            # Workers are as important as what else runs here; without it they have what is left.
            "RAY_worker_niceness": "0",
        }

    def start(self) -> None:
        """Starts it, and waits until it answers; on a busy machine Ray may give up the first time.

        Raises:
            HeadFailed: it did not.
        """
        try:
            self._start()
        except HeadFailed:
            self.stop()
            self._place()
            self._start()

    def _place(self) -> None:
        """Finds ports and a folder: others may have taken the former since they were free."""
        self._ports = _free_ports(6)
        self.address = f"http://127.0.0.1:{self._ports[0]}"
        # Short: Ray puts sockets below it, whose paths may have 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="lb-ray-"))

    def _start(self) -> None:
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token)
        dashboard, gcs, agent, metrics, client, runtime_env = self._ports
        command = [
            self._program,
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            f"--port={gcs}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}",
            f"--dashboard-agent-listen-port={agent}",
            f"--metrics-export-port={metrics}",
            f"--ray-client-server-port={client}",
            f"--runtime-env-agent-port={runtime_env}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            f"--temp-dir={self._folder / 'r'}",
            "--disable-usage-stats",
            *self._counts,
        ]
        guard = [sys.executable, "-I", "-S", _GUARD, str(self._folder), self._mark]
        self._process = subprocess.Popen(
            [*guard, *command],
            stdin=subprocess.PIPE,
            env=self._environment(),
            # Ctrl-C, and what else ends a group of processes, is the owner's to handle.
            start_new_session=True,
        )
        give_up = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None:
                raise HeadFailed(f"the Ray head ended as it started:\n{self._log()[-_TAIL:]}")
            if time.monotonic() > give_up:
                raise HeadFailed(f"the Ray head does not answer:\n{self._log()[-_TAIL:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stops its processes, and no others; what does not end in time is killed."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, path: str) -> tuple[int, Any]:
        """What its dashboard answers: the code, and the JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self._ports[0], timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def processes(self) -> list[int]:
        """What runs of it, workers included; only Linux tells."""
        return marked(self._mark)

    def _environment(self) -> dict[str, str]:
        packages = self._folder / "packages"
        packages.mkdir()
        # Ray's Python need not be the one that this package is installed in.
        (packages / _PACKAGE.name).symlink_to(_PACKAGE)
        around = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        programs = [str(Path(self._program).absolute().parent), os.environ.get("PATH", os.defpath)]
        modules = [str(packages), *filter(None, [os.environ.get("PYTHONPATH")])]
        joined = self.environment()
        # Processes of the head are told its address by itself.
        del joined["RAY_ADDRESS"]
        return {
            **around,
            # A job's `python` is Ray's.
            "PATH": os.pathsep.join(programs),
            "PYTHONPATH": os.pathsep.join(modules),
            **self._variables,
            **joined,
        }

    def _answers(self) -> bool:
        """Whether it has started and takes jobs.

        Its dashboard answers earlier, before there is a node; the agent that runs jobs does later.
        """
        if _STARTED not in self._log():
            return False
        try:
            with socket.create_connection(("127.0.0.1", self._ports[2]), timeout=5):
                return self.ask("/api/version")[0] == http.client.OK
        except (http.client.HTTPException, OSError, ValueError):
            return False

    def _log(self) -> str:
        try:
            return (self._folder / "log").read_text(errors="replace")
        except OSError as error:
            return str(error)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now; all are held until the last one is found, so that they differ."""
    with contextlib.ExitStack() as held:
        ports = []
        for _ in range(count):
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(listener.getsockname()[1])
        return ports
