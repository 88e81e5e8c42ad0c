"""The supervisor job: `python -m lance_backfill.ray.supervisor`.

It keeps one actor for each share of a device, as `LANCE_BACKFILL_POOL` says, and finds those that
another supervisor before it has made.  To stop it stops nothing else: the workers go on.  A pool
without groups is drained: the job ends when the last worker has.

What it sees it writes to stdout, a JSON object a line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from .cluster import Cluster
from .decisions import decide
from .placement import place
from .pool import VARIABLE, BadPool, parse_pool

if TYPE_CHECKING:
    from .decisions import Steps
    from .placement import Placement
    from .pool import Pool

# New nodes, and actors that ended, are seen so often.
_ROUND_S = 1.0
# Also without news, so that the last lines of the log tell what there is.
_REPEAT_S = 60.0
_BAD_INPUT = 2


def main() -> int:
    """Runs until it is stopped, replaced, or has drained the pool."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        pool = parse_pool(os.environ.get(VARIABLE))
    except BadPool as error:
        sys.stderr.write(f"error: {error}\n")
        return _BAD_INPUT
    cluster = Cluster(pool)
    # Ray's own handlers end the process before it has said why.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log = _Log(pool)
    while not stop.is_set():
        if not cluster.is_ours():
            log.write({"event": "replaced"})
            return 0
        placement, steps, is_over = _round(pool, cluster)
        log.tell(cluster, placement, steps)
        if is_over:
            log.write({"event": "drained"})
            return 0
        stop.wait(_ROUND_S)
    log.write({"event": "stopped", "note": "the workers go on"})
    return 0


def _round(pool: Pool, cluster: Cluster) -> tuple[Placement, Steps, bool]:
    nodes = cluster.nodes()
    placement = place(pool, nodes)
    seen = cluster.look()
    steps = decide(placement.shares, seen, {node.id for node in nodes})
    cluster.remove(steps.remove)
    cluster.drain(steps.drain)
    cluster.create(steps.create)
    cluster.forget_failures({share.name for share in placement.shares})
    return placement, steps, not pool.groups and not seen


class _Log:
    """Lines of what is new."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._last: dict[str, Any] | None = None
        self._told = 0.0

    def tell(self, cluster: Cluster, placement: Placement, steps: Steps) -> None:
        now = {
            "event": "actors",
            "wanted": len(placement.shares),
            "actors": cluster.reports(),
            "refused": dict(placement.refused),
        }
        is_new = now != self._last or steps.create or steps.drain or steps.remove
        if is_new or time.monotonic() - self._told > _REPEAT_S:
            made = {
                "created": [str(share.name) for share in steps.create],
                "draining": [str(name) for name in steps.drain],
                "removed": [str(name) for name in steps.remove],
            }
            self.write(now | {key: names for key, names in made.items() if names})
            self._last, self._told = now, time.monotonic()

    def write(self, fields: dict[str, Any]) -> None:
        known = {
            "t_ms": time.time_ns() // 1_000_000,
            "pool": self._pool.name,
            "revision": self._pool.revision,
        }
        sys.stdout.write(json.dumps(known | fields) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
