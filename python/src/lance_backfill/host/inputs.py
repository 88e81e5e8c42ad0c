"""Columns of a call as the Python values that a scalar function takes."""

from __future__ import annotations

import sys
import typing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_backfill.host.errors import refusal
from lance_backfill.host.fitting import is_binary, is_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lance_backfill.host.frames import Header

    Values = tuple[Sequence[Any], dict[int, Header]]
    Reader = Callable[[pa.Array], Values]


def reader_for(column: pa.DataType, hint: Any) -> Reader:
    """What turns an array into values, one a row and None for NULL, and errors by row.

    A list column becomes numpy arrays where the parameter's hint says so, anything else what
    pyarrow's `to_pylist` makes of it.  A nanosecond timestamp that a datetime cannot hold is the
    error `wrong_input` of its row.
    """
    if _is_list(column) and _wants_numpy(hint):
        return _read_numpy
    if pa.types.is_timestamp(column) and column.unit == "ns":
        return _read_nanoseconds
    if pa.types.is_duration(column) and column.unit == "ns":
        return _read_nanoseconds
    return _read_python


def misfit(column: pa.Field, parameter: str, hint: Any) -> str | None:
    """Says so if no value of the column can be what the parameter's hint says.

    Only the plainest hints are judged: an optional parameter may find nothing but NULL, and a hint
    of the user's own type says nothing here.
    """
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    bytewise, number = hint is str or hint is bytes, hint is int or hint is float
    if (bytewise and _is_number(kind)) or (number and (is_text(kind) or is_binary(kind))):
        return (
            f"the parameter {parameter!r} is of type {hint.__name__}, "
            f"and the column {column.name!r} of {column.type}"
        )
    return None


def _read_python(column: pa.Array) -> Values:
    try:
        return column.to_pylist(), {}
    except (ValueError, OverflowError, pa.ArrowException, LookupError):
        return _read_each(column)


def _read_each(column: pa.Array) -> Values:
    values: list[Any] = []
    errors: dict[int, Header] = {}
    for row, scalar in enumerate(column):
        try:
            values.append(scalar.as_py())
        except (ValueError, OverflowError, pa.ArrowException, LookupError):
            values.append(None)
            errors[row] = refusal(
                "wrong_input", f"a {column.type} that Python has no value for; use pyarrow.Array"
            )
    return values, errors


def _read_nanoseconds(column: pa.Array) -> Values:
    """Without pandas, which pyarrow takes if it is there and whose values are of another type."""
    values: list[Any] = []
    errors: dict[int, Header] = {}
    for row, nanoseconds in enumerate(column.view(pa.int64()).to_pylist()):
        if nanoseconds is None:
            values.append(None)
            continue
        microseconds, rest = divmod(nanoseconds, 1000)
        values.append(microseconds)
        if rest:
            errors[row] = refusal(
                "wrong_input",
                f"a {column.type} with nanoseconds, which Python's datetime cannot hold; "
                "use pyarrow.Array",
            )
    coarse = (
        pa.timestamp("us", column.type.tz)
        if pa.types.is_timestamp(column.type)
        else pa.duration("us")
    )
    converted, more = _read_python(pa.array(values, pa.int64()).view(coarse))
    return converted, {**more, **errors}


def _read_numpy(column: pa.Array) -> Values:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    matrix = pa.types.is_fixed_size_list(column.type)
    items, shape = column, []
    while pa.types.is_fixed_size_list(items.type):
        width = items.type.list_size
        shape.append(width)
        # `flatten` leaves out what stands under NULL, and so moves the rows after it.
        if items is not column and items.null_count:
            return _read_lists_as_numpy(column)
        items = items.values.slice(items.offset * width, len(items) * width)
    if not matrix:
        items = column.values
    if not _is_plain(items.type):
        return _read_lists_as_numpy(column)
    if items.null_count:
        return _read_lists_as_numpy(column)
    flat = items.to_numpy(zero_copy_only=False)
    if matrix:
        views: list[Any] = list(flat.reshape(len(column), *shape))
    else:
        offsets = column.offsets.to_pylist()
        views = [flat[start:end] for start, end in pairwise(offsets)]
    if column.null_count:
        views = [
            view if valid else None
            for view, valid in zip(views, column.is_valid().to_pylist(), strict=True)
        ]
    return views, {}


def _read_lists_as_numpy(column: pa.Array) -> Values:
    """The slow way, where there is NULL inside of lists, or lists inside."""
    import numpy as np

    values: list[Any] = []
    errors: dict[int, Header] = {}
    for row, scalar in enumerate(column):
        items = scalar.values
        if items is None:
            values.append(None)
        elif items.null_count:
            values.append(None)
            errors[row] = refusal("wrong_input", "NULL in a list, which a numpy array cannot hold")
        elif _is_plain(items.type):
            values.append(items.to_numpy(zero_copy_only=False))
        else:
            try:
                values.append(np.array(items.to_pylist()))
            except ValueError:
                values.append(None)
                errors[row] = refusal("wrong_input", "lists of unequal length in a numpy array")
    return values, errors


def _is_list(column: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(column)
        or pa.types.is_large_list(column)
        or pa.types.is_fixed_size_list(column)
    )


def _is_plain(item: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(item) or pa.types.is_boolean(item))


def _is_number(column: pa.DataType) -> bool:
    types = pa.types
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)
    return any(test(column) for test in tests)


def _wants_numpy(hint: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or hint is None:
        return False
    if typing.get_origin(hint) is typing.Annotated:
        hint = typing.get_args(hint)[0]
    origin = typing.get_origin(hint)
    if origin is not None and origin is not numpy.ndarray:
        return any(_wants_numpy(argument) for argument in typing.get_args(hint))
    return (origin or hint) is numpy.ndarray
