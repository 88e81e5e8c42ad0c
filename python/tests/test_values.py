"""Values of every Arrow type, through a host and back; and results that do not fit."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pytest

from support.calls import call

UTC = dt.timezone.utc
DAY = dt.date(2024, 2, 29)
NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 123456)

ARRAYS = [
    pa.array([True, None, False]),
    *(pa.array([1, None, 100], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *(pa.array([1, None, 200], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32())),
    pa.array([1, None, 2**64 - 1], pa.uint64()),
    pa.array([-(2**63), 2**63 - 1]),
    *(pa.array([0.5, None, float("inf")], kind) for kind in (pa.float32(), pa.float64())),
    *(pa.array(["ä", None, ""], kind) for kind in (pa.string(), pa.large_string())),
    *(pa.array([b"\xff", None, b""], kind) for kind in (pa.binary(), pa.large_binary())),
    *(
        pa.array([long, None], view())
        for long, view in (
            ("long enough for no inlining", getattr(pa, "string_view", pa.string)),
            (b"long enough for no inlining", getattr(pa, "binary_view", pa.binary)),
        )
    ),
    pa.array([b"abc", None], pa.binary(3)),
    pa.array([DAY, None], pa.date32()),
    pa.array([DAY, None], pa.date64()),
    pa.array([dt.time(1, 2, 3), None], pa.time32("s")),
    pa.array([dt.time(1, 2, 3, 4000), None], pa.time32("ms")),
    pa.array([dt.time(1, 2, 3, 4), None], pa.time64("us")),
    pa.array([NOON.replace(microsecond=0), None], pa.timestamp("s")),
    pa.array([NOON.replace(microsecond=1000), None], pa.timestamp("ms")),
    pa.array([NOON, None], pa.timestamp("us")),
    pa.array([NOON, None], pa.timestamp("ns")),
    pa.array([NOON.replace(tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    pa.array([NOON.replace(tzinfo=UTC), None], pa.timestamp("us", "Europe/Berlin")),
    *(pa.array([dt.timedelta(days=1), None], pa.duration(u)) for u in ("s", "ms", "us", "ns")),
    pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)),
    pa.array([Decimal("1.25"), None], pa.decimal256(60, 2)),
    pa.array([[1, None], None, []], pa.list_(pa.int64())),
    pa.array([["a"], None, []], pa.large_list(pa.string())),
    pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
    pa.array([[[1], []], None], pa.list_(pa.list_(pa.int8()))),
    pa.array(
        [{"a": 1, "b": ["x"]}, None], pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))])
    ),
    pa.array([[{"t": NOON}], None], pa.list_(pa.struct([("t", pa.timestamp("us"))]))),
    pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    pa.nulls(2),
    pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    pa.array(["a", "b", None, "a"]).dictionary_encode(),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
def test_round_trip(array):
    answer = call("kinds:anything", {"x": array}, array.type)
    assert answer.failed == []
    assert answer.values == array.to_pylist()


def test_half_floats():
    numpy = pytest.importorskip("numpy")
    array = pa.array(numpy.array([0.5, 2], "float16"))
    assert call("kinds:anything", {"x": array}, pa.float16()).values == [0.5, 2]


def test_nanoseconds_that_no_datetime_holds():
    array = pa.array([1000, 1001, None], pa.int64()).view(pa.timestamp("ns"))
    answer = call("kinds:anything", {"x": array}, pa.timestamp("ns"))
    assert answer.kinds == [(1, "wrong_input")]
    assert answer.values[0] == dt.datetime(1970, 1, 1, 0, 0, 0, 1)


def test_dates_beyond_python_fail_alone():
    array = pa.array([0, 10**17, 1], pa.int64()).view(pa.timestamp("s"))
    answer = call("kinds:anything", {"x": array}, pa.timestamp("s"))
    assert answer.kinds == [(1, "wrong_input")]
    assert answer.values[2] == dt.datetime(1970, 1, 1, 0, 0, 1)


RESULTS = """
import datetime as dt, decimal, dataclasses, typing
import numpy as np

@dataclasses.dataclass
class Point:
    x: int
    tags: list

class Pair(typing.NamedTuple):
    x: int
    tags: tuple

UTC = dt.timezone.utc
VALUES = {values}

def f(i: int):
    return VALUES[i]
