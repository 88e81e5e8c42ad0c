"""Calls of a scalar function: row by row, a failing row alone, in parts of a tenth of a second."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_backfill.host import device
from lance_backfill.host.marks import CALL, ROW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lance_backfill.host.answers import Answers
    from lance_backfill.host.encoding import ResultEncoder
    from lance_backfill.host.errors import Errors
    from lance_backfill.host.frames import Header
    from lance_backfill.host.inputs import Reader
    from lance_backfill.host.results import Results

PART_S = 0.1
"""After this time results are sent: half of it would double the frames of a slow function, twice of
it would lose twice as many rows when the process is killed."""

_CHUNK_S = PART_S / 10

# Beyond this a longer chunk does not run faster: its values no longer fit the processor's cache.
_CHUNK_ROWS = 8192

# Values of a chunk are copied out of the batch; a chunk of images must not double the memory.
_CHUNK_BYTES = 16 * 2**20

# Each error may bring a traceback, and all errors of a part are in one header.
_ERRORS_IN_PART = 256

_GROWTH = 8


class CallEnds(Exception):
    """Carries the error of the row at which a call ended: a rate limit, or a lost device."""

    def __init__(self, error: Header) -> None:
        super().__init__()
        self.error = error


class ScalarCalls:
    """Answers calls with a function that takes the values of one row."""

    def __init__(
        self,
        function: Callable[..., Any],
        readers: Sequence[Reader],
        results: Results,
        encoder: ResultEncoder,
        errors: Errors,
        marks: memoryview[int],
        writer: Answers,
    ) -> None:
        self._function = function
        self._readers = readers
        self._results = results
        self._encoder = encoder
        self._errors = errors
        self._marks = marks
        self._writer = writer
        self._loop = _LOOPS.get(len(readers), _rows_of_many)
        # Of unknown speed: a row may take minutes.
        self._chunk_rows = 1
        # A child that the function forked, and that comes back out of it, stops where it would mark
        # the next row: no row has to ask which process it is in, and the marks stay the host's.
        os.register_at_fork(after_in_child=marks.release)

    def call(self, call_id: int, batch: pa.RecordBatch | None, rows: int) -> None:
        """Computes the rows and sends parts, then `done`; or `raised` where the call ends early."""
        columns = batch.columns if batch is not None and self._readers else []
        part = _Part(0)
        limit = _rows_that_fit(batch, rows)
        self._marks[CALL] = call_id
        try:
            while part.end < rows:
                started = time.perf_counter()
                length = min(self._chunk_rows, limit, rows - part.end)
                self._compute(columns, part, length)
                now = time.perf_counter()
                self._adapt(length, now - started)
                if now - part.started >= PART_S or len(part.failed) >= _ERRORS_IN_PART:
                    part = self._send(call_id, part)
        except CallEnds as early:
            last = {"type": "raised", "id": call_id, **early.error}
        else:
            last = {"type": "done", "id": call_id}
        finally:
            self._marks[ROW] = 0
        if part.end > part.start:
            self._send(call_id, part, then=last)
        else:
            self._writer.write(last)
        device.end_if_lost(last)

    def _compute(self, columns: Sequence[pa.Array], part: _Part, length: int) -> None:
        """Computes the next rows and adds them to the part.

        Raises:
            CallEnds: the rows before it are in the part.
        """
        start = part.end
        unreadable: dict[int, Header] = {}
        values = []
        for reader, column in zip(self._readers, columns, strict=True):
            read, errors = reader(column.slice(start, length))
            values.append(read)
            unreadable.update(errors)
        returned: list[Any] = []
        failed: dict[int, Header] = {}
        try:
            for first, last in _gaps(unreadable, length):
                slices = values if last - first == length else [v[first:last] for v in values]
                self._run(slices, start + first, start + last, returned, failed, part)
                if last < length:
                    failed[last] = unreadable[last]
                    returned.append(None)
        finally:
            self._marks[ROW] = 0
            if returned:
                self._add(part, returned, failed)

    def _run(
        self,
        values: Sequence[Sequence[Any]],
        first: int,
        last: int,
        returned: list[Any],
        failed: dict[int, Header],
        part: _Part,
    ) -> None:
        rows = zip(range(first + 1, last + 1), *values, strict=False)
        began = time.perf_counter_ns()
        try:
            while True:
                try:
                    self._loop(self._function, self._marks, rows, returned.append)
                    self._writer.end_child()
                    return
                except BaseException as error:  # noqa: BLE001, RUF100 - SystemExit is the row's, too.
                    self._writer.end_child(error)
                    described = self._errors.describe(error)
                if described["rate_limited"] or described.get("device_lost"):
                    raise CallEnds(described)
                device.recover(described)
                failed[len(returned)] = described
                returned.append(None)
        finally:
            part.busy_ns += time.perf_counter_ns() - began

    def _add(self, part: _Part, returned: list[Any], failed: dict[int, Header]) -> None:
        array, misfits = self._results.array(returned)
        part.arrays.extend(array.chunks if isinstance(array, pa.ChunkedArray) else [array])
        for place, error in sorted({**misfits, **failed}.items()):
            part.failed.append({"row": part.end + place, **error})
        part.end += len(returned)

    def _send(self, call_id: int, part: _Part, then: Header | None = None) -> _Part:
        """Sends the part and with it the frame that ends the call, if any; the next part."""
        values = part.arrays[0] if len(part.arrays) == 1 else pa.concat_arrays(part.arrays)
        self._writer.write(
            {
                "type": "part",
                "id": call_id,
                "start": part.start,
                "rows": part.end - part.start,
                "failed": part.failed,
                "busy_us": part.busy_ns // 1000,
            },
            *self._encoder.encode(values),
            then=then,
        )
        return _Part(part.end)

    def _adapt(self, rows: int, seconds: float) -> None:
        fitting = int(rows * _CHUNK_S / max(seconds, 1e-9))
        self._chunk_rows = max(1, min(fitting, rows * _GROWTH, _CHUNK_ROWS))


class _Part:
    """Results that are not sent yet."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.arrays: list[pa.Array] = []
        self.failed: list[Header] = []
        self.busy_ns = 0
        self.started = time.perf_counter()


def _rows_that_fit(batch: pa.RecordBatch | None, rows: int) -> int:
    size = 0 if batch is None else batch.nbytes
    return max(1, rows * _CHUNK_BYTES // size) if size > _CHUNK_BYTES else max(1, rows)


def _gaps(excluded: dict[int, Header], length: int) -> Iterator[tuple[int, int]]:
    """The ranges between the excluded rows, empty ones too."""
    first = 0
    for row in sorted(excluded):
        yield first, row
        first = row + 1
    yield first, length


# The loops mark the row by assigning to the marks what they iterate over: nothing is cheaper.  An
# iterator that was stopped by an exception goes on with the row behind it.


def _rows_of_none(function: Any, marks: Any, rows: Any, add: Any) -> None:
    for (marks[ROW],) in rows:
        add(function())


def _rows_of_one(function: Any, marks: Any, rows: Any, add: Any) -> None:
    for marks[ROW], value in rows:
        add(function(value))


def _rows_of_two(function: Any, marks: Any, rows: Any, add: Any) -> None:
    for marks[ROW], first, second in rows:
        add(function(first, second))


def _rows_of_many(function: Any, marks: Any, rows: Any, add: Any) -> None:
    for marks[ROW], *values in rows:
        add(function(*values))


_LOOPS = {0: _rows_of_none, 1: _rows_of_one, 2: _rows_of_two}
