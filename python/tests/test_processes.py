"""A host and the processes around it: its worker, and children that the function forks."""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from lance_backfill.hosting import Host
from support.calls import FUNCTIONS, answer_of, call, wait_for

INT = pa.int64()

WORKER = """
import sys, time
sys.path[:0] = {path!r}
import pyarrow as pa
from lance_backfill.hosting import Host
from lance_backfill.host.encoding import encode_batch
batch = pa.RecordBatch.from_pydict({{"what": pa.array([{what!r}])}})
host = Host(dies_with_thread={dies!r})
code, marks = {code!r}, {marks!r}
host.start("faults:fault", code, inputs=batch.schema, value=pa.int64(), marks=marks)
host.send({{"type": "call", "id": 1, "rows": 1, "batch": "b"}}, encode_batch(batch))
print(host.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("what", "dies"),
    [
        ("hang", False),
        pytest.param(
            "regex",
            True,
            marks=pytest.mark.skipif(sys.platform != "linux", reason="nobody kills it there"),
        ),
    ],
)
def test_host_ends_when_its_worker_is_killed(tmp_path, what, dies):
    """The host is busy in a call, so that it does not see the end of stdin."""
    marks = tmp_path / "marks"
    marks.write_bytes(bytes(16))
    script = WORKER.format(
        path=sys.path, what=what, dies=dies, code=str(FUNCTIONS), marks=str(marks)
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as worker:
        pid = int(worker.stdout.readline())
        wait_for(lambda: struct.unpack("QQ", marks.read_bytes()) == (1, 1))
        worker.kill()
    try:
        wait_for(lambda: not _runs(pid))
    finally:
        if _runs(pid):
            os.kill(pid, signal.SIGKILL)


def test_only_the_host_itself_dies_with_its_worker():
    names = pa.RecordBatch.from_pydict({"name": ["LANCE_BACKFILL_DIE_WITH_PARENT"]})
    with Host(dies_with_thread=True) as host:
        host.start("kinds:environment", FUNCTIONS, inputs=names.schema, value=pa.string())
        assert answer_of(host, names).values == [None]


def test_forked_children_do_not_answer_nor_go_on(tmp_path):
    marks = tmp_path / "marks"
    marks.write_bytes(bytes(16))
    # The first rows are fast, so that the others are in one chunk.
    how = ["not"] * 1000 + ["return", "raise", "exit"]
    batch = pa.RecordBatch.from_pydict({"how": how})
    with Host() as host:
        host.start("faults:forking", FUNCTIONS, inputs=batch.schema, value=INT, marks=marks)
        answer = answer_of(host, batch)
        assert (answer.values[1000:], answer.failed) == ([1, 1, 0], [])
        assert struct.unpack("QQ", marks.read_bytes()) == (1, 0)
        assert answer_of(host, batch.slice(1000, 1)).values == [1]
    # Each row forked once: no child went on with the rows behind its own.
    assert host.log.splitlines() == ["forks"] * 4


@pytest.mark.parametrize(("how", "status"), [("return", 1), ("raise", 1), ("exit", 0)])
def test_forked_children_of_a_batched_function_do_not_answer(how, status):
    assert call("faults:forking_batched", {"how": [how]}, INT).values == [status]


def test_forked_children_of_a_constructor_are_not_ready():
    assert call("faults:Forking", {"how": ["a", "b"]}, INT).values == [1, 1]


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
