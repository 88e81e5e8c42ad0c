"""Results in the plain Python form that pyarrow knows how to read."""

from __future__ import annotations

import dataclasses
from typing import Any

import pyarrow as pa

from lance_backfill.host.fitting import is_extension, is_list


def needs_plain(kind: pa.DataType) -> bool:
    """Whether values of the type may be dataclasses or named tuples, unknown to pyarrow."""
    if is_extension(kind):
        return needs_plain(kind.storage_type)
    if pa.types.is_struct(kind):
        return True
    return any(needs_plain(kind.field(at).type) for at in range(kind.num_fields))


def plain(value: Any, kind: pa.DataType) -> Any:
    """The value with structs as dicts, arrays as lists, and whole floats for integers as such.

    What does not fit the type is returned as it is: pyarrow refuses it later.
    """
    if value is None:
        return None
    if is_extension(kind):
        return plain(value, kind.storage_type)
    if pa.types.is_struct(kind):
        return _struct(value, kind)
    if pa.types.is_map(kind):
        return _map(value, kind)
    if is_list(kind):
        return _list(value, kind.value_type)
    if pa.types.is_integer(kind):
        return _whole(value)
    return value


def _struct(value: Any, kind: pa.DataType) -> Any:
    fields = fields_of(value)
    if fields is None:
        return value
    types = {kind.field(at).name: kind.field(at).type for at in range(kind.num_fields)}
    return {
        name: plain(item, types[name]) if name in types else item for name, item in fields.items()
    }


def fields_of(value: Any) -> dict[str, Any] | None:
    """The fields of a dict, dataclass, named tuple or pydantic model; None for anything else."""
    if isinstance(value, dict):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if hasattr(type(value), "model_fields"):
        return {name: getattr(value, name) for name in type(value).model_fields}
    return None


def _map(value: Any, kind: pa.DataType) -> Any:
    pairs = value.items() if isinstance(value, dict) else value
    if isinstance(pairs, (str, bytes)):
        return value
    try:
        return [(plain(key, kind.key_type), plain(item, kind.item_type)) for key, item in pairs]
    except (TypeError, ValueError):
        return value


def _list(value: Any, item: pa.DataType) -> Any:
    if isinstance(value, (str, bytes, dict)):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    elif hasattr(value, "to_pylist"):
        value = value.to_pylist()
    try:
        return [plain(element, item) for element in value]
    except TypeError:
        return value


def _whole(value: Any) -> Any:
    if isinstance(value, int):
        return int(value)
    try:
        return int(value) if value.is_integer() else value
    except (AttributeError, TypeError, ValueError, OverflowError):
        return value
