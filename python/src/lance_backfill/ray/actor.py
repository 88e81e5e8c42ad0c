"""The actor of one share: Ray gives it its device, and starts it again when it dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .keeper import Keeper

if TYPE_CHECKING:
    from .command import Orders


class WorkerActor:
    """Keeps a worker from the moment it is made, so that one that Ray restarts goes on unasked."""

    def __init__(self, orders: Orders) -> None:
        self._keeper = Keeper(orders)

    def report(self) -> dict[str, Any]:
        """What it does now: the fields of `keeper.Report`."""
        return self._keeper.report()

    def drain(self) -> None:
        """Lets the worker finish and starts it no more; `report` says when it is `drained`."""
        self._keeper.drain()
