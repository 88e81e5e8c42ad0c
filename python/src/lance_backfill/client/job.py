"""A job: some rows of a column that somebody ordered to be computed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from .errors import BackfillError, Cancelled
from .showing import FIRST_PAUSE_S, follow, next_pause_s

if TYPE_CHECKING:
    from .child import Child
    from .documents import Backfilled, JobDocument
    from .showing import Bar
    from .tables import Table

_ORDERED = re.compile(r"job (\S+): ([\d,]+) rows$")
# How the binary's words for the state of a job are called in the field.
_STATES = {
    "open": "running",
    "done": "finished",
    "over budget": "failed",
    "cancelled": "cancelled",
}
# The id is known as soon as the rows are chosen: looked for often at first, as that is fast.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.005, 0.1


@dataclass(frozen=True)
class Progress:
    """How far a job is, in rows."""

    rows_selected: int
    rows_assigned: int
    rows_failed: int
    rows_remaining: int

    @property
    def rows_done(self) -> int:
        """Rows that need nothing more from the job, whoever computed them."""
        return self.rows_selected - self.rows_remaining

    @property
    def fraction(self) -> float:
        """The part that is done; 1.0 where there was nothing to do."""
        return self.rows_done / self.rows_selected if self.rows_selected else 1.0

    @classmethod
    def of(cls, document: JobDocument) -> Progress:
        """As the binary shows it."""
        return cls(
            document["rows_selected"],
            document["rows_assigned"],
            document["rows_failed"],
            document["rows_remaining"],
        )


class Job:
    """A job of a table, which this process or another one works on.

    A job is recorded in the table's state store before it computes anything.  It does not belong to
    this object: dropping the object changes nothing, and if the process that works on the job ends
    early, the job stays open and the next `refresh` of its column goes on with it.

    Attributes:
        id: The job's id; None if no row matched, for then there is nothing to do.
        column: The column that it is about.
    """

    def __init__(
        self, table: Table, column: str, job_id: str | None, child: Child | None = None
    ) -> None:
        self.id = job_id
        self.column = column
        self._table = table
        self._child = child

    def __repr__(self) -> str:
        return f"<Job {self.id} of {self.column!r} in {self._table.uri!r}>"

    @property
    def state(self) -> str:
        """`running`, `finished`, `failed` or `cancelled`.

        A job is also `failed` while it is open and cannot go on, or if the process that was started
        for it ended early; the next `refresh` goes on with the latter.  One that another process
        ordered is `running` until it ends, also while nobody works on it.
        """
        if self._child is not None:
            if self._child.is_running:
                return "running"
            try:
                self._child.result()
            except Cancelled:
                return "cancelled"
            except BackfillError as error:
                if error.result is not None and error.result.get("job_state") != "open":
                    return "failed"
            else:
                return "finished"
        if self.id is None:
            return "finished"
        document = self.document()
        state = _STATES.get(document["state"], document["state"])
        if state == "running" and (self._child is not None or document.get("reason")):
            return "failed"
        return state

    def document(self) -> JobDocument:
        """The job as the binary shows it.

        Raises:
            BackfillError: no row matched, so that there is no job.
        """
        if self.id is None:
            raise BackfillError("no row matched, so that there is no job")
        return cast("JobDocument", self._table._call(["jobs", "show"], self.id))

    def progress(self) -> Progress:
        """How far it is, in rows that were computed, of those that it was ordered for.

        Rows count as assigned when they are published, and of a job that was started here as done
        when they are computed.
        """
        if self.id is None:
            return Progress(0, 0, 0, 0)
        shown = Progress.of(self.document())
        told = None if self._child is None else self._child.rows()
        if told is None:
            return shown
        done, total = told
        return replace(shown, rows_remaining=min(shown.rows_remaining, total - done))

    def wait(self, timeout: float | None = None) -> str:
        """Waits until the job ended, or the process that was started for it; returns the state.

        A job of another process is looked at until it ended, which it may never do by itself.

        Raises:
            TimeoutError: it took longer than `timeout` seconds; the job goes on.
        """
        late = TimeoutError(f"job {self.id} of {self.column!r} still runs after {timeout} s")
        if self._child is not None:
            if not self._child.wait(timeout):
                raise late
            return self.state
        until = None if timeout is None else time.monotonic() + timeout
        pause_s = FIRST_PAUSE_S
        while True:
            begun = time.monotonic()
            state = self.state
            if state != "running":
                return state
            now = time.monotonic()
            if until is not None and now >= until:
                raise late
            pause_s = next_pause_s(pause_s, now - begun)
            time.sleep(pause_s if until is None else min(pause_s, until - now))

    def cancel(self) -> None:
        """Calls the job off: what it finished counts, the rest is left as it was.

        Whoever works on it stops within seconds; `wait` waits for that.  A job that has ended stays
        as it ended.
        """
        if self.id is not None:
            self._table._call(["jobs", "cancel"], self.id)

    def result(self, timeout: float | None = None) -> Backfilled | JobDocument:
        """Waits, and returns what was done: `Backfilled` of a job that was started here.

        Raises:
            Cancelled: it was called off; `.result` of the exception says what it did before.
            BackfillError: it failed, likewise.
            TimeoutError: it took longer than `timeout` seconds; the job goes on.
        """
        self.wait(timeout)
        if self._child is not None:
            return cast("Backfilled", self._child.result())
        document = self.document()
        if document["state"] == "done":
            return document
        kind = Cancelled if document["state"] == "cancelled" else BackfillError
        reason = f": {document['reason']}" if "reason" in document else ""
        raise kind(f"job {self.id} is {document['state']}{reason}", result=document)

    def follow(self, bar: Bar) -> Backfilled:
        """Waits for a job that was started here, and stops it with us."""
        assert self._child is not None  # noqa: S101 - For the type checker.
        try:
            with self._child.interrupted_with_us():
                follow(self._child, bar, self._rows)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._how_to_go_on()) from None
        return cast("Backfilled", self._child.result())

    def _rows(self) -> tuple[int, int, int]:
        progress = self.progress()
        return progress.rows_done, progress.rows_selected, progress.rows_failed

    def _how_to_go_on(self) -> str:
        return (
            f"stopped; what was committed stays, and job {self.id} stays open: a service goes on "
            f"with it, or refresh({self.column!r}) does; job({self.id!r}).cancel() ends it"
        )


def ordered(table: Table, column: str, child: Child) -> Job:
    """The job that a process works on, as soon as its id is known.

    Raises:
        BackfillError: the process ended without one, and not because no row matched.
    """
    pause_s = _FIRST_LOOK_S
    try:
        with child.interrupted_with_us():
            while True:
                ended = child.wait(pause_s)
                for note in child.notes():
                    if match := _ORDERED.match(note):
                        return Job(table, column, match[1], child)
                if ended:
                    break
                pause_s = min(pause_s * 2, _LAST_LOOK_S)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped; if a job was ordered by then, jobs() shows it, and "
            f"refresh({column!r}) goes on with it"
        ) from None
    document: Any = child.result()
    return Job(table, column, document["job_id"], child)
