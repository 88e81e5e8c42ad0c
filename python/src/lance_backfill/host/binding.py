"""Binds a function to the columns that it reads and to the type that its results have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lance_backfill.host.encoding import ResultEncoder, decode_schema
from lance_backfill.host.errors import Errors, Refused
from lance_backfill.host.marks import open_marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from lance_backfill.declaration import Declaration
    from lance_backfill.host.answers import Answers
    from lance_backfill.host.batched import BatchedCalls
    from lance_backfill.host.frames import Header
    from lance_backfill.host.inputs import Reader
    from lance_backfill.host.scalar import ScalarCalls


def bind(
    declaration: Declaration, start: Header, body: Any, errors: Errors, writer: Answers
) -> ScalarCalls | BatchedCalls:
    """Instantiates a class and returns what answers calls.

    Raises:
        Refused: the columns are not as many as the function's inputs, or not of their types.
        Exception: whatever the constructor raises.
    """
    *columns, value = decode_schema(body)
    if len(columns) != len(declaration.inputs):
        raise Refused(
            "wrong_inputs",
            f"{declaration.name} takes {len(declaration.inputs)} inputs, not {len(columns)}",
        )
    marks = open_marks(start.get("marks"))
    # Before the constructor, which may load a model.
    readers = _readers(declaration, columns) if declaration.kind == "scalar" else []
    function = declaration.target() if declaration.stateful else declaration.target
    if declaration.stateful:
        # A bound method is called faster than an instance.
        function = function.__call__
    encoder = ResultEncoder(value.type)
    if declaration.kind == "scalar":
        from lance_backfill.host.results import Results
        from lance_backfill.host.scalar import ScalarCalls

        return ScalarCalls(function, readers, Results(value.type), encoder, errors, marks, writer)
    from lance_backfill.host.batched import BatchedCalls
    from lance_backfill.host.columns import Column

    named = declaration.inputs if declaration.kind == "record_batch" else None
    return BatchedCalls(function, named, Column(value.type), encoder, errors, marks, writer)


def _readers(declaration: Declaration, columns: Sequence[pa.Field]) -> list[Reader]:
    from lance_backfill.host.inputs import misfit, reader_for

    hints = declaration.hints()
    names = [parameter.name for parameter in declaration.positional()]
    names += [""] * (len(columns) - len(names))
    readers = []
    for column, name in zip(columns, names, strict=True):
        hint = hints.get(name)
        wrong = misfit(column, name, hint)
        if wrong is not None:
            raise Refused("wrong_inputs", f"{declaration.name}: {wrong}")
        readers.append(reader_for(column.type, hint))
    return readers
