"""Functions of every kind."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_backfill import udf


@udf
def twice(x: int | None) -> int | None:
    """Doubles.

    More.
    """
    return None if x is None else x * 2


@udf(data_type="string")
def join(a, b, c, d="-"):
    return f"{a}{b}{c}{d}"


@udf
def add(a: int, b: int) -> int:
    return a + b


@udf
def constant() -> float:
    return 0.5


def bare(x: int) -> int:
    return x


@udf(data_type=pa.int64())
def multiply(a: pa.Array, b: pa.Array):
    return pc.multiply(a, b)


@udf(inputs=["left", "right"], data_type="int64", batch_size=100)
def batch_sum(batch: pa.RecordBatch):
    assert batch.schema.names == ["left", "right"]
    return pc.add(batch["left"], batch["right"])


@udf(data_type="int64")
def as_numpy(a: pa.Array):
    return a.to_numpy() + 1


@udf(data_type="int64")
def as_chunks(a: pa.Array):
    return pa.chunked_array([a.slice(0, 1), a.slice(1)])


@udf(data_type="string")
def kind_of_array(a: pa.Array):
    return [str(a.type)] * len(a)


@udf(data_type="int64")
def too_short(a: pa.Array):
    return a.slice(1)


@udf(data_type="int64")
def floats_for_integers(a: pa.Array):
    return pa.array([1.5] * len(a))


@udf(data_type="int64")
def whole_floats(a: pa.Array):
    return pa.array([2.0] * len(a))


@udf(data_type="int64")
def texts_for_integers(a: pa.Array):
    return pa.array(["1"] * len(a))


@udf(data_type="int64")
def nothing(a: pa.Array):
    return None


@udf(data_type=pa.list_(pa.float32(), 3))
def matrix(a: pa.Array):
    return np.arange(3 * len(a), dtype="float64").reshape(len(a), 3)


@udf
class Model:
    loaded = 0

    def __init__(self):
        type(self).loaded += 1
        self.weight = 10

    def __call__(self, x: int) -> str:
        return f"{os.getpid()}:{self.loaded}:{x * self.weight}"


@udf
def vector_norm(v: np.ndarray) -> float:
    assert isinstance(v, np.ndarray)
    return float(v.sum())


@udf
def shape(v: np.ndarray | None) -> str:
    return "none" if v is None else f"{v.dtype}{v.shape}"


@udf(data_type="null")
def anything(x):
    return x


@udf
def environment(name: str) -> str | None:
    return os.environ.get(name)


not_a_function = 7
