"""Which shares of which devices a pool gets: only what nodes have is asked for.

Ray lets an actor that fits nowhere wait for ever, and says nothing.  So what does not fit is found
out here, and told by its cause.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .names import ActorName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .pool import Group, Pool

NODE_GROUP = "ray.io/node-group"

# Ray counts ten thousandths of a device; a third is rounded down, so that three fit.
_PARTS = 10_000


@dataclass(frozen=True)
class Node:
    """A node that is alive; `group` is its label, if it has one."""

    id: str
    group: str | None
    gpus: float
    cpus: float


@dataclass(frozen=True)
class Share:
    """What one actor reserves."""

    name: ActorName
    group: Group
    gpus: float
    cpus: float


@dataclass(frozen=True)
class Placement:
    """All shares of a pool, and why groups have none, or fewer than they ask for."""

    shares: tuple[Share, ...]
    refused: Mapping[str, str]


def place(pool: Pool, nodes: Sequence[Node]) -> Placement:
    """One share for each part of a device on each node of each group."""
    left = {node.id: node.gpus for node in nodes}
    shares: list[Share] = []
    refused: dict[str, str] = {}
    for group in pool.groups:
        own = _nodes_of(group, nodes)
        if not own:
            refused[group.name] = _why_no_node(group, nodes)
        for node in own:
            if group.gpus > left[node.id]:
                refused[group.name] = _why_too_small(group, node, left[node.id])
                continue
            left[node.id] -= group.gpus
            shares += _shares(pool, group, node)
    return Placement(tuple(shares), refused)


def _nodes_of(group: Group, nodes: Sequence[Node]) -> list[Node]:
    """Nodes with the group's label; without any labels on the cluster, those that have enough.

    A cluster whose only node is the head of one that is scaled to zero has labels, too: the head
    gets no work.
    """
    in_order = sorted(nodes, key=lambda node: node.id)
    if any(node.group is not None for node in nodes):
        return [node for node in in_order if node.group == group.name]
    return [node for node in in_order if node.gpus >= group.gpus and node.cpus > 0]


def _shares(pool: Pool, group: Group, node: Node) -> list[Share]:
    count = max(1, group.gpus * group.workers_per_gpu)
    gpus = math.floor(_PARTS / group.workers_per_gpu) / _PARTS if group.gpus else 0.0
    cpus = _whole(min(group.cpus, node.cpus) / count)
    return [
        Share(ActorName(group.name, pool.revision, node.id, index), group, gpus, cpus)
        for index in range(count)
    ]


def _whole(cpus: float) -> float:
    """Ray takes parts of a CPU only below one."""
    return float(math.floor(cpus)) if cpus >= 1 else math.floor(cpus * _PARTS) / _PARTS


def _why_no_node(group: Group, nodes: Sequence[Node]) -> str:
    labels = sorted({node.group for node in nodes if node.group is not None})
    if labels:
        return f"no node of group '{group.name}' is up; there are nodes of: {', '.join(labels)}"
    most = max((node.gpus for node in nodes), default=0.0)
    return f"group '{group.name}' asks for {group.gpus} GPUs, and no node has more than {most:g}"


def _why_too_small(group: Group, node: Node, left: float) -> str:
    if node.gpus >= group.gpus:
        return (
            f"group '{group.name}' asks for {group.gpus} GPUs, and other groups leave {left:g} of "
            f"the {node.gpus:g} of node {node.id[:12]}"
        )
    return (
        f"group '{group.name}' asks for {group.gpus} GPUs, and its node {node.id[:12]} has "
        f"{node.gpus:g}: is the device plugin running, and does the image see the devices?"
    )
