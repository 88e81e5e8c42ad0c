"""What becomes of rows, calls and hosts when a function goes wrong."""

import json
import os
import signal
import struct

import pyarrow as pa
import pytest

from lance_backfill.host.encoding import encode_batch
from lance_backfill.hosting import Host, HostDied
from support.calls import FUNCTIONS, answer_of, call, wait_for

INT = pa.int64()


def faults(*what, **start):
    return call("faults:fault", {"what": pa.array(what)}, INT, **start)


def test_failing_row_fails_alone():
    answer = faults("a", "value", "bb", None)
    assert answer.values == [1, None, 2, None]
    (error,) = answer.failed
    assert (error["row"], error["kind"], error["message"]) == (1, "ValueError", "two lines")
    assert (error["transient"], error["rate_limited"], error["retry_after_s"]) == (
        False,
        False,
        None,
    )
    assert error["traceback"].splitlines()[1].endswith("in fault")
    assert "lance_backfill" not in error["traceback"]


@pytest.mark.parametrize(
    ("what", "kind", "transient"),
    [
        ("exit", "SystemExit", False),
        ("interrupt", "KeyboardInterrupt", False),
        ("memory", "MemoryError", False),
        ("recursion", "RecursionError", False),
        ("connection", "ConnectionResetError", True),
        ("timeout", "TimeoutError", True),
        ("named", "faults.ApiTimeout", True),
        ("http503", "faults.HttpError", True),
        ("http404", "faults.HttpError", False),
        ("transient", "lance_backfill.raising.Transient", True),
        ("unprintable", "faults.Unprintable", False),
    ],
)
def test_kinds_of_errors(what, kind, transient):
    answer = faults(what, "after")
    (error,) = answer.failed
    assert (error["kind"], error["transient"]) == (kind, transient)
    assert answer.values == [None, 5]


def test_long_texts_are_cut():
    (error,) = faults("long").failed
    assert len(error["message"]) == 500
    assert len(error["traceback"].encode()) <= 4096


def test_retry_on_replaces_the_usual_types():
    names = ["ValueError", "faults.HttpError", "OSError"]
    answer = faults("value", "http404", "connection", "timeout", "memory", retry_on=names)
    # Both are OSError.
    assert [error["transient"] for error in answer.failed] == [True, True, True, True, False]
    assert [e["transient"] for e in faults("transient", "connection", retry_on=[]).failed] == [
        True,
        False,
    ]


@pytest.mark.parametrize(("what", "wait"), [("limited", 2.5), ("throttled", 7), ("http429", None)])
def test_rate_limit_ends_the_call(what, wait):
    answer = faults("a", "value", what, "bb", retry_on=[])
    assert answer.values == [1, None]
    assert answer.kinds == [(1, "ValueError")]
    raised = answer.raised
    assert (raised["rate_limited"], raised["transient"], raised["retry_after_s"]) == (
        True,
        True,
        wait,
    )


def test_rate_limit_at_the_first_row():
    answer = faults("limited", "a")
    assert (answer.values, answer.parts) == ([], 0)


def test_batched_function_raises():
    answer = call("faults:batched", {"what": pa.array(["a", "timeout"])}, INT)
    assert answer.raised["kind"] == "TimeoutError"
    assert answer.raised["transient"]
    assert answer.values == []


def test_secrets_are_hidden_in_errors():
    secret = "s3cr3t-of-the-test"
    answer = faults("secret", secrets={"TOKEN": secret})
    text = json.dumps(answer.failed)
    assert "bad key ***" in text
    assert secret not in text


def test_environment_reaches_the_function():
    names = {"name": pa.array(["PLAIN", "HIDDEN", "MISSING"])}
    start = {"env": {"PLAIN": "p"}, "secrets": {"HIDDEN": "h"}}
    answer = call("kinds:environment", names, pa.string(), **start)
    assert answer.values == ["p", "h", None]


