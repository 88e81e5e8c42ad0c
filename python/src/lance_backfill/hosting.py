"""The worker's side of the protocol in Python, for `check` and for the tests."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_backfill.host.encoding import decode_batch, decode_schema, encode_batch, encode_schema
from lance_backfill.host.frames import FrameReader, FrameWriter, Header, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LAUNCH = Path(__file__).parent / "launch.py"


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
    """A host process; to be used as a context manager, which ends it."""

    def __init__(self, *flags: str, python: str = sys.executable) -> None:
        """Starts the process with these flags of the interpreter."""
        self._process = subprocess.Popen(
            [python, *flags, str(_LAUNCH)],
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

        Raises:
            StartFailed: the host said `failed`.
            HostDied: it said nothing.
        """
        header = {
            "type": "start",
            "protocol": 1,
            "mode": mode,
            "entrypoint": entrypoint,
            "code": None if code is None else str(code),
            "site": site,
            "secrets": dict(secrets or {}),
            "env": dict(env or {}),
            "retry_on": None if retry_on is None else list(retry_on),
            "marks": None if marks is None else str(marks),
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
