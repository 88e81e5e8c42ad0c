"""`check`, which runs a function on a sample in a host of its own, as a worker would."""

from __future__ import annotations

import os
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_backfill.function import declaration_of
from lance_backfill.host.errors import refusal
from lance_backfill.host.marks import ROW, open_marks
from lance_backfill.hosting import Host, HostDied, StartFailed, Watch
from lance_backfill.pack.functions import for_function
from lance_backfill.sample import batch_of

if TYPE_CHECKING:
    from lance_backfill.declaration import Declaration
    from lance_backfill.host.frames import Header

_ROWS_SHOWN = 10


@dataclass(frozen=True)
class Failure:
    """A row that has no value, or all rows of a batched call that raised.

    `row` is the place in the sample, of a batched call that of its first row.  `kind` is the name
    of an exception type, `wrong_type` or `wrong_length` for results that cannot be stored,
    `wrong_input`, or `crashed`, `timeout` or `out_of_memory` where the process ended or was ended.
    """

    row: int
    rows: int
    kind: str
    message: str
    traceback: str | None
    transient: bool
    rate_limited: bool
    retry_after_s: float | None


@dataclass(frozen=True)
class Checked:
    """What a function did with a sample."""

    values: pa.Array
    """One value a row of the sample, in the type that the column would have; NULL if it failed."""
    failures: list[Failure]
    """By row; empty if all is well."""
    log: str = field(repr=False)
    """What the function and its libraries printed."""
    seconds: float
    """Time that was spent in the function, without starting its process."""

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        failed = sum(failure.rows for failure in self.failures)
        lines = [f"{len(self)} rows of {self.values.type} in {self.seconds:.3g} s, {failed} failed"]
        shown = {
            row: failure
            for failure in self.failures
            for row in range(failure.row, min(failure.row + failure.rows, _ROWS_SHOWN))
        }
        for row in range(min(len(self.values), _ROWS_SHOWN)):
            failure = shown.get(row)
            said = f"{failure.kind}: {failure.message}" if failure else _short(self.values[row])
            lines.append(f"  {row}: {said}")
        if len(self.values) > _ROWS_SHOWN:
            lines.append(f"  ... {len(self.values) - _ROWS_SHOWN} more")
        return "\n".join(lines)


def check(function: Any, sample: Any) -> Checked:
    """Runs a function on a sample exactly as a host would, in a process of its own.

    Types, NULL, isolation, errors and output are those of a worker, except that nothing is tried
    twice and that a batched call which fails is not searched for the row at fault.  A process that
    dies or exceeds `row_timeout` or, on Linux, `memory` is started again for the rows behind.

    As at a worker the function works in a folder of its own, which is empty, and finds the
    variables of `env` and `secrets` in its environment, and few others.  The values of secrets
    come from the environment of the caller.

    Args:
        function: A function or class, decorated or with hints that say enough.
        sample: A list of values, or of tuples for several inputs; a dict of lists; or a table.

    Raises:
        TypeError: the function or sample cannot be used; the message says why.
        ValueError: the sample lacks an input, or a secret is not in the environment.
        StartFailed: the process could not import or instantiate the function.
        PackError: a function of a notebook or script has what cannot be packed.
    """
    declaration = declaration_of(function)
    batch = batch_of(sample, declaration)
    kind = declaration.output_type()
    with tempfile.TemporaryDirectory(prefix="lance-backfill-check-") as folder:
        entrypoint, code = for_function(function, Path(folder))
        run = _Run(declaration, entrypoint, code, batch, kind, Path(folder) / "marks")
        return run.all()


class _DeviceLost(Exception):
    """The host answered, and ends: the next rows need another one."""


