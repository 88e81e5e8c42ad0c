"""A GPU column of a table on S3: the service plans it, real workers on a real Ray head fill it.

The device is one that Ray is told of.  `LANCE_BACKFILL_KILLS` says how often something is killed.
"""

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lance_backfill.ray.head import RAY_VARIABLE, LocalHead
from on_ray.columns import Column
from on_ray.deployment import IMAGE, SERVICE, program
from on_ray.support import Jobs, eventually, is_alive, kill

# Batches of ten rows: 104 in all.
JOB_ROWS = 500
# Each kind once.
KILLS = int(os.environ.get("LANCE_BACKFILL_KILLS", "5"))


@pytest.fixture
def new_head(service, ray_program, tmp_path, monkeypatch):
    """Starts heads whose workers are the real ones; all end with the test."""
    monkeypatch.setenv(RAY_VARIABLE, str(ray_program))
    home = tmp_path / "home"
    home.mkdir()
    variables = {
        **service.variables,
        "HOME": str(home),
        "LANCE_BACKFILL_PROGRAM": str(program("lance-backfill")),
        "LANCE_BACKFILL_PYTHON": sys.executable,
        "LANCE_BACKFILL_IMAGE": IMAGE,
        "LANCE_BACKFILL_CACHE": str(tmp_path / "worker-cache"),
    }
    heads = []

    def start():
        heads.append(LocalHead(gpus=1, cpus=4, variables=variables))
        heads[-1].start()
        return heads[-1]

    yield start
    for head in heads:
        head.stop()
        assert head.processes() == []


def pool(revision="00000001", **group):
    groups = [{"name": "fake", "class": "fake", "gpus": 1, "cpus": 1, "grace_s": 20, **group}]
    fields = {"version": 1, "pool": "fakes", "service": SERVICE, "revision": revision}
    return {**fields, "groups": groups}


def process_of(supervisor, what):
    """The process of the one actor, of its worker or of a host, if it lives."""
    (actor,) = supervisor.working(1).values()
    found = hosts([actor["worker_pid"]]) if what == "host" else [actor[f"{what}_pid"]]
    return next(filter(is_alive, found), None)