@pytest.mark.parametrize(("what", "code"), [("os-exit", 3), ("segfault", -signal.SIGSEGV)])
def test_marks_survive_the_host(tmp_path, what, code):
    marks = tmp_path / "marks"
    marks.write_bytes(bytes(16))
    batch = pa.RecordBatch.from_pydict({"what": pa.array(["a", "b", what, "c"])})
    with Host() as host:
        host.start("faults:fault", FUNCTIONS, inputs=batch.schema, value=INT, marks=marks)
        answer_of(host, batch.slice(0, 2))
        assert struct.unpack("QQ", marks.read_bytes()) == (1, 0)
        with pytest.raises(HostDied) as died:
            answer_of(host, batch)
    assert died.value.code == code
    assert struct.unpack("QQ", marks.read_bytes()) == (2, 3)
    if what == "segfault":
        assert "Segmentation fault" in host.log


def test_marks_show_a_hanging_row(tmp_path):
    marks = tmp_path / "marks"
    marks.write_bytes(bytes(16))
    batch = pa.RecordBatch.from_pydict({"what": pa.array(["a", "hang"])})
    with Host() as host:
        host.start("faults:fault", FUNCTIONS, inputs=batch.schema, value=INT, marks=marks)
        host.send({"type": "call", "id": 9, "rows": 2, "batch": "b"}, encode_batch(batch))
        wait_for(lambda: struct.unpack("QQ", marks.read_bytes()) == (9, 2))
        host.kill()


def test_finished_parts_arrive_before_a_crash(tmp_path):
    source = (
        "import os, time\n"
        "def f(x: int) -> int:\n"
        "    time.sleep(0.05)\n"
        "    if x == 7: os._exit(1)\n"
        "    return x\n"
    )
    (tmp_path / "slow.py").write_text(source)
    batch = pa.RecordBatch.from_pydict({"x": pa.array(range(9))})
    received = 0
    with Host() as host:
        host.start("slow:f", tmp_path, inputs=batch.schema, value=INT)
        with pytest.raises(HostDied):
            for frame, _ in host.call(batch):
                received += frame["rows"]
    assert 4 <= received <= 7


def test_printed_text_never_mixes_with_frames():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([1, 2])})
    with Host() as host:
        host.start("faults:printing", FUNCTIONS, inputs=batch.schema, value=INT)
        assert answer_of(host, batch).values == [1, 2]
    lines = host.log
    assert "row 1\nraw\nchild\nto stderr\n" in lines
    assert "no newlinerow 2\n" in lines
    assert lines.endswith("no newline\n")


def test_half_a_line_ends_with_its_call():
    with Host() as host:
        host.start("faults:printing", FUNCTIONS, inputs=pa.schema([("x", INT)]), value=INT)
        for x in (1, 2):
            assert answer_of(host, pa.RecordBatch.from_pydict({"x": [x]})).values == [x]
    assert "no newline\nrow 2\n" in host.log
    # Lines that have an end get no other.
    assert "\n\n" not in host.log


def test_carriage_returns_are_not_held_back():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([50])})
    with Host() as host:
        host.start("faults:progress", FUNCTIONS, inputs=batch.schema, value=INT)
        host.send({"type": "call", "id": 1, "rows": 1, "batch": "b"}, encode_batch(batch))
        wait_for(lambda: host.log == "\r50 %")
        host.kill()


def test_stdin_is_empty():
    assert call("faults:reading", {"x": pa.array([1])}, pa.string()).values == [""]


def test_host_ignores_interrupts_and_ends_with_stdin():
    batch = pa.RecordBatch.from_pydict({"x": pa.array([1])})
    with Host() as host:
        host.start("kinds:twice", FUNCTIONS, inputs=batch.schema, value=INT)
        os.kill(host.pid, signal.SIGINT)
        assert answer_of(host, batch).values == [2]
        assert host.close() == 0
