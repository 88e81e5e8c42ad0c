"""Jobs go on beside us, are called off, and survive the processes that work on them."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import texts as functions

from client.conftest import values
from lance_backfill import BadInput
from lance_backfill.client import Cancelled, Progress
from support.calls import wait_for

ROWS = 40


@pytest.fixture
def gate(tmp_path):
    """It opens at the end, for whom a failed test leaves waiting."""
    opened = tmp_path / "gate"
    yield opened
    opened.touch()


@pytest.fixture
def table(open_table, gate):
    """Rows of which those from the second half on wait for the gate, in batches of ten."""
    gates = [""] * (ROWS // 2) + [str(gate)] * (ROWS // 2)
    opened = open_table(
        {"at": list(range(ROWS)), "gate": gates}, max_rows_per_file=10, max_rows_per_group=10
    )
    opened.add_columns({"n": functions.gated}, env="current")
    return opened


def test_job_in_the_background(table, gate):
    job = table.backfill_async("n", batch_rows=10)
    assert job.state == "running"
    with pytest.raises(TimeoutError):
        job.wait(timeout=0.05)
    progress = job.progress()
    assert (progress.rows_selected, progress.rows_failed) == (ROWS, 0)
    assert progress.fraction < 1
    gate.touch()
    assert job.wait(timeout=60) == "finished"
    assert job.result()["columns"][0]["rows_assigned"] == ROWS
    assert job.progress() == Progress(ROWS, ROWS, 0, 0)
    (listed,) = table.jobs()
    assert (listed.id, listed.column, listed.state) == (job.id, "n", "finished")
    assert listed.result()["rows_assigned"] == ROWS


def test_cancelled_job(table, gate):
    job = table.backfill_async("n", batch_rows=10)
    table.job(job.id).cancel()
    gate.touch()
    assert job.wait(timeout=60) == "cancelled"
    with pytest.raises(Cancelled) as error:
        job.result()
    assert error.value.result["job_state"] == "cancelled"
    with pytest.raises(Cancelled):
        table.job(job.id).result()


def test_job_outlives_its_object(table, gate):
    job_id = table.backfill_async("n").id
    gc.collect()
    gate.touch()
    assert table.job(job_id).wait(timeout=60) == "finished"
    assert values(table, "n") == list(range(ROWS))


def test_job_outlives_the_process_that_ordered_it(table, binary, cache, gate):
    done = script(table, binary, cache, "print(table.backfill_async('n').id)")
    job_id, _ = done.communicate(timeout=60)
    assert done.returncode == 0
    gate.touch()
    assert table.job(job_id.strip()).wait(timeout=60) == "finished"
    assert values(table, "n") == list(range(ROWS))


def test_killed_process_leaves_the_job_to_the_next_refresh(table, gate):
    job = table.backfill_async("n", batch_rows=10)
    os.kill(job._child._process.pid, signal.SIGKILL)
    assert job.wait(timeout=60) == "failed"
    assert table.job(job.id).state == "running"
    gate.touch()
    assert table.refresh("n")["columns"][0]["rows_remaining"] == 0
    assert job.state == "finished"
    assert values(table, "n") == list(range(ROWS))


def test_no_rows_no_job(table):
    job = table.backfill_async("n", where="at < 0")
    assert (job.id, job.state, job.wait()) == (None, "finished", "finished")
    assert job.progress().fraction == 1.0
    assert job.result()["rows_selected"] == 0


def test_bad_input_of_a_job_is_told_at_once(table):
    with pytest.raises(BadInput, match="'m' is not a computed column"):
        table.backfill_async("m")
    with pytest.raises(BadInput, match="job"):
        table.job("9-0123456789ab")


def test_retry_in_the_background(texts):
    texts.add_columns({"n": functions.words}, env="current", max_failed_rows=1, backfill=True)
    job = texts.retry_async("n")
    assert job.result()["rows_selected"] == 1


@pytest.mark.parametrize("call", ["backfill('n')", "refresh()"])
def test_ctrl_c(table, binary, cache, gate, call):
    """A person's Ctrl-C goes to Python and the binary; a notebook's to Python alone, as here."""
    with script(table, binary, cache, f"print('ready', flush=True); table.{call}") as process:
        try:
            assert process.stdout.readline() == "ready\n"
            await_work(table)
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGINT
    last = told.strip().splitlines()[-1]
    assert "KeyboardInterrupt: stopped; what was committed stays" in last
    assert "goes on" in last
    gate.touch()
    table.refresh("n")
    assert {job.state for job in table.jobs()} <= {"finished"}
    assert values(table, "n") == list(range(ROWS))


def script(table, binary, cache, text):
    """Another Python that has opened the table."""
    opened = f"""
        import signal
        import sys
        # A shell's background job ignores it, and so would all that is started from there.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, {str(Path(functions.__file__).parent)!r})
        import lance_backfill
        table = lance_backfill.table({table.uri!r}, binary={str(binary)!r}, cache={str(cache)!r})
    """
    return subprocess.Popen(
        [sys.executable, "-c", f"{textwrap.dedent(opened)}\n{text}\n"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def await_work(table):
    """Waits until a process has handed out batches of the table."""
    wait_for(lambda: table.plan("n")["columns"][0]["rows_in_flight"])
