"""How a worker is started, and how long to wait before it is started again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .pool import VARIABLE as POOL_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

PROGRAM_VARIABLE = "LANCE_BACKFILL_PROGRAM"
PROGRAM = "lance-backfill"
DEVICES_VARIABLE = "LANCE_BACKFILL_GPUS"

# What died at once is not started at once again, and one that has worked for a while is.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
_SETTLED_S = 60.0


@dataclass(frozen=True)
class Orders:
    """What an actor keeps running.

    Attributes:
        name: The worker's name, which a restart keeps.
        gpus: The share of devices that is reserved, in devices.
    """

    name: str
    service: str
    worker_class: str
    gpus: float
    at_once: int
    grace_s: float


def command(orders: Orders, environment: Mapping[str, str], drain_folder: str | None) -> list[str]:
    """The worker's command line."""
    made = [
        environment.get(PROGRAM_VARIABLE) or PROGRAM,
        "worker",
        f"--service={orders.service}",
        f"--class={orders.worker_class}",
        f"--name={orders.name}",
        f"--at-once={orders.at_once}",
        f"--grace={math.ceil(orders.grace_s)}",
    ]
    if drain_folder is not None:
        made.append(f"--drain={drain_folder}")
    return made


def variables(orders: Orders, environment: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: the actor's, without the cluster's token and what else is Ray's.

    What Ray says of devices (`CUDA_VISIBLE_DEVICES`) stays.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith("RAY_") and name != POOL_VARIABLE
    }
    if orders.gpus:
        kept[DEVICES_VARIABLE] = f"{orders.gpus:g}"
    return kept


def next_pause(before: float, lasted: float) -> float:
    """Seconds until the next start, after one that lasted so long and waited `before`."""
    if lasted >= _SETTLED_S or before < FIRST_PAUSE_S:
        return FIRST_PAUSE_S
    return min(before * 2, LONGEST_PAUSE_S)
