"""Does what a Python function does without lance-backfill; prints the seconds that it took.

Usage: alone.py add_columns TABLE BATCH_SIZE    Lance's add_columns with a batch_udf; 0 is its default
       alone.py loop TABLE                      a Python loop over one column
       alone.py version
"""

import json
import sys
import time

import lance
import pyarrow as pa
import pyarrow.compute as pc


@lance.batch_udf(output_schema=pa.schema([("p", pa.float64())]))
def product(batch):
    return pa.record_batch([pc.multiply(batch["a"], batch["b"])], ["p"])


def scalar(a):
    return a * 2.0 + 1.0


what = sys.argv[1]
if what == "version":
    print(json.dumps({"version": lance.__version__}))
    sys.exit()
table = lance.dataset(sys.argv[2])
if what == "add_columns":
    size = int(sys.argv[3])
    options = {"batch_size": size} if size else {}
    started = time.perf_counter()
    table.add_columns(product, read_columns=["a", "b"], **options)
else:
    column = table.to_table(columns=["a"])["a"].combine_chunks()
    started = time.perf_counter()
    pa.array([scalar(value) for value in column.to_pylist()])
print(json.dumps({"seconds": time.perf_counter() - started}))