def hosts(workers):
    """Processes that the workers started: hosts of functions, by whose environment they are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if words[0] != "Z" and int(words[1]) in workers:
            found.append(int(path.parts[2]))
    return found


def test_model_is_loaded_once_for_all_jobs(service, new_head, tmp_path):
    head = new_head()
    supervisor = Jobs(head).submit(pool())
    actors = supervisor.working(1)
    column = Column(service, tmp_path, program("lance-backfill"), seconds=0.05)
    column.wait_filled()
    for _ in range(2):
        column.append(JOB_ROWS)
        column.wait_filled(300)
    loads = column.noted("load")
    assert [load["devices"] for load in loads] == ["0"]
    assert {call["pid"] for call in column.noted("call")} == {loads[0]["pid"]}
    assert sum(call["rows"] for call in column.noted("call")) == column.rows == 40 + 2 * JOB_ROWS
    assert supervisor.working(1) == actors
    assert service.dead("fake-fresh") == service.dead("fake-bulk") == 0
    calls, returns = column.noted("call"), column.noted("return")
    gaps = sorted(
        later["at"] - before["at"] for before, later in zip(returns, calls[1:], strict=False)
    )
    print(f"{len(calls)} batches over 3 jobs: {len(loads)} load of the model")
    print(f"    between two batches: {1000 * gaps[len(gaps) // 2]:.0f} ms in the middle")


MOST_RECEIVES = 4
# The worker is the parent of the host.
POISON = "if 15 in id.to_pylist(): os.kill(os.getppid(), 9)"


@pytest.mark.parametrize("service", [{"most_receives": MOST_RECEIVES}], indirect=True)
def test_two_functions_share_a_device_and_a_poison_batch_is_quarantined(
    service, new_head, tmp_path
):
    supervisor = Jobs(new_head()).submit(pool())
    supervisor.working(1)
    columns = []
    for name, also in [("poisoned", POISON), ("sound", "pass")]:
        folder = tmp_path / name
        folder.mkdir()
        columns.append(Column(service, folder, program("lance-backfill"), seconds=0.2, also=also))
    poisoned, sound = columns
    others = {one: 2 * one for one in range(40) if not 10 <= one < 20}
    service.eventually(lambda: others.items() <= poisoned.values().items(), 180)
    sound.append(100)
    sound.wait_filled(180)
    service.eventually(lambda: quarantined(poisoned.uri) == 10, 180)
    assert quarantined(sound.uri) == 0
    assert service.dead("fake-fresh") == service.dead("fake-bulk") == 0
    loads = poisoned.noted("load") + sound.noted("load")
    assert {load["devices"] for load in loads} == {"0"}
    deaths = sum(call["first"] == 10 for call in poisoned.noted("call"))
    assert 1 < deaths <= MOST_RECEIVES
    print(f"{deaths} workers died of a batch; its neighbours and the other column are filled")


def quarantined(uri):
    """Rows of batches that no worker survived."""
    words = ["failures", uri, "double", "--json", "--service", SERVICE]
    said = subprocess.run([program("lance-backfill"), *words], capture_output=True, check=True)
    found = json.loads(said.stdout)
    assert {one["kind"] for one in found["failures"]} <= {"BatchQuarantined"}
    return found["rows_failed"]


def test_whatever_is_killed_the_column_fills(service, new_head, tmp_path):
    seed = int(os.environ.get("LANCE_BACKFILL_SEED", time.time_ns() % 1_000_000))
    print(f"kills end to end: replay with LANCE_BACKFILL_SEED={seed}")
    draw = random.Random(seed)
    head = new_head()
    supervisor = Jobs(head).submit(pool())
    supervisor.working(1)
    column = Column(service, tmp_path, program("lance-backfill"), seconds=1.0)
    kinds = ["actor", "worker", "host", "supervisor", "head"]
    killed = [kinds[index % len(kinds)] for index in range(KILLS)]
    draw.shuffle(killed)
    slowest = {}
    for what in killed:
        column.append(40)
        calls = len(column.noted("call"))
        service.eventually(lambda: len(column.noted("call")) > calls)  # noqa: B023
        time.sleep(draw.random())
        loads, at = len(column.noted("load")), time.time()
        if what == "supervisor":
            kill(supervisor.pid)
            eventually(lambda: supervisor.state == "FAILED")  # noqa: B023
        elif what == "head":
            for one in head.processes():
                with suppress(ProcessLookupError):
                    kill(one)
            head = new_head()
            at = time.time()
        else:
            # What was told last may be of the one that was killed before.
            victim = eventually(lambda: process_of(supervisor, what))  # noqa: B023
            at = time.time()
            kill(victim)
        if what in {"supervisor", "head"}:
            # What the controller does when it finds no supervisor.
            supervisor = Jobs(head).submit(pool())
        # What was at work may be done by now; who comes back has something to do.
        column.append(20)
        if what != "supervisor":
            service.eventually(lambda: len(column.noted("load")) > loads)  # noqa: B023
            took = column.noted("load")[-1]["at"] - at
            slowest[what] = max(slowest.get(what, 0), took)
    column.wait_filled(300)
    assert service.dead("fake-fresh") == service.dead("fake-bulk") == 0
    calls = column.noted("call")
    batches = len({call["first"] for call in calls})
    # A worker has two batches at once: the one at work, and the next one.
    assert len(calls) - batches <= 2 * len(killed)
    rounded = {what: round(took, 1) for what, took in sorted(slowest.items())}
    print(f"{len(killed)} kills, {column.rows} rows, {len(calls) - batches} calls again: {rounded}")
