"""What the binary answers, as it prints it with `--json`.

A later version of the binary may add fields to any of these.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Rows(TypedDict):
    """Live rows of a column by state."""

    rows_total: int
    rows_filtered: int
    rows_eligible: int
    rows_current: int
    rows_failed: int
    rows_blocked: int
    rows_unknown: int
    rows_remaining: int


class _Declared(TypedDict):
    table: str
    column: str
    binding: str
    generation: str
    definition: dict[str, Any]


class Declared(_Declared, total=False):
    """A computed column, and its definition as it is stored in the table."""

    detached: str
    """Why the column does not take part, if so."""
    backfill: Backfilled
    """The first fill, where `add_columns` was asked for it."""


class Altered(Declared):
    """A changed column, and the rows that the choices of `on_change` make stale.

    The numbers are None where nobody can tell.
    """

    rows_stale_if_only_new: int | None
    rows_stale_if_recompute_all: int | None
    on_change: str


class Dropped(TypedDict):
    """A column that is not computed any more."""

    table: str
    column: str
    values_dropped: bool


class Registered(TypedDict):
    """A function that is packed into the state store of a table."""

    table: str
    function: str
    """Its digest, by which the command line names it."""
    entrypoint: str
    artifact: str
    environment: str
    environment_summary: str
    output_type: str
    packed_bytes: int
    declared: dict[str, Any]
    notes: list[str]


class Cost(TypedDict):
    """What something costs, and between which bounds."""

    expected: float
    at_least: float
    at_most: float


class _Estimate(TypedDict):
    seconds: float
    at_least_s: float
    at_most_s: float
    rows_per_s: float


class Estimate(_Estimate, total=False):
    """How long something takes, and between which bounds."""

    cost: Cost
    """At the price that was given."""


class Estimated(TypedDict):
    """What was estimated, against what it took."""

    rows: int
    estimate: Estimate
    took_s: float


class _RefreshedColumn(Rows):
    column: str
    rows_assigned: int
    batches: int
    bytes_written: int
    rows_waiting: int


class RefreshedColumn(_RefreshedColumn, total=False):
    """What was done for a column, and what it holds now."""

    estimated: Estimated
    stopped: str
    waits_for: list[Any]
    broken_jobs: list[str]


class Refreshed(TypedDict):
    """What a refresh did."""

    table: str
    source_version: int
    published_version: int | None
    columns: list[RefreshedColumn]


class _Backfilled(Refreshed):
    job_id: str | None
    """None if no row matched: there was nothing to order."""
    rows_selected: int
    rows_failed_in_job: int


class Backfilled(_Backfilled, total=False):
    """What a job did."""

    job_state: str


class Reasons(TypedDict):
    """Rows in need by reason."""

    unassigned: int
    stale_input: int
    stale_definition: int
    unknown: int


class PlannedColumn(Rows):
    """What a refresh or a job would do for a column."""

    column: str
    rows_by_reason: Reasons
    rows_waiting: int
    rows_in_flight: int
    rows_planned: int
    fragments: int
    fragments_unsettled: int
    batches: int
    folds: int
    bytes_to_read: int | None
    estimate: Estimate | None


class Plan(TypedDict):
    """What a refresh or a job would do."""

    table: str
    version: int
    columns: list[PlannedColumn]


class Tried(TypedDict):
    """How a function did on some rows."""

    rows_failed: int
    estimate: Estimate | None
    """For all eligible rows."""


class CanaryRow(TypedDict):
    """A row, with values as texts; `present` and `changed` have the key `value` or `error`."""

    fragment: int
    offset: int
    differs: bool
    inputs: dict[str, str | None]
    present: dict[str, str | None]
    changed: dict[str, str | None]


class Canary(TypedDict):
    """Another function beside the present one, on some rows."""

    table: str
    column: str
    rows_tried: int
    rows_same: int
    rows_different: int
    present: Tried
    changed: Tried
    rows_eligible: int
    rows: list[CanaryRow]


class _StatusColumn(Rows):
    column: str
    state: str
    generation: str
    expression: str
    filter: str | None
    generations: dict[str, int]
    oldest_row_in_need_s: int | None


class StatusColumn(_StatusColumn, total=False):
    """What the rows of a column hold and need."""

    reason: str
    cycle: list[str]


class _Status(TypedDict):
    table: str
    version: int
    columns: list[StatusColumn]


class Status(_Status, total=False):
    """What the rows of each computed column hold and need."""

    paused_for_ms: int
    copy_of: Any


class _JobDocument(TypedDict):
    job_id: str
    column: str
    state: str
    selection: dict[str, Any]
    rows_selected: int
    rows_assigned: int
    rows_failed: int
    rows_remaining: int


class JobDocument(_JobDocument, total=False):
    """A job, and how it goes."""

    reason: str
    """Why it cannot go on, if so."""


class Approved(TypedDict):
    """Rows that unattended work may compute now."""

    table: str
    column: str
    was_held: bool
    rows_approved: int
