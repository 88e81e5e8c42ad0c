"""Calls of a function that takes all rows at once: one part, or `raised`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_backfill.host import device
from lance_backfill.host.marks import CALL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lance_backfill.host.answers import Answers
    from lance_backfill.host.columns import Column
    from lance_backfill.host.encoding import ResultEncoder
    from lance_backfill.host.errors import Errors
    from lance_backfill.host.frames import Header


class BatchedCalls:
    """Answers calls with a function that takes Arrow arrays, or a RecordBatch of them."""

    def __init__(
        self,
        function: Callable[..., Any],
        names: Sequence[str] | None,
        column: Column,
        encoder: ResultEncoder,
        errors: Errors,
        marks: memoryview[int],
        writer: Answers,
    ) -> None:
        """Takes the names of the RecordBatch's columns, or None for a function of arrays."""
        self._function = function
        self._names = names
        self._column = column
        self._encoder = encoder
        self._errors = errors
        self._marks = marks
        self._writer = writer

    def call(self, call_id: int, batch: pa.RecordBatch | None, rows: int) -> None:
        """Calls the function once and sends its result, then `done`; or `raised`."""
        self._marks[CALL] = call_id
        arguments = self._arguments(batch)
        described: Header = {}
        began = time.perf_counter_ns()
        try:
            returned = self._function(*arguments)
            busy_ns = time.perf_counter_ns() - began
            values = self._column.array(returned, rows)
        except BaseException as error:  # noqa: BLE001, RUF100 - SystemExit is the function's, too.
            self._writer.end_child(error)
            described = self._errors.describe(error)
            values = None
        if values is None:
            device.recover(described)
            self._writer.write({"type": "raised", "id": call_id, **described})
            device.end_if_lost(described)
            return
        self._writer.write(
            {
                "type": "part",
                "id": call_id,
                "start": 0,
                "rows": rows,
                "failed": [],
                "busy_us": busy_ns // 1000,
            },
            *self._encoder.encode(values),
            then={"type": "done", "id": call_id},
        )

    def _arguments(self, batch: pa.RecordBatch | None) -> list[Any]:
        arrays = [] if batch is None else [_decoded(array) for array in batch.columns]
        if self._names is None:
            return arrays
        return [pa.RecordBatch.from_arrays(arrays, names=list(self._names))]


def _decoded(array: pa.Array) -> pa.Array:
    """A dictionary is a matter of storage; a function for texts takes texts."""
    return array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array
