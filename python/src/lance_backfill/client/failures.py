"""Failed rows as an Arrow table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def failures_table(documents: list[dict[str, Any]]) -> pa.Table:
    """One row for each failed row of some columns.

    Where the table has stable row ids, `row_id` names a row also after it was moved.  Whatever else
    the binary tells stands behind these fields.
    """
    import pyarrow as pa

    fields = [
        pa.field("column", pa.string(), nullable=False),
        pa.field("fragment", pa.uint64(), nullable=False),
        pa.field("offset", pa.uint32(), nullable=False),
        pa.field("row_id", pa.uint64()),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("traceback", pa.string()),
        pa.field("attempts", pa.uint32(), nullable=False),
    ]
    rows = [
        {"column": document["column"], **failure}
        for document in documents
        for failure in document["failures"]
    ]
    known = {field.name for field in fields}
    more = {name: None for row in rows for name in row if name not in known}
    failed = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    for name in more:
        failed = failed.append_column(name, pa.array([row.get(name) for row in rows]))
    return failed
