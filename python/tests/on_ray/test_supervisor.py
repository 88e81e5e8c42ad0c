"""A supervisor and its actors on a real Ray head, with a stand-in for the worker program."""

import time
from contextlib import suppress
from pathlib import Path

import pytest

from on_ray.support import SOON, Jobs, eventually, is_alive, kill


def only(actors):
    (actor,) = actors.values()
    return actor


def states(supervisor):
    seen = supervisor.seen()
    return [one["state"] for one in seen["actors"].values()] if seen else []


def test_worker_stays_warm_over_batches_and_supervisors(start, queue):
    first = start()
    actor = only(first.working(1))
    for job in range(3):
        queue.wait_done(queue.put(20, 0.01, f"job{job}"))
    loads = queue.lines("loads")
    assert [load["pid"] for load in loads] == [actor["worker_pid"]]
    assert (loads[0]["devices"], loads[0]["gpus"]) == ("0", "1")
    # The cluster's token is none of the functions' business.
    assert loads[0]["of_ray"] == []
    assert {line["pid"] for line in queue.lines("finished")} == {actor["worker_pid"]}

    # To stop the supervisor stops nothing else, and the next one finds what there is.
    first.stop()
    assert first.said()[-1]["event"] == "stopped"
    queue.wait_done(queue.put(2, 0.01, "between"))
    second = start(revision=first.pool["revision"])
    again = only(second.working(1))
    assert (again["actor_pid"], again["worker_pid"]) == (actor["actor_pid"], actor["worker_pid"])
    assert len(queue.lines("loads")) == 1


def test_killed_worker_is_started_again(start, queue):
    supervisor = start()
    actor = only(supervisor.working(1))
    (batch,) = queue.put(1, 1.0)
    eventually(lambda: queue.lines("begun"))
    kill(actor["worker_pid"])
    killed = time.time()
    queue.wait_done([batch])
    first, second = queue.lines("loads")
    assert second["worker"] == first["worker"]
    assert second["at"] - killed < SOON
    print(f"kill -9 of the worker: the next one had started after {second['at'] - killed:.1f} s")
    assert [line["batch"] for line in queue.lines("redeliveries")] == [batch]
    assert len(queue.lines("finished")) == 1
    again = eventually(lambda: (now := only(supervisor.working(1)))["restarts"] == 1 and now)
    assert again["actor_pid"] == actor["actor_pid"]


def test_killed_actor_comes_back_and_its_worker_finishes(start, queue):
    supervisor = start()
    actor = only(supervisor.working(1))
    (batch,) = queue.put(1, "gate")
    eventually(lambda: queue.lines("begun"))
    kill(actor["actor_pid"])
    killed = time.time()
    # Time for another one to start beside it, which must not be.
    time.sleep(3)
    queue.open_gate()
    later = queue.put(3, 0.01, "later")
    queue.wait_done([batch, *later])
    # What was at work is done once, by the worker whose actor is gone; only then is there another.
    assert queue.lines("redeliveries") == []
    first, second = queue.lines("loads")
    finished = queue.lines("finished")
    assert (finished[0]["batch"], finished[0]["pid"]) == (batch, first["pid"])
    assert second["at"] > finished[0]["at"]
    assert {line["pid"] for line in finished[1:]} == {second["pid"]}
    print(f"kill -9 of the actor: its batch ended after {finished[0]['at'] - killed:.1f} s")
    print(f"    the next worker had started {second['at'] - finished[0]['at']:.1f} s later")
    assert second["at"] - finished[0]["at"] < SOON
    assert eventually(lambda: not is_alive(first["pid"]))

    eventually(lambda: (now := only(supervisor.working(1)))["worker_pid"] == second["pid"] and now)
    kill(only(supervisor.working(1))["actor_pid"])
    killed = time.time()
    third = eventually(lambda: len(queue.lines("loads")) == 3 and queue.lines("loads")[-1])
    print(f"    killed while it was idle: the next had started after {third['at'] - killed:.1f} s")
    assert third["at"] - killed < SOON


def test_killed_supervisor_is_missed_by_nobody(start, queue):
    supervisor = start()
    actor = only(supervisor.working(1))
    names = queue.put(20, 0.1)
    kill(supervisor.pid)
    eventually(lambda: supervisor.state == "FAILED")
    queue.wait_done(names)
    again = only(start(revision=supervisor.pool["revision"]).working(1))
    assert (again["actor_pid"], again["worker_pid"]) == (actor["actor_pid"], actor["worker_pid"])
    assert len(queue.lines("loads")) == 1


def test_new_revision_takes_over_when_the_old_has_finished(start, queue):
    old = start()
    old.working(1)
    (batch,) = queue.put(1, "gate")
    eventually(lambda: queue.lines("begun"))
    new = start()
    eventually(lambda: "draining" in states(new))
    assert queue.done() == []
    queue.open_gate()
    new.working(1)
    assert queue.done() == [batch]
    first, second = eventually(lambda: len(loads := queue.lines("loads")) == 2 and loads)
    assert second["at"] > queue.lines("finished")[0]["at"]
    assert not is_alive(first["pid"])
    assert queue.lines("redeliveries") == []
    # Of two supervisors of one pool the later one stays.
    eventually(lambda: old.state == "SUCCEEDED")
    assert old.said()[-1]["event"] == "replaced"
    assert new.state == "RUNNING"


