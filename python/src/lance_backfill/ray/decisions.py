"""What a supervisor does next, from what is wanted and what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from .names import ActorName
    from .placement import Share

# States of actors.  What else an actor says of itself is that it is at work; one that has failed
# could not be made, and is not there.
STARTING = "starting"
SILENT = "silent"
DRAINING = "draining"
DRAINED = "drained"
FAILED = "failed"


@dataclass(frozen=True)
class Seen:
    """An actor of this pool, in the state that it tells.

    `STARTING` has not answered yet.  `SILENT` has not for so long that it waits for its device, or
    hangs: if it is removed, the worker of one that hangs is told to stop, and finishes.
    """

    name: ActorName
    state: str


@dataclass(frozen=True)
class Steps:
    """What is to be done in one round, in this order."""

    remove: tuple[ActorName, ...] = ()
    drain: tuple[ActorName, ...] = ()
    create: tuple[Share, ...] = ()


def decide(wanted: Iterable[Share], seen: Iterable[Seen], nodes: Collection[str]) -> Steps:
    """The steps from what is seen to what is wanted.

    Actors of an older revision make room one by one on each node, so that the others work while a
    model is loaded; what nobody wants any more drains at once.
    """
    by_name = {share.name: share for share in wanted}
    slots = {name.slot for name in by_name}
    present = sorted(seen, key=lambda one: one.name)
    remove = [one.name for one in present if _is_over(one, by_name, nodes)]
    staying = [one for one in present if one.name not in remove]

    busy_nodes = {one.name.node for one in staying if _makes_room(one, by_name)}
    drain = []
    for one in staying:
        name = one.name
        if name in by_name or one.state in {DRAINING, STARTING}:
            continue
        if name.slot in slots:
            if name.node in busy_nodes:
                continue
            busy_nodes.add(name.node)
        drain.append(name)

    # A name that was just removed is taken until Ray has done it.
    taken = {one.name.slot for one in present}
    create = [share for name, share in sorted(by_name.items()) if name.slot not in taken]
    return Steps(tuple(remove), tuple(drain), tuple(create))


def _is_over(one: Seen, wanted: Mapping[ActorName, Share], nodes: Collection[str]) -> bool:
    if one.name.node not in nodes or one.state == DRAINED:
        return True
    return one.name not in wanted and one.state == SILENT


def _makes_room(one: Seen, wanted: Mapping[ActorName, Share]) -> bool:
    """Whether it ends, or has just begun where another one ended."""
    return one.state == DRAINING or (one.name in wanted and one.state == STARTING)
