"""Writes the values of global constants as Python expressions."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import logging
import math
import pathlib
import re
import sys
import typing
import uuid
import zoneinfo
from typing import Any

from .secrets import Secrets

# What belongs into code; more is data, and is read from a file or a table.
MAX_TEXT = 1 << 20
_MAX_DEPTH = 50
_PLAIN = (bool, bytes, complex, str, type(None), type(Ellipsis), range)


class NotLiteral(Exception):
    """The value is not of a type that is written as an expression."""


class TooLarge(Exception):
    """The value could be written, with so many characters."""

    def __init__(self, characters: int) -> None:
        super().__init__(characters)
        self.characters = characters


class Literals:
    """Makes expressions, and collects the imports that they need."""

    def __init__(self, secrets: Secrets | None = None) -> None:
        self.imports: set[str] = set()
        self._secrets = secrets or Secrets()

    def write(self, value: Any) -> str:
        """An expression that makes an equal value, the same in every run.

        Raises:
            NotLiteral: the type of the value, or of one in it, is not among those that are written.
            HoldsSecret: the value of a secret is in it.
            TooLarge: the expression is longer than `MAX_TEXT`.
        """
        text = self._write(value, 0)
        if len(text) > MAX_TEXT:
            raise TooLarge(len(text))
        return text

    def _module(self, name: str) -> str:
        self.imports.add(f"import {name} as _lb_{name}")
        return f"_lb_{name}"

    def _write(self, value: Any, depth: int) -> str:
        kind = type(value)
        if depth > _MAX_DEPTH:
            raise NotLiteral
        if kind in (str, bytes, bytearray):
            self._secrets.check(value)
        if kind in _PLAIN:
            return repr(value)
        if kind is int:
            return repr(value) if value.bit_length() < 4096 else hex(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if kind in (list, tuple, set, frozenset, dict, bytearray):
            return self._collection(value, kind, depth)
        if kind is type:
            return self._class(value)
        text = self._library_value(value, kind, depth)
        self._secrets.check(text)
        return text

    def _collection(self, value: Any, kind: type, depth: int) -> str:
        if kind is bytearray:
            return f"bytearray({bytes(value)!r})"
        if kind is dict:
            keys = [self._write(key, depth + 1) for key in value]
            values = [self._write(item, depth + 1) for item in value.values()]
            pairs = [f"{key}: {item}" for key, item in zip(keys, values, strict=True)]
            return f"{{{', '.join(pairs)}}}"
        items = [self._write(item, depth + 1) for item in value]
        if kind is list:
            return f"[{', '.join(items)}]"
        if kind is tuple:
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        items.sort()
        if kind is frozenset:
            return f"frozenset([{', '.join(items)}])"
        return f"{{{', '.join(items)}}}" if items else "set()"

    def _library_value(self, value: Any, kind: type, depth: int) -> str:
        if kind in (decimal.Decimal, fractions.Fraction):
            return f"{self._module(kind.__module__)}.{kind.__name__}({str(value)!r})"
        if kind is uuid.UUID:
            return f"{self._module('uuid')}.UUID({str(value)!r})"
        if isinstance(value, pathlib.PurePath) and kind.__module__.startswith("pathlib"):
            name = "Path" if isinstance(value, pathlib.Path) else kind.__name__
            return f"{self._module('pathlib')}.{name}({str(value)!r})"
        if kind is zoneinfo.ZoneInfo and value.key:
            return f"{self._module('zoneinfo')}.ZoneInfo({value.key!r})"
        if kind.__module__ == "datetime":
            return self._time(value, depth)
        if kind is re.Pattern:
            flags = value.flags & ~re.UNICODE if isinstance(value.pattern, str) else value.flags
            more = f", {int(flags)}" if flags else ""
            return f"{self._module('re')}.compile({value.pattern!r}{more})"
        if kind is logging.Logger:
            return f"{self._module('logging')}.getLogger({value.name!r})"
        if kind.__module__.partition(".")[0] == "pyarrow":
            return self._arrow(value, depth)
        if typing.get_origin(value) is not None:
            return self._generic(value, depth)
        raise NotLiteral

    def _time(self, value: Any, depth: int) -> str:
        zone = getattr(value, "tzinfo", None)
        if isinstance(zone, zoneinfo.ZoneInfo):
            fold = f", fold={value.fold}" if value.fold else ""
            plain = self._time(value.replace(tzinfo=None, fold=0), depth)
            return f"{plain}.replace(tzinfo={self._write(zone, depth + 1)}{fold})"
        if zone is not None and type(zone) is not dt.timezone:
            raise NotLiteral
        return repr(value).replace("datetime.", f"{self._module('datetime')}.")

    def _class(self, value: type) -> str:
        module = value.__module__
        if module == "builtins":
            return value.__name__
        if "." in value.__qualname__ or module == "__main__":
            raise NotLiteral
        if getattr(sys.modules.get(module), value.__name__, None) is not value:
            raise NotLiteral
        alias = "_lb_" + module.replace(".", "_")
        self.imports.add(f"import {module} as {alias}")
        return f"{alias}.{value.__name__}"

    def _generic(self, value: Any, depth: int) -> str:
        """`list[float]`, `Annotated[...]` and the like."""
        origin = typing.get_origin(value)
        arguments = typing.get_args(value)
        if hasattr(value, "__metadata__"):
            base = f"{self._module('typing')}.Annotated"
        elif isinstance(origin, type) and origin.__module__ != "types":
            base = self._class(origin)
        else:
            base = f"{self._module('typing')}.Union"
        if not arguments or any(type(argument) is list for argument in arguments):
            raise NotLiteral
        written = ", ".join(self._argument(argument, depth) for argument in arguments)
        return f"{base}[{written}]"

    def _argument(self, value: Any, depth: int) -> str:
        return (
            self._class(value) if issubclass(type(value), type) else self._write(value, depth + 1)
        )

    def _arrow(self, value: Any, depth: int) -> str:
        """An Arrow data type, field or schema."""
        pa = sys.modules["pyarrow"]
        if not isinstance(value, (pa.DataType, pa.Field, pa.Schema)):
            raise NotLiteral
        alias = self._module("pyarrow")
        if isinstance(value, pa.DataType):
            return f"{alias}.{self._arrow_type(value, depth)}"
        metadata = ""
        if value.metadata:
            metadata = f", metadata={self._write(dict(value.metadata), depth + 1)}"
        if isinstance(value, pa.Schema):
            fields = ", ".join(self._arrow(field, depth + 1) for field in value)
            return f"{alias}.schema([{fields}]{metadata})"
        nullable = "" if value.nullable else ", nullable=False"
        data_type = self._arrow(value.type, depth + 1)
        return f"{alias}.field({value.name!r}, {data_type}{nullable}{metadata})"

    def _arrow_type(self, value: Any, depth: int) -> str:
        pa = sys.modules["pyarrow"]
        types = pa.types

        def inner(part: Any) -> str:
            return self._arrow(part, depth + 1)

        if types.is_timestamp(value):
            zone = f", tz={value.tz!r}" if value.tz else ""
            return f"timestamp({value.unit!r}{zone})"
        if types.is_time(value) or types.is_duration(value):
            name = "duration" if types.is_duration(value) else f"time{value.bit_width}"
            return f"{name}({value.unit!r})"
        if types.is_decimal(value):
            return f"decimal{value.bit_width}({value.precision}, {value.scale})"
        if types.is_fixed_size_binary(value):
            return f"binary({value.byte_width})"
        if types.is_fixed_size_list(value):
            return f"list_({inner(value.value_field)}, {value.list_size})"
        if types.is_list(value) or types.is_large_list(value):
            name = "list_" if types.is_list(value) else "large_list"
            return f"{name}({inner(value.value_field)})"
        if types.is_struct(value):
            fields = ", ".join(inner(value.field(i)) for i in range(value.num_fields))
            return f"struct([{fields}])"
        if types.is_map(value):
            ordered = ", keys_sorted=True" if value.keys_sorted else ""
            return f"map_({inner(value.key_type)}, {inner(value.item_field)}{ordered})"
        if types.is_dictionary(value):
            ordered = ", ordered=True" if value.ordered else ""
            types_ = f"{inner(value.index_type)}, {inner(value.value_type)}"
            return f"dictionary({types_}{ordered})"
        names = {"bool": "bool_", "halffloat": "float16", "float": "float32", "double": "float64"}
        text = str(value).split("[", maxsplit=1)[0]
        name = names.get(text, text)
        if not hasattr(pa, name) or getattr(pa, name)() != value:
            raise NotLiteral
        return f"{name}()"
