"""`check`, which starts a real host."""

import os
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import lance_backfill
from lance_backfill.hosting import StartFailed

sys.path.insert(0, str(Path(__file__).parent / "functions"))
import faults
import kinds


def test_values_failures_and_log():
    checked = lance_backfill.check(faults.fault, ["a", "value", None])
    assert checked.values.equals(pa.array([1, None, None]))
    (failure,) = checked.failures
    assert (failure.row, failure.rows, failure.kind, failure.message) == (
        1,
        1,
        "ValueError",
        "two lines",
    )
    assert "in fault" in failure.traceback
    assert checked.seconds >= 0
    assert "row 5\n" in lance_backfill.check(faults.printing, [5]).log


def test_appearance():
    text = repr(lance_backfill.check(faults.fault, ["a", "value", *[None] * 10]))
    first, *rows, last = text.splitlines()
    assert first.startswith("12 rows of int64 in ")
    assert first.endswith(" s, 1 failed")
    assert rows[:2] == ["  0: 1", "  1: ValueError: two lines"]
    assert last == "  ... 2 more"


def test_process_that_dies_is_started_again():
    checked = lance_backfill.check(faults.fault, ["a", "os-exit", "bb", "segfault", "ccc"])
    assert checked.values.to_pylist() == [1, None, 2, None, 3]
    assert [(failure.row, failure.kind, failure.message) for failure in checked.failures] == [
        (1, "crashed", "the process exited with status 3"),
        (3, "crashed", "the process was ended by SIGSEGV"),
    ]


def test_batched_call_that_raises_or_dies():
    for what, kind in (("value", "ValueError"), ("os-exit", "crashed")):
        checked = lance_backfill.check(faults.batched, ["a", what])
        assert checked.values.null_count == 2
        (failure,) = checked.failures
        assert (failure.row, failure.rows, failure.kind) == (0, 2, kind)


def test_rate_limit_costs_one_row():
    checked = lance_backfill.check(faults.fault, ["limited", "a"])
    assert checked.values.to_pylist() == [None, 1]
    assert checked.failures[0].rate_limited


@pytest.mark.parametrize(
    "sample",
    [
        [(1, 2), (3, None)],
        {"a": [1, 3], "b": [2, None], "c": ["x", "y"]},
        pa.table({"b": [2, None], "a": [1, 3]}),
        pa.RecordBatch.from_pydict({"a": [1, 3], "b": [2, None]}),
    ],
    ids=["tuples", "dict", "table", "batch"],
)
def test_samples(sample):
    checked = lance_backfill.check(kinds.multiply, sample)
    assert checked.values.to_pylist() == [2, None]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (7, "a sample is a list, a dict of lists or a table, not a int"),
        ([1, 2], r"multiply takes 2 inputs \(a, b\): a row of the sample is a tuple of as many"),
        ({"a": [1]}, "the sample has no 'b', which multiply reads"),
        ({"a": [1], "b": [1, 2]}, "the columns of the sample are of unequal length"),
        ([(object(), 1)], "the values of 'a' are of no Arrow type"),
    ],
)
def test_samples_that_do_not_do(sample, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lance_backfill.check(kinds.multiply, sample)


def test_batch_size_is_kept():
    rows = range(250)
    checked = lance_backfill.check(kinds.batch_sum, {"left": rows, "right": rows})
    assert checked.values.to_pylist() == [2 * row for row in rows]


def test_no_inputs():
    assert lance_backfill.check(kinds.constant, [(), ()]).values.to_pylist() == [0.5, 0.5]


def test_failing_start():
    with pytest.raises(StartFailed, match="RuntimeError: no model"):
        lance_backfill.check(faults.Broken, [1])


def test_local_function_is_packed():
    @lance_backfill.udf(row_timeout=3)
    def words(text: str) -> list[str]:
        import time

        if text == "sleep":
            time.sleep(30)
        return [*text.split(), str(FACTOR)]

    checked = lance_backfill.check(words, ["a b", "sleep", "c"])
    assert checked.values.to_pylist() == [["a", "b", "7"], None, ["c", "7"]]
    assert [(failure.row, failure.kind) for failure in checked.failures] == [(1, "timeout")]


FACTOR = 7


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is not watched there")
def test_memory_is_limited():
    @lance_backfill.udf(memory="512MiB")
    def take(mib: int) -> int:
        return len(bytes(1) * (mib << 20)) >> 20

    checked = lance_backfill.check(take, [1, 1024, 2])
    assert checked.values.to_pylist() == [1, None, 2]
    (failure,) = checked.failures
    assert (failure.row, failure.kind) == (1, "out_of_memory")
    assert failure.message.endswith(" MiB of memory, 512 are allowed")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is not watched there")
def test_memory_of_a_start_is_limited():
    @lance_backfill.udf(memory="1MiB")
    def same(x: int) -> int:
        return x

    with pytest.raises(StartFailed, match=r"out_of_memory: the host had \d+ MiB of memory"):
        lance_backfill.check(same, [1])


def test_what_a_worker_would_not_find_is_not_found(tmp_path, monkeypatch):
    @lance_backfill.udf(num_cpus=3)
    def look(what: str) -> str | None:
        if what.endswith(".txt"):
            return Path(what).read_text()
        return os.environ.get(what)

    (tmp_path / "here.txt").write_text("found")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("TORCH_HOME", "/models")
    what = ["OPENAI_API_KEY", "TORCH_HOME", "OMP_NUM_THREADS", "here.txt"]
    checked = lance_backfill.check(look, what)
    assert checked.values.to_pylist() == [None, "/models", "3", None]
    assert [failure.kind for failure in checked.failures] == ["FileNotFoundError"]


def test_secrets_come_from_the_environment(monkeypatch):
    @lance_backfill.udf(secrets=["CHECK_TOKEN"], env={"CHECK_PLAIN": "p"})
    def read(name: str) -> str | None:
        return os.environ.get(name)

    with pytest.raises(ValueError, match="the secret 'CHECK_TOKEN' is not in the environment"):
        lance_backfill.check(read, ["CHECK_TOKEN"])
    monkeypatch.setenv("CHECK_TOKEN", "t")
    checked = lance_backfill.check(read, ["CHECK_TOKEN", "CHECK_PLAIN"])
    assert checked.values.to_pylist() == ["t", "p"]


def test_a_lost_device_costs_its_row_and_the_rows_behind_get_another_host():
    checked = lance_backfill.check(faults.shaky, [1, 2, 3, 4, 5])
    assert checked.values.to_pylist() == [1, None, 3, 4, None]
    assert [(failure.row, failure.kind) for failure in checked.failures] == [
        (1, "RuntimeError"),
        (4, "RuntimeError"),
    ]
