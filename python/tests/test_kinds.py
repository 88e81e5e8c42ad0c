"""What functions of each kind are given, and what may be returned."""

import pyarrow as pa
import pytest

from lance_backfill.hosting import Host
from support.calls import FUNCTIONS, answer_of, call

INT = pa.int64()


def test_scalar_with_null():
    assert call("kinds:twice", {"x": pa.array([1, None, 3])}, INT).values == [2, None, 6]


def test_scalar_of_none_two_and_three_inputs():
    ints = pa.array([1, 2])
    assert call("kinds:add", {"a": ints, "b": ints}, INT).values == [2, 4]
    texts = pa.array(["x", "y"])
    columns = {"p": ints, "q": texts, "r": texts}
    assert call("kinds:join", columns, pa.string()).values == ["1xx-", "2yy-"]


def test_no_inputs():
    with Host() as host:
        host.start("kinds:constant", FUNCTIONS, value=pa.float64())
        host.send({"type": "call", "id": 1, "rows": 3, "batch": "b"})
        part, _ = host.receive()
        assert (part["type"], part["rows"]) == ("part", 3)
        assert host.receive()[0] == {"type": "done", "id": 1}


def test_function_that_is_not_decorated():
    assert call("kinds:bare", {"x": pa.array([5])}, INT).values == [5]


def test_arrays_and_batches():
    ints = pa.array([1, None, 3])
    assert call("kinds:multiply", {"a": ints, "b": ints}, INT).values == [1, None, 9]
    assert call("kinds:batch_sum", {"p": ints, "q": ints}, INT).values == [2, None, 6]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("as_numpy", [2, 3]), ("as_chunks", [1, 2]), ("whole_floats", [2, 2])],
)
def test_what_a_batched_function_may_return(name, expected):
    assert call(f"kinds:{name}", {"a": pa.array([1, 2])}, INT).values == expected


def test_matrix_for_vectors():
    kind = pa.list_(pa.float32(), 3)
    assert call("kinds:matrix", {"a": pa.array([1, 2])}, kind).values == [[0, 1, 2], [3, 4, 5]]
    other = call("kinds:matrix", {"a": pa.array([1])}, pa.list_(pa.float32(), 4))
    assert other.raised["kind"] == "wrong_length"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("too_short", "wrong_length", "1 values for 2 rows"),
        ("floats_for_integers", "wrong_type", "values of double do not fit int64 without loss"),
        ("texts_for_integers", "wrong_type", "values of string do not fit int64 without loss"),
        ("nothing", "wrong_type", "it returned a NoneType, not values of int64"),
    ],
)
def test_what_a_batched_function_may_not_return(name, kind, message):
    answer = call(f"kinds:{name}", {"a": pa.array([1, 2])}, INT)
    assert (answer.raised["kind"], answer.raised["message"]) == (kind, message)
    assert answer.values == []


def test_dictionaries_are_decoded():
    column = pa.array(["a", "b", "a"]).dictionary_encode()
    assert call("kinds:kind_of_array", {"a": column}, pa.string()).values == ["string"] * 3
    assert call("kinds:anything", {"x": column}, pa.string()).values == ["a", "b", "a"]


def test_class_is_instantiated_once_a_host():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([1, 2])})
    with Host() as host:
        ready, _ = host.start("kinds:Model", FUNCTIONS, inputs=batch.schema, value=pa.string())
        assert ready["function"]["stateful"]
        for _ in range(2):
            values = answer_of(host, batch).values
            assert values == [f"{host.pid}:1:10", f"{host.pid}:1:20"]


def test_numpy_parameters():
    lists = pa.array([[1.0, 2.0], None, [], [4.0]], pa.list_(pa.float32())).slice(1)
    answer = call("kinds:shape", {"v": lists}, pa.string())
    assert answer.values == ["none", "float32(0,)", "float32(1,)"]
    fixed = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)).slice(1)
    assert call("kinds:shape", {"v": fixed}, pa.string()).values == ["none", "int16(2,)"]
    deep = pa.array([[[1, 2], [3, 4]]], pa.list_(pa.list_(pa.int8(), 2), 2))
    assert call("kinds:shape", {"v": deep}, pa.string()).values == ["int8(2, 2)"]
    gap = pa.array([[1, None], [3]])
    answer = call("kinds:shape", {"v": gap}, pa.string())
    assert (answer.values, answer.kinds) == ([None, "int64(1,)"], [(0, "wrong_input")])


def test_parts_grow_and_cover_a_large_call():
    rows = 300_000
    answer = call("kinds:twice", {"x": pa.array(range(rows))}, INT)
    assert answer.values == [2 * row for row in range(rows)]


def test_empty_call():
    assert call("kinds:twice", {"x": pa.array([], INT)}, INT).values == []
    ints = pa.array([], INT)
    assert call("kinds:multiply", {"a": ints, "b": ints}, INT).values == []
