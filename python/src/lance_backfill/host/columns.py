"""What a batched function returned, as an Arrow array of the column's type."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from lance_backfill.host.errors import Refused
from lance_backfill.host.fitting import is_binary, is_extension, is_list, is_text
from lance_backfill.host.results import Results, count_infinities, has_small_floats


class Column:
    """Checks and casts whole columns to one type."""

    def __init__(self, kind: pa.DataType) -> None:
        """Takes the type that all columns have."""
        self.kind = kind
        self._storage = kind.storage_type if is_extension(kind) else kind
        self._results = Results(self._storage)

    def array(self, returned: Any, rows: int) -> pa.Array:
        """The returned values in the column's type.

        Raises:
            Refused: `wrong_type` or `wrong_length`.
        """
        array = self._as_array(returned)
        if len(array) != rows:
            raise Refused("wrong_length", f"{len(array)} values for {rows} rows")
        if array.type != self.kind:
            array = self._cast(array)
        return array

    def _as_array(self, returned: Any) -> pa.Array:
        if isinstance(returned, pa.ChunkedArray):
            returned = _combine(returned)
        if isinstance(returned, pa.Array):
            return returned
        if isinstance(returned, (pa.RecordBatch, pa.Table)) and pa.types.is_struct(self._storage):
            return _combine(returned.to_struct_array())
        if isinstance(returned, (list, tuple)):
            return self._from_list(list(returned))
        if isinstance(returned, (str, bytes, dict, pa.Scalar)) or returned is None:
            raise self._misfit(returned)
        try:
            return self._from_other(returned)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise self._misfit(returned) from None

    def _from_list(self, values: list[Any]) -> pa.Array:
        array, errors = self._results.array(values)
        if errors:
            place, error = min(errors.items())
            raise Refused(error["kind"], f"row {place}: {error['message']}")
        return _combine(array)

    def _from_other(self, returned: Any) -> pa.Array:
        numpy = sys.modules.get("numpy")
        if hasattr(returned, "__arrow_c_stream__") or hasattr(returned, "__arrow_c_array__"):
            return _combine(pa.chunked_array(returned))
        if numpy is not None and hasattr(returned, "__array__") and not _is_pandas(returned):
            returned = numpy.asarray(returned)  # For example a tensor.
            if returned.ndim == 0:
                raise self._misfit(returned)
            if returned.ndim > 1:
                return self._from_matrix(returned)
            if returned.dtype.kind == "O":
                return self._from_list(returned.tolist())
        return _combine(pa.array(returned))

    def _from_matrix(self, matrix: Any) -> pa.Array:
        array = pa.array(matrix.reshape(-1))
        for width in reversed(matrix.shape[1:]):
            array = pa.FixedSizeListArray.from_arrays(array, width)
        if not pa.types.is_fixed_size_list(self._storage):
            return array
        if matrix.shape[1] != self._storage.list_size:
            width = self._storage.list_size
            raise Refused(
                "wrong_length", f"vectors of {matrix.shape[1]}, where {self._storage} has {width}"
            )
        return array

    def _cast(self, array: pa.Array) -> pa.Array:
        if isinstance(array, pa.DictionaryArray) and not pa.types.is_dictionary(self._storage):
            array = array.dictionary_decode()
        if is_extension(array.type):
            array = array.storage
        if array.type != self._storage:
            if not _may_cast(array.type, self._storage):
                raise self._wrong(array.type)
            before = array
            try:
                array = array.cast(self._storage, safe=True)
            except (pa.ArrowException, ValueError, TypeError):
                raise self._wrong(before.type) from None
            if has_small_floats(self._storage) and count_infinities(array) > count_infinities(
                before
            ):
                raise self._wrong(before.type)
        if self._storage is not self.kind:
            array = pa.ExtensionArray.from_storage(self.kind, array)
        return array

    def _misfit(self, returned: Any) -> Refused:
        return Refused(
            "wrong_type", f"it returned a {type(returned).__name__}, not values of {self.kind}"
        )

    def _wrong(self, found: pa.DataType) -> Refused:
        return Refused("wrong_type", f"values of {found} do not fit {self.kind} without loss")


def _combine(array: Any) -> pa.Array:
    if not isinstance(array, pa.ChunkedArray):
        return array
    if array.num_chunks == 1:
        return array.chunk(0)
    combined = array.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        raise Refused("wrong_type", f"more than 2 GB of {array.type}: lower batch_size")
    return combined


def _is_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas"


def _may_cast(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a cast keeps what the values mean; whether it keeps each value, the cast tells."""
    if found == wanted or pa.types.is_null(found):
        return True
    if is_list(found) and is_list(wanted):
        return _may_cast(found.value_type, wanted.value_type)
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        names = [field.name for field in found]
        return names == [field.name for field in wanted] and all(
            _may_cast(mine.type, other.type) for mine, other in zip(found, wanted, strict=True)
        )
    if pa.types.is_map(found) and pa.types.is_map(wanted):
        return _may_cast(found.key_type, wanted.key_type) and _may_cast(
            found.item_type, wanted.item_type
        )
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(wanted):
        return (found.tz is None) == (wanted.tz is None)
    family = _family(found)
    return (family is not None and family == _family(wanted)) or _is_widening(found, wanted)


def _is_widening(found: pa.DataType, wanted: pa.DataType) -> bool:
    return bool(pa.types.is_integer(found) and pa.types.is_decimal(wanted))


def _family(kind: pa.DataType) -> str | None:
    types = pa.types
    for name, tests in (
        ("number", (types.is_integer, types.is_floating)),
        ("decimal", (types.is_decimal,)),
        ("bytes", (is_text, is_binary)),
        ("date", (types.is_date,)),
        ("time", (types.is_time,)),
        ("duration", (types.is_duration,)),
        ("boolean", (types.is_boolean,)),
    ):
        if any(test(kind) for test in tests):
            return name
    return None
