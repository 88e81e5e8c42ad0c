"""Arrow types from Python types and from their names."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import re
import sys
import types
import typing
from collections import abc
from typing import Any

import pyarrow as pa

_SCALARS = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    bytearray: pa.binary(),
    memoryview: pa.binary(),
    datetime.datetime: pa.timestamp("us"),
    datetime.date: pa.date32(),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
}

_SEQUENCES = (list, abc.Sequence, abc.Iterable, abc.Collection)


def vector(width: int, item: Any = "float32") -> pa.DataType:
    """The type of vectors of one width, for `data_type=` and in `Annotated[np.ndarray, ...]`.

    Args:
        width: Numbers in each vector.
        item: Type of the numbers, such as `"float16"`.

    Raises:
        TypeError: the width is no whole number, or the item no type.
        ValueError: the width is not positive.
    """
    if isinstance(width, bool) or not isinstance(width, int):
        raise TypeError(f"vector: the width must be a whole number, not a {type(width).__name__}")
    if width < 1:
        raise ValueError("vector: the width must be at least 1")
    return pa.list_(parse(item, "vector"), width)


def parse(said: Any, name: str) -> pa.DataType:
    """The type that `data_type=` says, for the function of this name.

    A text is read as pyarrow writes types, so that `"float"` has 32 bits and `"double"` 64, while
    Python's `float` has 64.

    Raises:
        TypeError: it says none.
    """
    if isinstance(said, pa.DataType):
        return said
    if isinstance(said, pa.Field):
        return said.type
    if isinstance(said, str):
        try:
            return _Text(said).read()
        except (ValueError, TypeError, pa.ArrowException):
            raise TypeError(
                f"{name}: data_type={said!r} is not the name of an Arrow type"
            ) from None
    return infer(said, name)


def infer(hint: Any, name: str) -> pa.DataType:
    """The type of the values that the hint describes, for the function of this name.

    Raises:
        TypeError: the hint does not say enough; the message names the function and `data_type=`.
    """
    try:
        return _infer(hint, ())
    except _Unknown as unknown:
        raise TypeError(f"{name}: {unknown}; or write @udf(data_type=...) above it") from None


class _Unknown(Exception):
    """Says what is missing in a hint."""


def _infer(hint: Any, outer: tuple[Any, ...]) -> pa.DataType:
    if isinstance(hint, pa.DataType):
        return hint
    if isinstance(hint, typing.NewType):
        return _infer(hint.__supertype__, outer)
    try:
        known = _SCALARS.get(hint)
    except TypeError:
        known = None
    if known is not None:
        return known
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(hint, outer)
    if origin in (typing.Union, types.UnionType):
        return _optional(hint, arguments, outer)
    # Of `typing` or `typing_extensions`, whichever this Python has.
    if getattr(origin, "_name", None) in ("Required", "NotRequired"):
        return _infer(arguments[0], outer)
    if origin is typing.Literal:
        return _literal(hint, arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return pa.list_(_infer(arguments[0], outer))
    if origin in _SEQUENCES and len(arguments) == 1:
        return pa.list_(_infer(arguments[0], outer))
    # In Python 3.10 `dict[str, int]` is an instance of `type`, too.
    if origin is None and isinstance(hint, type):
        return _class(hint, outer)
    raise _Unknown(_advice(hint, origin or hint))


def _annotated(hint: Any, outer: tuple[Any, ...]) -> pa.DataType:
    base, *metadata = typing.get_args(hint)
    for said in metadata:
        if isinstance(said, pa.Field):
            return said.type
        if isinstance(said, pa.DataType):
            return said
        if base is decimal.Decimal and isinstance(said, tuple) and len(said) == 2:
            return _decimal(*said)
    return _infer(base, outer)


def _decimal(precision: Any, scale: Any) -> pa.DataType:
    try:
        return (
            pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        )
    except (TypeError, ValueError):
        raise _Unknown(
            f"a Decimal cannot have the precision and scale {precision, scale}"
        ) from None


def _optional(hint: Any, arguments: tuple[Any, ...], outer: tuple[Any, ...]) -> pa.DataType:
    kinds = {_infer(argument, outer) for argument in arguments if argument is not type(None)}
    if len(kinds) != 1:
        raise _Unknown(f"{_show(hint)} is of more than one type")
    return kinds.pop()


def _literal(hint: Any, arguments: tuple[Any, ...]) -> pa.DataType:
    kinds = {type(argument) for argument in arguments if argument is not None}
    if len(kinds) != 1 or not kinds <= set(_SCALARS):
        raise _Unknown(f"{_show(hint)} is of more than one type")
    return _SCALARS[kinds.pop()]


def _class(hint: type, outer: tuple[Any, ...]) -> pa.DataType:
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(hint, numpy.generic):
        try:
            return pa.from_numpy_dtype(numpy.dtype(hint))
        except (TypeError, ValueError, NotImplementedError, pa.ArrowException):
            raise _Unknown(f"numpy.{hint.__name__} says too little") from None
    if dataclasses.is_dataclass(hint):
        names = [item.name for item in dataclasses.fields(hint)]
    elif typing.is_typeddict(hint):
        names = list(hint.__annotations__)
    elif issubclass(hint, tuple) and hasattr(hint, "_fields"):
        names = list(hint._fields)
    else:
        raise _Unknown(_advice(hint, hint))
    if hint in outer:
        raise _Unknown(f"{hint.__name__} contains itself")
    try:
        hints = typing.get_type_hints(hint, include_extras=True)
    except NameError as error:
        raise _Unknown(f"a type hint of {hint.__name__} cannot be resolved: {error}") from None
    if not names or not set(names) <= set(hints):
        raise _Unknown(f"{hint.__name__} has no fields with hints")
    return pa.struct([(field, _infer(hints[field], (*outer, hint))) for field in names])


def _advice(hint: Any, origin: Any) -> str:
    module = getattr(origin, "__module__", "")
    if module.partition(".")[0] == "numpy" and getattr(origin, "__name__", "") == "ndarray":
        return "an array has no width: write Annotated[np.ndarray, lance_backfill.vector(384)]"
    if origin is decimal.Decimal:
        return "a Decimal has no scale: write Annotated[Decimal, (precision, scale)]"
    if origin in (dict, abc.Mapping, abc.MutableMapping):
        return "a dict has no fields: use a dataclass or TypedDict for a struct"
    if origin is tuple and typing.get_args(hint):
        return (
            f"{_show(hint)}: tuples of different types have no column type: return a dataclass for "
            "a struct, or write list[float] or the like if all are of one type"
        )
    if origin in (list, tuple, *_SEQUENCES):
        return f"{_show(hint)} does not say of what: write list[float] or the like"
    return f"the hint {_show(hint)} has no Arrow type"


def _show(hint: Any) -> str:
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__qualname__
    return repr(hint).replace("typing.", "")


class _Text:
    """Reads types as pyarrow writes them, and `fixed_size_list<float, 128>`."""

    _TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*|[+-]?\d[\w:/+-]*|[<>()\[\],:=])")

    def __init__(self, text: str) -> None:
        self._tokens = self._split(text)
        self._at = 0

    def read(self) -> pa.DataType:
        found = self._type()
        if self._at != len(self._tokens):
            raise ValueError
        return found

    def _split(self, text: str) -> list[str]:
        # A time zone has characters that mean something elsewhere.
        zones: list[str] = re.findall(r"tz\s*=\s*([^\]]+?)\s*\]", text)
        text = re.sub(r"(tz\s*=\s*)[^\]]+\]", r"\1ZONE]", text)
        tokens, at = [], 0
        text = text.rstrip()
        while at < len(text):
            match = self._TOKEN.match(text, at)
            if match is None:
                raise ValueError
            tokens.append(zones.pop(0) if match[1] == "ZONE" else match[1])
            at = match.end()
        return tokens

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            if self._next() != token:
                raise ValueError

    def _accept(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _type(self) -> pa.DataType:
        name = self._next()
        nested = getattr(self, f"_read_{name}", None) if name.isidentifier() else None
        if nested is not None and self._peek() in "<([" and self._peek():
            return nested()
        if self._accept("["):
            return self._with_unit(name)
        return pa.type_for_alias(name)

    def _with_unit(self, name: str) -> pa.DataType:
        unit = self._next()
        if name == "fixed_size_binary":
            self._expect("]")
            return pa.binary(int(unit))
        if name == "timestamp" and self._accept(","):
            self._expect("tz", "=")
            zone = self._next()
            self._expect("]")
            return pa.timestamp(unit, tz=zone)
        self._expect("]")
        return pa.type_for_alias(f"{name}[{unit}]")

    def _item(self) -> pa.DataType:
        """An item of a list, which may have a name."""
        if self._peek(1) == ":":
            self._at += 2
        return self._type()

    def _read_list(self) -> pa.DataType:
        self._expect("<")
        item = self._item()
        self._expect(">")
        return pa.list_(item)

    def _read_large_list(self) -> pa.DataType:
        return pa.large_list(self._read_list().value_type)

    def _read_fixed_size_list(self) -> pa.DataType:
        self._expect("<")
        item = self._item()
        if self._accept(","):
            width = int(self._next())
            self._expect(">")
        else:
            self._expect(">", "[")
            width = int(self._next())
            self._expect("]")
        return pa.list_(item, width)

    def _read_struct(self) -> pa.DataType:
        self._expect("<")
        fields: list[tuple[str, pa.DataType]] = []
        while not self._accept(">"):
            if fields:
                self._expect(",")
            name = self._next()
            self._expect(":")
            fields.append((name, self._type()))
        return pa.struct(fields)

    def _read_map(self) -> pa.DataType:
        self._expect("<")
        key = self._type()
        self._expect(",")
        value = self._type()
        self._expect(">")
        return pa.map_(key, value)

    def _numbers(self) -> tuple[int, int]:
        self._expect("(")
        precision = int(self._next())
        self._expect(",")
        scale = int(self._next())
        self._expect(")")
        return precision, scale

    def _read_decimal128(self) -> pa.DataType:
        return pa.decimal128(*self._numbers())

    def _read_decimal256(self) -> pa.DataType:
        return pa.decimal256(*self._numbers())

    def _read_vector(self) -> pa.DataType:
        self._expect("(")
        width = int(self._next())
        item = self._type() if self._accept(",") else pa.float32()
        self._expect(")")
        return vector(width, item)