def test_pool_without_groups_is_drained(start, queue):
    supervisor = start(workers_per_gpu=2)
    supervisor.working(2)
    names = queue.put(2, "gate")
    eventually(lambda: len(queue.lines("begun")) == 2)
    queue.put(1, "gate", "not-taken")
    drained = start(groups=[])
    eventually(lambda: states(drained) == ["draining"] * 2)
    queue.open_gate()
    eventually(lambda: drained.state == "SUCCEEDED")
    assert drained.said()[-1]["event"] == "drained"
    assert queue.done() == names
    assert queue.lines("redeliveries") == []
    assert not any(is_alive(load["pid"]) for load in queue.lines("loads"))


def test_shares_of_one_device(start, queue, head, run_on_head):
    supervisor = start(workers_per_gpu=4)
    actors = supervisor.working(4)
    assert len({actor["worker_pid"] for actor in actors.values()}) == 4
    loads = eventually(lambda: len(queue.lines("loads")) == 4 and queue.lines("loads"))
    assert {(load["devices"], load["gpus"]) for load in loads} == {("0", "0.25")}
    # What placement never asks for: a fifth share would wait for ever.
    assert run_on_head(
        """
        @ray.remote(num_gpus=0.25)
        class Fifth:
            def pid(self):
                return os.getpid()

        fifth = Fifth.remote()
        ready, _ = ray.wait([fifth.pid.remote()], timeout=3)
        print(len(ready))
        """
    ) == ["0"]


def test_more_devices_than_a_node_has(start):
    supervisor = start(gpus=2)
    seen = eventually(supervisor.seen)
    assert (seen["wanted"], seen["actors"]) == (0, {})
    assert seen["refused"] == {"fake": "group 'fake' asks for 2 GPUs, and no node has more than 1"}


def test_worker_that_cannot_work_is_told_with_its_reason(start, queue):
    (queue.folder / "refuse").touch()
    supervisor = start()

    def waits():
        seen = supervisor.seen()
        actors = list(seen["actors"].values()) if seen else []
        return actors and actors[0].get("restarts", 0) >= 2 and actors[0]

    actor = eventually(waits)
    assert actor["last_exit"] == 2
    assert "there is no such service" in actor["last_error"]
    (queue.folder / "refuse").unlink()
    supervisor.working(1)


def test_actor_that_cannot_be_made_is_told_with_its_reason(start, lock_folder):
    """As one of an image without this package, or whose disk is full."""
    aside = lock_folder.with_name("aside")
    if lock_folder.exists():
        lock_folder.rename(aside)
    lock_folder.touch()
    try:
        supervisor = start()
        eventually(lambda: states(supervisor) == ["failed"])
        assert "FileExistsError" in only(supervisor.seen()["actors"])["last_error"]
    finally:
        lock_folder.unlink()
        if aside.exists():
            aside.rename(lock_folder)
    supervisor.working(1)


def test_pod_that_is_told_to_go(start, queue, drain_folder):
    supervisor = start()
    worker = only(supervisor.working(1))["worker"]
    (batch,) = queue.put(1, 2.0)
    eventually(lambda: queue.lines("begun"))
    request = drain_folder / "request"
    request.touch()
    try:
        done = drain_folder / f"done-{worker}"
        eventually(done.exists)
        assert queue.done() == [batch]
        eventually(lambda: states(supervisor) == ["leaving"])
        assert len(queue.lines("loads")) == 1
    finally:
        request.unlink()
    supervisor.working(1)


def test_other_pools_on_the_cluster_are_left_alone(start, queue, jobs, tmp_path):
    supervisor = start()
    actor = only(supervisor.working(1))
    other = {
        "version": 1,
        "pool": "other",
        "service": str(tmp_path),
        "revision": "0" * 8,
        "groups": [],
    }
    drained = jobs.submit(other)
    eventually(lambda: drained.state == "SUCCEEDED")
    queue.wait_done(queue.put(1, 0.01))
    assert only(supervisor.working(1))["worker_pid"] == actor["worker_pid"]


@pytest.mark.parametrize(("token", "code"), [("", 401), ("wrong" * 13, 403), (None, 200)])
def test_without_the_token_nothing_is_done(head, token, code):
    assert Jobs(head, token).code("/api/jobs/") == code


def test_nobody_else_can_reach_the_head(head):
    """All that listens does so on the loopback address."""
    ours = set()
    for pid in head.processes():
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                ours.add(link.readlink().name)
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in ours:
                listening.append(words[1].split(":")[0])
    assert len(listening) > 5
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F", "0" * 24 + "01000000"}
