"""A client of a table that knows nothing of lance-backfill: pylance.

Usage: client.py append TABLE FIRST ROWS    creates the table if it is not there
       client.py wait TABLE ROWS            until each row has p = a * b; prints how many rows there are
"""

import sys
import time

import lance
import pyarrow as pa

PATIENCE_S = 90


def append(table, first, rows):
    ids = list(range(int(first), int(first) + int(rows)))
    data = pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "a": pa.array([None if number % 11 == 3 else number * 10 for number in ids], pa.int64()),
            "b": pa.array([number % 7 for number in ids], pa.int64()),
        }
    )
    try:
        lance.dataset(table)
        mode = "append"
    except ValueError:
        mode = "create"
    lance.write_dataset(data, table, mode=mode)


def wait(table, rows):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = lance.dataset(table).to_table().to_pylist()
        wrong = [
            row
            for row in found
            if row["p"] != (None if row["a"] is None else row["a"] * row["b"])
        ]
        if len(found) == int(rows) and not wrong:
            print(len(found))
            return
        if time.monotonic() > deadline:
            sys.exit(f"{len(found)} rows, {len(wrong)} without their value: {wrong[:3]}")
        time.sleep(0.1)


{"append": append, "wait": wait}[sys.argv[1]](*sys.argv[2:])
