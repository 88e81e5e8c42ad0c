"""Kills at random moments: whatever dies is started again, and all batches are done.

`LANCE_BACKFILL_KILLS` says how many.  `LANCE_BACKFILL_SEED` repeats what is killed and when.
"""

import os
import random
import time

from on_ray.support import SOON, eventually, is_alive, kill

KILLS = int(os.environ.get("LANCE_BACKFILL_KILLS", "6"))


def test_kills_at_random_moments(start, queue, jobs):
    seed = int(os.environ.get("LANCE_BACKFILL_SEED", time.time_ns() % 1_000_000))
    print(f"kills: replay with LANCE_BACKFILL_SEED={seed}")
    draw = random.Random(seed)
    supervisor = start(workers_per_gpu=2)
    supervisor.working(2)
    names, killed, slowest = [], {"actor": 0, "worker": 0, "supervisor": 0}, 0.0
    victims = [sorted(killed)[index % len(killed)] for index in range(KILLS)]
    draw.shuffle(victims)
    for index, what in enumerate(victims):
        names += queue.put(8, 0.3, f"round{index:02}")
        actors = supervisor.working(2)
        time.sleep(draw.random())
        killed[what] += 1
        if what == "supervisor":
            kill(supervisor.pid)
            eventually(lambda: supervisor.state == "FAILED")  # noqa: B023
            # What the controller does when it finds no supervisor.
            supervisor = start(revision=supervisor.pool["revision"], workers_per_gpu=2)
            continue
        name, loads = draw.choice(sorted(actors)), len(queue.lines("loads"))
        # What was told last may be of the one that was killed before.
        eventually(lambda: is_alive(supervisor.working(2)[name][f"{what}_pid"]))  # noqa: B023
        victim, at = supervisor.working(2)[name][f"{what}_pid"], time.time()
        kill(victim)
        eventually(lambda: len(queue.lines("loads")) > loads)  # noqa: B023
        slowest = max(slowest, queue.lines("loads")[-1]["at"] - at)
    queue.wait_done(names)
    times = len(queue.lines("begun")) - len(names)
    assert times <= killed["worker"]
    assert len(queue.lines("redeliveries")) <= killed["worker"]
    assert slowest < SOON
    print(
        f"{KILLS} kills, {killed}: {times} batches begun again, back after {slowest:.1f} s at most"
    )
