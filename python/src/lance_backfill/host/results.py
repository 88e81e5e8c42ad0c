"""What a scalar function returned, row by row, as an Arrow array; and what cannot be one."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_backfill.host.errors import Refused, refusal
from lance_backfill.host.fitting import check_for, is_extension, is_list
from lance_backfill.host.plain import fields_of, needs_plain, plain

if TYPE_CHECKING:
    from lance_backfill.host.frames import Header

_PACKING = {
    pa.int8(): "b",
    pa.uint8(): "B",
    pa.int16(): "h",
    pa.uint16(): "H",
    pa.int32(): "i",
    pa.uint32(): "I",
    pa.int64(): "q",
    pa.uint64(): "Q",
}

_REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError, KeyError)


class Results:
    """Turns Python values into Arrow arrays of one type, never losing a part of a value."""

    def __init__(self, kind: pa.DataType) -> None:
        """Takes the type that all arrays have."""
        self.kind = kind
        self._storage = kind.storage_type if is_extension(kind) else kind
        self._check = check_for(self._storage)
        self._needs_plain = needs_plain(self._storage)
        self._may_overflow = has_small_floats(self._storage)
        self._packing = _PACKING.get(self._storage)

    def array(self, values: list[Any]) -> tuple[pa.Array, dict[int, Header]]:
        """The values as an array (chunked where one is too small), and errors by place.

        Where there is an error the array has NULL.
        """
        if self._packing is not None:
            packed = self._pack_integers(values)
            if packed is not None:
                return self._wrap(packed), {}
        candidates = (
            [plain(value, self._storage) for value in values] if self._needs_plain else values
        )
        try:
            if self._check(candidates):
                array = pa.array(candidates, self._storage)
                if not self._may_overflow or count_infinities(array) == 0:
                    return self._wrap(array), {}
        except _REFUSALS:
            pass  # Some value is to blame, which the slow way finds.
        return self._array_one_by_one(values)

    def _pack_integers(self, values: list[Any]) -> pa.Array | None:
        """A third of the time of a check and `pa.array`; None unless all values are integers."""
        try:
            packed = struct.pack(f"{len(values)}{self._packing}", *values)
        except Exception:  # noqa: BLE001, RUF100 - NULL, or a value whose `__index__` raises.
            return None
        return pa.Array.from_buffers(self._storage, len(values), [None, pa.py_buffer(packed)])

    def _array_one_by_one(self, values: list[Any]) -> tuple[pa.Array, dict[int, Header]]:
        errors: dict[int, Header] = {}
        arrays = []
        nothing = pa.nulls(1, self._storage)
        for place, value in enumerate(values):
            try:
                arrays.append(self._one(value))
            except Refused as refused:
                errors[place] = refusal(refused.kind, str(refused))
                arrays.append(nothing)
        return self._wrap(pa.concat_arrays(arrays)), errors

    def _one(self, value: Any) -> pa.Array:
        candidate = plain(value, self._storage)
        try:
            fits = self._check([candidate])
            array = pa.array([candidate], self._storage)
        except _REFUSALS:
            raise misfit(value, self._storage) from None
        except Exception:  # noqa: BLE001, RUF100 - The value's own methods may raise anything.
            raise misfit(value, self._storage) from None
        if not fits:
            raise misfit(value, self._storage)
        if self._may_overflow and count_infinities(array) > _infinities_in(candidate):
            raise misfit(value, self._storage)
        return array

    def _wrap(self, array: pa.Array) -> pa.Array:
        return (
            pa.ExtensionArray.from_storage(self.kind, array)
            if self._storage is not self.kind
            else array
        )


def misfit(value: Any, kind: pa.DataType) -> Refused:
    """Says which part of the value does not fit which type; never the value itself."""
    found, wanted, place = value, kind, ""
    while True:
        inner = _first_misfit_inside(found, wanted)
        if inner is None:
            break
        found, wanted, step = inner
        place += step
    name, at = type(found).__name__, f" at {place.lstrip('.')}" if place else ""
    if (
        pa.types.is_fixed_size_list(wanted)
        and hasattr(found, "__len__")
        and not isinstance(found, (str, bytes, dict))
        and len(found) != wanted.list_size
    ):
        return Refused(
            "wrong_length", f"{len(found)} items{at}, where {wanted} has {wanted.list_size}"
        )
    if pa.types.is_fixed_size_binary(wanted) and isinstance(found, bytes):
        return Refused(
            "wrong_length", f"{len(found)} bytes{at}, where {wanted} has {wanted.byte_width}"
        )
    if pa.types.is_struct(wanted):
        fields = fields_of(found)
        unknown = (
            sorted(map(str, fields.keys() - {field.name for field in wanted}))
            if fields is not None
            else []
        )
        if unknown:
            return Refused(
                "wrong_type", f"a field {unknown[0]!r}{at}, which {wanted} does not have"
            )
    return Refused("wrong_type", f"a value of type {name}{at} does not fit {wanted} without loss")


def _first_misfit_inside(value: Any, kind: pa.DataType) -> tuple[Any, pa.DataType, str] | None:
    if pa.types.is_struct(kind):
        fields = fields_of(value)
        if fields is None or not fields.keys() <= {field.name for field in kind}:
            return None
        parts = [(fields.get(field.name), field.type, f".{field.name}") for field in kind]
    elif is_list(kind) and isinstance(value, (list, tuple)):
        parts = [(item, kind.value_type, f"[{at}]") for at, item in enumerate(value)]
    else:
        return None
    for part, part_kind, step in parts:
        if not _fits_alone(part, part_kind):
            return part, part_kind, step
    return None


def _fits_alone(value: Any, kind: pa.DataType) -> bool:
    try:
        candidate = plain(value, kind)
        array = pa.array([candidate], kind)
        return check_for(kind)([candidate]) and (
            not has_small_floats(kind) or count_infinities(array) <= _infinities_in(candidate)
        )
    except Exception:  # noqa: BLE001, RUF100
        return False


def has_small_floats(kind: pa.DataType) -> bool:
    """Whether a Python float may overflow somewhere in the type."""
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return True
    return any(has_small_floats(kind.field(at).type) for at in range(kind.num_fields))


def count_infinities(array: pa.Array) -> int:
    """How many infinities there are in floats, at any depth."""
    kind = array.type
    if pa.types.is_floating(kind):
        import pyarrow.compute as pc

        if pa.types.is_float16(kind):
            # By their bits, without the sign: not every pyarrow can compute with them.
            infinite = pc.equal(pc.bit_wise_and(array.view(pa.uint16()), 0x7FFF), 0x7C00)
        else:
            infinite = pc.is_inf(array)
        return pc.sum(infinite).as_py() or 0
    if pa.types.is_struct(kind):
        return sum(count_infinities(array.field(at)) for at in range(kind.num_fields))
    if pa.types.is_map(kind):
        return count_infinities(array.keys) + count_infinities(array.items)
    if is_list(kind):
        return count_infinities(array.flatten())
    return 0


def _infinities_in(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_infinities_in, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_infinities_in, value))
    try:
        return int(math.isinf(value))
    except (TypeError, OverflowError):
        return 0
