"""Computed columns of a Lance table, from Python: a thin layer over the binary `lance-backfill`.

Each method of a `Table` is one call of the binary with `--json`, and returns its document.  The
binary does all the work, so a table is handled alike from here and from the command line.
"""

from __future__ import annotations

from .errors import BackfillError, BadInput, Cancelled
from .job import Job, Progress
from .pool import RayCluster, ray_cluster
from .tables import Table, table

__all__ = [
    "BackfillError",
    "BadInput",
    "Cancelled",
    "Job",
    "Progress",
    "RayCluster",
    "Table",
    "ray_cluster",
    "table",
]