class _Run:
    """A check in progress."""

    def __init__(
        self,
        declaration: Declaration,
        entrypoint: str,
        code: Path,
        batch: pa.RecordBatch,
        kind: pa.DataType,
        marks: Path,
    ) -> None:
        self._declaration = declaration
        self._entrypoint = entrypoint
        self._code = code if code.is_dir() else code.parent
        self._batch = batch
        self._kind = kind
        self._scalar = declaration.kind == "scalar"
        marks.write_bytes(bytes(16))
        self._marks_path = marks
        self._marks = open_marks(str(marks))
        # The sample's rows before this one are done.
        self._done = 0
        self._call_start = self._call_rows = 0
        self._killers: dict[int, tuple[int, Header]] = {}
        self._values: list[pa.Array] = []
        self._failures: list[Failure] = []
        self._log: list[str] = []
        self._busy_us = 0

    def all(self) -> Checked:
        """Starts hosts until all rows are done."""
        while True:
            host = Host(cpus=self._declaration.options.num_cpus or 1, dies_with_thread=True)
            try:
                self._start(host)
                while self._done < self._batch.num_rows:
                    self._step(host)
                break
            except HostDied as died:
                self._blame(died)
            except _DeviceLost:
                if self._done == self._batch.num_rows:
                    break
            finally:
                host.close()
                self._log.append(host.log)
        values = pa.concat_arrays([pa.nulls(0, self._kind), *self._values])
        return Checked(values, self._failures, "".join(self._log), self._busy_us / 1e6)

    def _start(self, host: Host) -> None:
        options = self._declaration.options
        inputs = self._batch.schema if self._declaration.inputs else None
        self._watch = Watch(host, self._marks, options.memory_mib)
        try:
            with self._watch:
                host.start(
                    self._entrypoint,
                    self._code,
                    inputs=inputs,
                    value=self._kind,
                    marks=self._marks_path,
                    secrets={name: _secret(name) for name in options.secrets or ()},
                    env=options.env,
                    retry_on=options.retry_on,
                )
        except HostDied as died:
            raise StartFailed(self._why(died)) from None

    def _step(self, host: Host) -> None:
        """Computes the next rows: a batch, or what is before a row that ends the process."""
        killer = self._killers.pop(self._done, None)
        if killer is not None:
            rows, error = killer
            self._fail(rows, error)
            return
        end = min((row for row in self._killers if row > self._done), default=self._batch.num_rows)
        size = None if self._scalar else self._declaration.options.batch_size
        batch = self._batch.slice(self._done, min(size or end, end - self._done))
        self._call_start, self._call_rows = self._done, batch.num_rows
        self._marks[ROW] = 0
        options = self._declaration.options
        self._watch = Watch(host, self._marks, options.memory_mib, options.row_timeout_s)
        with self._watch:
            for answer, values in host.call(batch):
                self._take(answer, values)

    def _take(self, answer: Header, values: pa.Array | None) -> None:
        if answer["type"] == "part":
            self._busy_us += answer["busy_us"]
            self._values.append(values)
            self._done += answer["rows"]
            for error in answer["failed"]:
                self._failures.append(_failure(self._call_start + error["row"], 1, error))
        elif answer["type"] == "raised":
            self._fail(1 if self._scalar else self._call_rows, answer)
            if answer.get("device_lost"):
                raise _DeviceLost

    def _blame(self, died: HostDied) -> None:
        """Notes the row at which the process ended; those before it are computed again."""
        error = self._why(died)
        if not self._scalar:
            self._killers[self._done] = (self._call_rows, error)
        elif self._marks[ROW]:
            self._killers[self._call_start + self._marks[ROW] - 1] = (1, error)
        else:  # Between two rows; without blame for one of them this would have no end.
            self._killers[self._done] = (1, error)

    def _why(self, died: HostDied) -> Header:
        return self._watch.verdict or refusal("crashed", f"the process {_how_it_ended(died.code)}")

    def _fail(self, rows: int, error: Header) -> None:
        self._failures.append(_failure(self._done, rows, error))
        self._values.append(pa.nulls(rows, self._kind))
        self._done += rows


def _failure(row: int, rows: int, error: Header) -> Failure:
    names = ("kind", "message", "traceback", "transient", "rate_limited", "retry_after_s")
    return Failure(row, rows, *(error[name] for name in names))


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _secret(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ValueError(f"the secret {name!r} is not in the environment") from None


def _short(value: pa.Scalar) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
