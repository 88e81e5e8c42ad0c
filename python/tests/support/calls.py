"""Runs functions of tests/functions in real hosts."""

import time
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lance_backfill.hosting import Host

FUNCTIONS = Path(__file__).parent.parent / "functions"


class Answer(NamedTuple):
    values: list
    failed: list
    raised: dict | None
    parts: int

    @property
    def kinds(self):
        return [(error["row"], error["kind"]) for error in self.failed]


def answer_of(host, batch):
    """Calls the host and checks that its parts have no gaps."""
    values, failed, raised, parts, end = [], [], None, 0, 0
    for frame, column in host.call(batch):
        if frame["type"] == "part":
            assert frame["start"] == end
            assert frame["rows"] == len(column) > 0 or batch.num_rows == 0
            assert frame["busy_us"] >= 0
            column.validate(full=True)
            end += frame["rows"]
            parts += 1
            values += _python(column)
            failed += frame["failed"]
        elif frame["type"] == "raised":
            raised = frame
        else:
            assert end == batch.num_rows
    return Answer(values, failed, raised, parts)


def call(entrypoint, columns, value, **start):
    """One host, one call."""
    batch = columns if isinstance(columns, pa.RecordBatch) else pa.RecordBatch.from_pydict(columns)
    with Host() as host:
        host.start(entrypoint, FUNCTIONS, inputs=batch.schema, value=value, **start)
        return answer_of(host, batch)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _python(column):
    try:
        return column.to_pylist()
    except ValueError:  # Nanoseconds.
        return column.view(pa.int64()).to_pylist()
