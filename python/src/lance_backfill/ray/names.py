"""Names of actors, by which a supervisor finds those of another one before it."""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "lance-backfill"

# Enough to tell the nodes of a cluster apart; the name is also that of an object and of a file.
_NODE_DIGITS = 12


@dataclass(frozen=True, order=True)
class ActorName:
    """`<group>/<revision>/<node>/<index>`: one share of a device on one node, in one revision."""

    group: str
    revision: str
    node: str
    index: int

    def __str__(self) -> str:
        return f"{self.group}/{self.revision}/{self.node}/{self.index}"

    @property
    def slot(self) -> tuple[str, str, int]:
        """The share itself, whatever the revision."""
        return (self.group, self.node, self.index)

    @property
    def worker(self) -> str:
        """The name under which the actor's worker writes its status; a restart keeps it."""
        return f"{self.group}-{self.revision}-{self.node[:_NODE_DIGITS]}-{self.index}"


def parse_name(text: str) -> ActorName | None:
    """The parts of an actor's name; None if it is no name of ours."""
    parts = text.split("/")
    if len(parts) != 4 or not all(parts):
        return None
    group, revision, node, index = parts
    if not (index.isascii() and index.isdigit()):
        return None
    return ActorName(group, revision, node, int(index))
