"""Whether Python values can become Arrow values of a type without loss.

pyarrow takes some values that it cannot hold, without a word: it cuts 1.5 to 1 for an integer
column, microseconds off a timestamp of seconds, the time zone off a datetime, unknown keys off a
dict.  What is found here is exactly that; what pyarrow refuses by itself is left to it.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Check = Callable[[Iterable[Any]], bool]

_NONE = type(None)

_NUMPY_KINDS = (
    (pa.types.is_floating, "f"),
    (pa.types.is_integer, "iu"),
    (pa.types.is_boolean, "b"),
)


def check_for(kind: pa.DataType) -> Check:
    """What says whether pyarrow takes all of these values without loss, or refuses them itself."""
    for applies, make in _CHECKS:
        if applies(kind):
            return make(kind)
    return _take_all


def _take_all(_values: Iterable[Any]) -> bool:
    return True


def _check_types(accepts: Callable[[type], bool], *known: type) -> Check:
    """A check of nothing but the values' types, each judged once."""
    accepted: set[type] = {_NONE, *known}

    def check(values: Iterable[Any]) -> bool:
        found = set(map(type, values))
        if found <= accepted:
            return True
        if all(map(accepts, found - accepted)):
            accepted.update(found)
            return True
        return False

    return check


def _integers(_kind: pa.DataType) -> Check:
    return _check_types(lambda found: found is not bool and hasattr(found, "__index__"), int)


def _dates(_kind: pa.DataType) -> Check:
    return _check_types(_is_numpy_time, datetime.date)


def _timestamps(kind: pa.DataType) -> Check:
    check_types = _check_types(_is_numpy_time, datetime.datetime)
    aware = kind.tz is not None
    grain = {"s": 1_000_000, "ms": 1000}.get(kind.unit, 1)

    def check(values: Iterable[Any]) -> bool:
        values = list(values)
        if not check_types(values):
            return False
        for value in values:
            if isinstance(value, datetime.datetime) and (
                (value.tzinfo is not None) is not aware or value.microsecond % grain
            ):
                return False
        return True

    return check


def _times(kind: pa.DataType) -> Check:
    check_types = _check_types(lambda _found: False, datetime.time)
    grain = {"s": 1_000_000, "ms": 1000}.get(kind.unit, 1)

    def check(values: Iterable[Any]) -> bool:
        values = list(values)
        return check_types(values) and not any(
            value is not None and (value.tzinfo is not None or value.microsecond % grain)
            for value in values
        )

    return check


def _durations(kind: pa.DataType) -> Check:
    check_types = _check_types(_is_numpy_time, datetime.timedelta)
    grain = {"s": 1_000_000, "ms": 1000}.get(kind.unit, 1)

    def check(values: Iterable[Any]) -> bool:
        values = list(values)
        return check_types(values) and not any(
            isinstance(value, datetime.timedelta) and value.microseconds % grain for value in values
        )

    return check


def _lists(kind: pa.DataType) -> Check:
    item = kind.value_type
    check_items = check_for(item)
    numpy_kinds = next((kinds for applies, kinds in _NUMPY_KINDS if applies(item)), "")

    def check(values: Iterable[Any]) -> bool:
        flat: list[Any] = []
        for value in values:
            found = type(value)
            if found is list or found is tuple:
                flat.extend(value)
            elif value is not None and not (
                found.__name__ == "ndarray" and value.ndim == 1 and value.dtype.kind in numpy_kinds
            ):
                return False
        return check_items(flat)

    return check


def _structs(kind: pa.DataType) -> Check:
    fields = {kind.field(at).name: check_for(kind.field(at).type) for at in range(kind.num_fields)}
    names = fields.keys()

    def check(values: Iterable[Any]) -> bool:
        rows = [value for value in values if value is not None]
        if not all(type(row) is dict and row.keys() <= names for row in rows):
            return False
        return all(
            check_field([row.get(name) for row in rows]) for name, check_field in fields.items()
        )

    return check


def _maps(kind: pa.DataType) -> Check:
    check_keys, check_items = check_for(kind.key_type), check_for(kind.item_type)

    def check(values: Iterable[Any]) -> bool:
        keys: list[Any] = []
        items: list[Any] = []
        for value in values:
            if value is None:
                continue
            pairs = value.items() if isinstance(value, dict) else value
            try:
                for key, item in pairs:
                    keys.append(key)
                    items.append(item)
            except (TypeError, ValueError):
                return False
        return check_keys(keys) and check_items(items)

    return check


def _dictionaries(kind: pa.DataType) -> Check:
    return check_for(kind.value_type)


def _extensions(kind: pa.DataType) -> Check:
    return check_for(kind.storage_type)


def is_list(kind: pa.DataType) -> bool:
    """Whether it is a list of any sort, but no map."""
    return hasattr(kind, "value_type") and not pa.types.is_dictionary(kind) and not _is_map(kind)


def _is_map(kind: pa.DataType) -> bool:
    return bool(pa.types.is_map(kind))


def is_extension(kind: pa.DataType) -> bool:
    """Whether it is a type of its own around one of Arrow's."""
    return isinstance(kind, pa.BaseExtensionType)


def is_text(kind: pa.DataType) -> bool:
    """Whether it is a text of any sort."""
    return str(kind) in ("string", "large_string", "string_view")


def is_binary(kind: pa.DataType) -> bool:
    """Whether it is bytes of any sort."""
    return str(kind) in ("binary", "large_binary", "binary_view") or pa.types.is_fixed_size_binary(
        kind
    )


def _is_numpy_time(found: type) -> bool:
    return found.__module__ == "numpy" and found.__name__ in ("datetime64", "timedelta64")


_CHECKS: list[tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType], Check]]] = [
    (is_extension, _extensions),
    (pa.types.is_integer, _integers),
    (pa.types.is_date, _dates),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _durations),
    (_is_map, _maps),
    (pa.types.is_dictionary, _dictionaries),
    (pa.types.is_struct, _structs),
    (is_list, _lists),
]
