"""The sample that `check` is given, as the batch that a worker would send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from lance_backfill.declaration import Declaration


def batch_of(sample: Any, declaration: Declaration) -> pa.RecordBatch:
    """The function's inputs in order.

    Args:
        sample: A list of values for a function of one input, a list of tuples for one of several, a
            dict of lists by input, or a table, of pyarrow or of what pyarrow reads.
        declaration: The function.

    Raises:
        TypeError: the sample is none of these, or its values are of no Arrow type.
        ValueError: it does not have the function's inputs.
    """
    names = list(declaration.inputs)
    if isinstance(sample, Mapping):
        _require(names, sample, declaration.name)
        return _batch({name: _array(sample[name], name) for name in names}, names)
    if isinstance(sample, (list, tuple, range)):
        return _batch(_columns(list(sample), names, declaration.name), names)
    if isinstance(sample, (pa.Array, pa.ChunkedArray)) and len(names) == 1:
        return _batch({names[0]: _array(sample, names[0])}, names)
    if isinstance(sample, (pa.RecordBatch, pa.Table)) or hasattr(sample, "__arrow_c_stream__"):
        table = sample if isinstance(sample, (pa.RecordBatch, pa.Table)) else pa.table(sample)
        _require(names, table.schema.names, declaration.name)
        return _batch({name: _array(table.column(name), name) for name in names}, names)
    raise TypeError(
        f"a sample is a list, a dict of lists or a table, not a {type(sample).__name__}"
    )


def _columns(rows: list[Any], names: list[str], function: str) -> dict[str, pa.Array]:
    if len(names) == 1:
        return {names[0]: _array(rows, names[0])}
    for row in rows:
        if not isinstance(row, tuple) or len(row) != len(names):
            raise ValueError(
                f"{function} takes {len(names)} inputs ({', '.join(names) or 'none'}): "
                "a row of the sample is a tuple of as many"
            )
    if not names:
        # A batch without columns has no length; a worker sends it beside the batch.
        return {"": pa.nulls(len(rows))}
    return {name: _array([row[at] for row in rows], name) for at, name in enumerate(names)}


def _array(values: Any, name: str) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if isinstance(values, pa.Array):
        return values
    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"the values of {name!r} are of no Arrow type: {error}") from None


def _batch(columns: dict[str, pa.Array], names: list[str]) -> pa.RecordBatch:
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError("the columns of the sample are of unequal length")
    return pa.RecordBatch.from_arrays(list(columns.values()), names=names or [""])


def _require(names: list[str], given: Any, function: str) -> None:
    missing = [name for name in names if name not in given]
    if missing:
        raise ValueError(f"the sample has no {missing[0]!r}, which {function} reads")