"""

POINT = pa.struct([("x", pa.int64()), ("tags", pa.list_(pa.string()))])


def results_of(tmp_path, kind, *expressions):
    (tmp_path / "results.py").write_text(RESULTS.format(values="[" + ",".join(expressions) + "]"))
    column = pa.array(range(len(expressions)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("support.calls.FUNCTIONS", tmp_path)
        return call("results:f", {"i": column}, kind)


@pytest.mark.parametrize(
    ("kind", "expression", "value"),
    [
        (pa.int64(), "2.0", 2),
        (pa.int64(), "True", 1),
        (pa.int8(), "np.int64(5)", 5),
        (pa.float64(), "3", 3.0),
        (pa.float64(), "np.float32(0.5)", 0.5),
        (pa.float32(), "float('inf')", float("inf")),
        (pa.float32(), "0.1", pytest.approx(0.1)),
        (pa.string(), "np.str_('a')", "a"),
        (pa.binary(), "bytearray(b'a')", b"a"),
        (pa.list_(pa.float32()), "np.array([0.5])", [0.5]),
        (pa.list_(pa.float32(), 2), "np.array([1, 2])", [1, 2]),
        (pa.list_(pa.list_(pa.int8())), "np.ones((2, 1), 'int8')", [[1], [1]]),
        (pa.list_(pa.int64()), "(1, 2)", [1, 2]),
        (pa.list_(pa.int64()), "range(2)", [0, 1]),
        (pa.list_(pa.int64()), "[1.0]", [1]),
        (POINT, "Point(1, ['a'])", {"x": 1, "tags": ["a"]}),
        (POINT, "Pair(1, ('a',))", {"x": 1, "tags": ["a"]}),
        (POINT, "dict(x=1)", {"x": 1, "tags": None}),
        (pa.map_(pa.string(), pa.int64()), "dict(a=1)", [("a", 1)]),
        (pa.timestamp("us"), "np.datetime64('2024-02-29', 'us')", dt.datetime(2024, 2, 29)),
        (pa.decimal128(5, 2), "1", Decimal("1.00")),
    ],
)
def test_results_that_fit(tmp_path, kind, expression, value):
    answer = results_of(tmp_path, kind, expression, "None")
    assert answer.failed == []
    assert answer.values == [value, None]


@pytest.mark.parametrize(
    ("kind", "expression", "message"),
    [
        (pa.int64(), "1.5", "a value of type float does not fit int64 without loss"),
        (pa.int64(), "float('nan')", "a value of type float does not fit int64 without loss"),
        (pa.int64(), "2**70", "a value of type int does not fit int64 without loss"),
        (pa.int8(), "300", "a value of type int does not fit int8 without loss"),
        (pa.uint8(), "-1", "a value of type int does not fit uint8 without loss"),
        (pa.int64(), "'7'", "a value of type str does not fit int64 without loss"),
        (pa.int64(), "decimal.Decimal('1.5')", "a value of type Decimal does not fit int64"),
        (pa.float64(), "2**53 + 1", "a value of type int does not fit double without loss"),
        (pa.float64(), "decimal.Decimal('1.1')", "a value of type Decimal does not fit double"),
        (pa.float32(), "1e300", "a value of type float does not fit float without loss"),
        (pa.string(), "7", "a value of type int does not fit string without loss"),
        (pa.bool_(), "1", "a value of type int does not fit bool without loss"),
        (pa.timestamp("us"), "dt.datetime(2024, 1, 1, tzinfo=UTC)", "a value of type datetime"),
        (pa.timestamp("us", "UTC"), "dt.datetime(2024, 1, 1)", "a value of type datetime"),
        (pa.timestamp("s"), "dt.datetime(2024, 1, 1, 0, 0, 0, 1)", "a value of type datetime"),
        (pa.timestamp("us"), "5", "a value of type int does not fit timestamp[us] without loss"),
        (pa.date32(), "dt.datetime(2024, 1, 1, 5)", "a value of type datetime does not fit date32"),
        (pa.duration("s"), "dt.timedelta(microseconds=1)", "a value of type timedelta"),
        (pa.time32("s"), "dt.time(1, 1, 1, 1)", "a value of type time does not fit time32[s]"),
        (pa.decimal128(5, 2), "decimal.Decimal('1.234')", "a value of type Decimal"),
        (pa.list_(pa.int64()), "[1, 2.5]", "a value of type float at [1] does not fit int64"),
        (pa.list_(pa.int64()), "np.array([1.5])", "a value of type ndarray does not fit list"),
        (pa.list_(pa.float32()), "np.array([1e300])", "a value of type ndarray does not fit list"),
        (pa.list_(pa.string()), "'ab'", "a value of type str does not fit list<item: string>"),
        (POINT, "Point(1, [2])", "a value of type int at tags[0] does not fit string without loss"),
        (POINT, "dict(x=1, y=2)", "a field 'y', which struct<"),
        (POINT, "7", "a value of type int does not fit struct<"),
    ],
)
def test_results_that_do_not_fit(tmp_path, kind, expression, message):
    answer = results_of(tmp_path, kind, "None", expression, "None")
    assert answer.kinds == [(1, "wrong_type")]
    assert answer.failed[0]["message"].startswith(message)
    assert answer.failed[0]["traceback"] is None
    assert answer.values == [None, None, None]


@pytest.mark.parametrize(
    ("kind", "expression"),
    [
        (pa.list_(pa.int64(), 2), "[1]"),
        (pa.list_(pa.float32(), 2), "np.ones(3)"),
        (pa.binary(2), "b'a'"),
    ],
)
def test_results_of_the_wrong_length(tmp_path, kind, expression):
    answer = results_of(tmp_path, kind, expression, "None")
    assert answer.kinds == [(0, "wrong_length")]
    assert answer.values == [None, None]


def test_the_rest_is_kept(tmp_path):
    answer = results_of(tmp_path, pa.int64(), "1", "'x'", "None", "2.5", "4")
    assert answer.values == [1, None, None, None, 4]
    assert answer.kinds == [(1, "wrong_type"), (3, "wrong_type")]


@pytest.mark.skipif(int(pa.__version__.split(".")[0]) < 18, reason="this pyarrow needs numpy")
def test_without_numpy():
    """numpy is no requirement of this package."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; sys.modules['numpy'] = None\n"
        "import pyarrow as pa\n"
        "from lance_backfill.host.results import Results\n"
        "from lance_backfill.host.columns import Column\n"
        "from lance_backfill.host.inputs import reader_for\n"
        "from lance_backfill.types import infer\n"
        "assert infer(list[float], 'f') == pa.list_(pa.float64())\n"
        "assert Results(pa.list_(pa.float32())).array([[0.5]])[0].to_pylist() == [[0.5]]\n"
        "assert Column(pa.int64()).array([1], 1).to_pylist() == [1]\n"
        "assert reader_for(pa.list_(pa.int8()), list)(pa.array([[1]])) == ([[1]], {})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
