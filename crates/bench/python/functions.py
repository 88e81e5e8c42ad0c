"""The functions of columns that the benchmark fills."""

import pyarrow as pa
import pyarrow.compute as pc
from lance_backfill import udf


@udf(data_type=pa.float64())
def product(a: pa.Array, b: pa.Array) -> pa.Array:
    return pc.multiply(a, b)


@udf
def scalar(a: float) -> float:
    return a * 2.0 + 1.0


@udf
def busy(a: float) -> float:
    total = 0.0
    for step in range(20_000):
        total += a * step
    return total
