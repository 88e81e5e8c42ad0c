"""The worker's side of the protocol in Python, for `check` and for the tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_backfill.host.encoding import decode_batch, decode_schema, encode_batch, encode_schema
from lance_backfill.host.errors import refusal
from lance_backfill.host.frames import FrameReader, FrameWriter, Header, ProtocolError
from lance_backfill.host.marks import ROW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_PACKAGE = Path(__file__).absolute().parent

_MIB = 2**20

# As often as a worker looks: a runaway allocation gets about this far beyond its limit.
_LOOK_S = 0.01


class HostDied(Exception):
    """The host ended where it should have answered; its exit status is `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the host died with status {code}")
        self.code = code


class StartFailed(Exception):
    """The host could not import or instantiate the function; `error` says why."""

    def __init__(self, error: Header) -> None:
        super().__init__(f"{error['kind']}: {error['message']}")
        self.error = error


class Host:
    """A host process; to be used as a context manager, which ends it.

    It finds what it would find at a worker: the same variables, and an empty folder to work in.
    """

    def __init__(
        self,
        *flags: str,
        python: str = sys.executable,
        cpus: float = 1.0,
        dies_with_thread: bool = False,
    ) -> None:
        """Starts the process.

        Args:
            *flags: For the interpreter.
            python: The interpreter.
            cpus: Cores that it may keep busy.
            dies_with_thread: Whether the system kills it when this thread ends, however it ends.
        """
        environment = base_environment(os.environ, cpus)
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        if dies_with_thread:
            environment["LANCE_BACKFILL_DIE_WITH_PARENT"] = "1"
        self._folder = tempfile.TemporaryDirectory(
            prefix="lance-backfill-host-", ignore_cleanup_errors=True
        )
        self._process = subprocess.Popen(
            [python, *flags, "-X", "utf8", str(_PACKAGE / "launch.py")],
            env=environment,
            cwd=self._folder.name,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None  # noqa: S101 - For the type checker.
        assert self._process.stdout is not None  # noqa: S101
        self.reader = FrameReader(self._process.stdout.fileno())
        self.writer = FrameWriter(self._process.stdin.fileno())
        self._printed: list[bytes] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._calls = 0
        self._has_inputs = False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What the function and its libraries have printed; all of it once the host has ended."""
        return b"".join(self._printed).decode(errors="replace")

    def start(
        self,
        entrypoint: str,
        code: Path | str | None,
        *,
        inputs: pa.Schema | None = None,
        value: pa.DataType | None = None,
        mode: str = "run",
        site: str | None = None,
        marks: Path | str | None = None,
        secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        retry_on: Sequence[str] | None = None,
    ) -> tuple[Header, pa.DataType | None]:
        """Starts the function; the frame `ready`, and in mode `describe` the type of the results.

        Paths may be relative to the folder of the caller, which is not the host's.

        Raises:
            StartFailed: the host said `failed`.
            HostDied: it said nothing.
        """
        header = {
            "type": "start",
            "protocol": 1,
            "mode": mode,
            "entrypoint": entrypoint,
            "code": _absolute(code),
            "site": _absolute(site),
            "secrets": dict(secrets or {}),
            "env": dict(env or {}),
            "retry_on": None if retry_on is None else list(retry_on),
            "marks": _absolute(marks),
        }
        self._has_inputs = bool(inputs)
        body: list[Any] = []
        if mode == "run":
            body = encode_schema(pa.schema([*(inputs or []), pa.field("value", value)]))
        self.send(header, *body)
        ready, described = self.receive()
        if ready["type"] == "failed":
            raise StartFailed(ready)
        kind = None if described is None else decode_schema(described).field("value").type
        return ready, kind

    def call(self, batch: pa.RecordBatch) -> Iterator[tuple[Header, pa.Array | None]]:
        """Calls the function with a batch; each frame of the answer, with the values of a `part`.

        Raises:
            HostDied: the host ended before it had answered.
        """
        self._calls += 1
        header = {"type": "call", "id": self._calls, "rows": batch.num_rows, "batch": "check"}
        # A batch without columns would have no rows.
        self.send(header, *([encode_batch(batch)] if self._has_inputs else []))
        while True:
            answer, body = self.receive()
            values = None if body is None else decode_batch(body)
            yield answer, None if values is None else values.column(0)
            if answer["type"] in ("done", "raised"):
                return

    def send(self, header: Header, *body: Any) -> None:
        """Writes a frame; that the host is gone is found when it should answer."""
        with contextlib.suppress(BrokenPipeError):
            self.writer.write(header, *body)

    def receive(self) -> tuple[Header, Any]:
        """Waits for a frame.

        Raises:
            HostDied: there will be none.
        """
        try:
            frame = self.reader.read()
        except ProtocolError:
            frame = None
        if frame is None:
            raise HostDied(self._process.wait())
        return frame

    def close(self, timeout_s: float = 10.0) -> int:
        """Ends stdin, waits for the host to end, and returns its exit status."""
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.close()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._listener.join(1.0)
        self._process.stdout.close()
        self._folder.cleanup()
        return code

    def kill(self) -> None:
        """Kills the process."""
        self._process.kill()

    def _listen(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None  # noqa: S101
        with stderr:
            while chunk := stderr.read1(65536):  # type: ignore[attr-defined]
                self._printed.append(chunk)

    def __enter__(self) -> Host:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watch:
    """Kills a host that exceeds a limit while it is at work; a context manager around that work.

    Resident memory is looked at where there is `/proc`.  A row (of a batched function: a call) that
    takes too long shows by marks that do not move.
    """

    def __init__(
        self,
        host: Host,
        marks: memoryview[int],
        memory_mib: int | None = None,
        row_timeout_s: float | None = None,
    ) -> None:
        self.verdict: Header | None = None
        """Why the host was killed, if it was."""
        self._host = host
        self._marks = marks
        self._memory_mib = memory_mib
        self._row_timeout_s = row_timeout_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        at, since = self._marks[ROW], time.monotonic()
        while self.verdict is None and not self._over.wait(_LOOK_S):
            if self._marks[ROW] != at:
                at, since = self._marks[ROW], time.monotonic()
            self.verdict = self._over_memory() or self._over_time(time.monotonic() - since)
        # What is done meanwhile is done; the next call is watched anew.
        if not self._over.is_set():
            self._host.kill()

    def _over_memory(self) -> Header | None:
        if self._memory_mib is None:
            return None
        found = _resident_bytes(self._host.pid)
        if found <= self._memory_mib * _MIB:
            return None
        message = f"the host had {found // _MIB} MiB of memory, {self._memory_mib} are allowed"
        return refusal("out_of_memory", message)

    def _over_time(self, still_s: float) -> Header | None:
        if self._row_timeout_s is None or still_s <= self._row_timeout_s:
            return None
        return refusal("timeout", f"longer than {self._row_timeout_s:g} s")

    def __enter__(self) -> None:
        if self._memory_mib is not None or self._row_timeout_s is not None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()


def base_environment(own: Mapping[str, str], cpus: float) -> dict[str, str]:
    """What a host sees of the environment of the process that starts it."""
    base = {}
    for line in (_PACKAGE / "host" / "environment.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, equals, _ = line.partition("=")
        if equals:
            base[name] = str(max(1, int(cpus)))
        elif name.endswith("*"):
            base.update({key: own[key] for key in own if key.startswith(name[:-1])})
        elif name in own:
            base[name] = own[name]
    return base


def _absolute(path: Path | str | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 where the system does not tell, or the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    return 0
