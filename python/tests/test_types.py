"""Arrow types from hints and from names."""

import datetime as dt
import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from lance_backfill import vector
from lance_backfill.types import infer, parse

INT, FLOAT, TEXT = pa.int64(), pa.float64(), pa.string()


@dataclass
class Point:
    x: float
    tags: list[str]


class Pair(NamedTuple):
    left: int
    right: Optional[str]


class Record(TypedDict):
    point: Point
    at: dt.datetime


@dataclass
class Node:
    children: "list[Node]"


class Colour(enum.Enum):
    RED = 1


POINT = pa.struct([("x", FLOAT), ("tags", pa.list_(TEXT))])


@pytest.mark.parametrize(
    ("hint", "kind"),
    [
        (bool, pa.bool_()),
        (int, INT),
        (float, FLOAT),
        (str, TEXT),
        (bytes, pa.binary()),
        (dt.datetime, pa.timestamp("us")),
        (dt.date, pa.date32()),
        (dt.time, pa.time64("us")),
        (dt.timedelta, pa.duration("us")),
        (Optional[int], INT),
        (int | None, INT),
        (list[float], pa.list_(FLOAT)),
        (list[list[str] | None], pa.list_(pa.list_(TEXT))),
        (tuple[int, ...], pa.list_(INT)),
        (Sequence[str], pa.list_(TEXT)),
        (Literal["a", "b"], TEXT),
        (NewType("Id", int), INT),
        (Annotated[str, "a name"], TEXT),
        (Annotated[Decimal, (10, 2)], pa.decimal128(10, 2)),
        (Annotated[Decimal, (50, 2)], pa.decimal256(50, 2)),
        (Annotated[int, pa.int8()], pa.int8()),
        (Annotated[np.ndarray, vector(384)], pa.list_(pa.float32(), 384)),
        (Annotated[np.ndarray, vector(4, "float16")], pa.list_(pa.float16(), 4)),
        (Annotated[npt.NDArray[np.float32], pa.list_(pa.float32())], pa.list_(pa.float32())),
        (list[Annotated[np.ndarray, vector(2)]], pa.list_(pa.list_(pa.float32(), 2))),
        (np.float32, pa.float32()),
        (np.int8, pa.int8()),
        (np.bool_, pa.bool_()),
        (Point, POINT),
        (Pair, pa.struct([("left", INT), ("right", TEXT)])),
        (Record, pa.struct([("point", POINT), ("at", pa.timestamp("us"))])),
        (Optional[list[Point]], pa.list_(POINT)),
    ],
)
def test_hints(hint, kind):
    assert infer(hint, "f") == kind


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (None, "f: the hint None has no Arrow type"),
        (Any, "f: the hint Any has no Arrow type"),
        (object, "f: the hint object has no Arrow type"),
        (uuid.UUID, "f: the hint UUID has no Arrow type"),
        (Colour, "f: the hint Colour has no Arrow type"),
        (list, "f: list does not say of what"),
        (
            tuple[int, str],
            "f: tuple[int, str]: tuples of different types have no column type: return",
        ),
        (dict, "f: a dict has no fields: use a dataclass or TypedDict for a struct"),
        (dict[str, int], "f: a dict has no fields"),
        (int | str, "f: int | str is of more than one type"),
        (Literal["a", 1], "f: Literal['a', 1] is of more than one type"),
        (Decimal, "f: a Decimal has no scale: write Annotated[Decimal, (precision, scale)]"),
        (Annotated[Decimal, (100, 2)], "f: a Decimal cannot have the precision and scale (100, 2)"),
        (
            np.ndarray,
            "f: an array has no width: write Annotated[np.ndarray, lance_backfill.vector(",
        ),
        (npt.NDArray[np.float32], "f: an array has no width"),
        (Node, "f: Node contains itself"),
        (np.datetime64, "f: numpy.datetime64 says too little"),
    ],
)
def test_hints_that_say_too_little(hint, message):
    with pytest.raises(TypeError) as refused:
        infer(hint, "f")
    assert str(refused.value).startswith(message)
    assert str(refused.value).endswith("; or write @udf(data_type=...) above it")


KINDS = [
    pa.int8(),
    pa.float16(),
    pa.float32(),
    FLOAT,
    pa.bool_(),
    pa.large_string(),
    pa.binary(16),
    pa.date32(),
    pa.date64(),
    pa.time32("s"),
    pa.timestamp("us"),
    pa.timestamp("ns", "UTC"),
    pa.timestamp("us", "America/New_York"),
    pa.timestamp("us", "+05:30"),
    pa.duration("ms"),
    pa.decimal128(10, 2),
    pa.decimal128(10, -2),
    pa.decimal256(60, 2),
    pa.list_(pa.float32()),
    pa.list_(pa.list_(pa.timestamp("us", "UTC"))),
    pa.large_list(TEXT),
    pa.list_(pa.float32(), 128),
    pa.struct([("a", INT), ("b", pa.list_(pa.struct([("c", TEXT)])))]),
    pa.map_(TEXT, pa.list_(INT)),
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_names_as_pyarrow_writes_them(kind):
    assert parse(str(kind), "f") == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("float", pa.float32()),
        ("float64", FLOAT),
        ("list<float>", pa.list_(pa.float32())),
        ("fixed_size_list<float, 128>", pa.list_(pa.float32(), 128)),
        ("fixed_size_list<item: float>[128]", pa.list_(pa.float32(), 128)),
        ("vector(384)", vector(384)),
        ("vector(384, float16)", vector(384, "float16")),
        ("struct< a:int64 ,b : string >", pa.struct([("a", INT), ("b", TEXT)])),
    ],
)
def test_other_names(name, kind):
    assert parse(name, "f") == kind


@pytest.mark.parametrize(
    "name",
    ["", "floaty", "list<", "list<float", "list<float>>", "list<float> x", "timestamp[us, tz=]",
     "decimal128(10)", "fixed_size_list<float>", "struct<a>", "int64[", "vector(0)", "list", "a;b"],
)  # fmt: skip
def test_what_is_no_name(name):
    with pytest.raises(TypeError, match="is not the name of an Arrow type"):
        parse(name, "f")


def test_python_types_as_data_type():
    assert parse(float, "f") == FLOAT
    assert parse(list[int], "f") == pa.list_(INT)
    assert parse(Point, "f") == POINT
    with pytest.raises(TypeError, match="f: the hint 7 has no Arrow type"):
        parse(7, "f")


@pytest.mark.parametrize("width", [0, -1, 1.5, True, "3"])
def test_widths(width):
    with pytest.raises((TypeError, ValueError), match="vector: the width"):
        vector(width)
