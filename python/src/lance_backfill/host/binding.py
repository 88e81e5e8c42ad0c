"""Binds a function to the columns that it reads and to the type that its results have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lance_backfill.host.encoding import ResultEncoder, decode_schema
from lance_backfill.host.errors import Errors, Refused
from lance_backfill.host.marks import open_marks

if TYPE_CHECKING:
    from lance_backfill.declaration import Declaration
    from lance_backfill.host.batched import BatchedCalls
    from lance_backfill.host.frames import FrameWriter, Header
    from lance_backfill.host.scalar import ScalarCalls


def bind(
    declaration: Declaration, start: Header, body: Any, errors: Errors, writer: FrameWriter
) -> ScalarCalls | BatchedCalls:
    """Instantiates a class and returns what answers calls.

    Raises:
        Refused: the columns are not as many as the function's inputs.
        Exception: whatever the constructor raises.
    """
    *columns, value = decode_schema(body)
    if len(columns) != len(declaration.inputs):
        raise Refused(
            "wrong_inputs",
            f"{declaration.name} takes {len(declaration.inputs)} inputs, not {len(columns)}",
        )
    marks = open_marks(start.get("marks"))
    function = declaration.target() if declaration.stateful else declaration.target
    if declaration.stateful:
        # A bound method is called faster than an instance.
        function = function.__call__
    encoder = ResultEncoder(value.type)
    if declaration.kind == "scalar":
        from lance_backfill.host.inputs import reader_for
        from lance_backfill.host.results import Results
        from lance_backfill.host.scalar import ScalarCalls

        hints = declaration.hints()
        names = [parameter.name for parameter in declaration.positional()]
        names += [""] * (len(columns) - len(names))
        readers = [
            reader_for(column.type, hints.get(name))
            for column, name in zip(columns, names, strict=True)
        ]
        return ScalarCalls(function, readers, Results(value.type), encoder, errors, marks, writer)
    from lance_backfill.host.batched import BatchedCalls
    from lance_backfill.host.columns import Column

    named = declaration.inputs if declaration.kind == "record_batch" else None
    return BatchedCalls(function, named, Column(value.type), encoder, errors, marks, writer)
