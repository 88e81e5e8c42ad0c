"""Computed columns of Lance tables from Python functions.

`udf` declares a function, `check` runs it on a sample as a worker would, `table` is a Lance table
whose columns it computes, and `ray_cluster` keeps workers on Ray.  Importing this package imports
nothing else: each name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lance_backfill.checking import check
    from lance_backfill.client import BackfillError, BadInput, ray_cluster, table
    from lance_backfill.function import udf
    from lance_backfill.raising import RateLimited, Transient
    from lance_backfill.types import vector

__version__ = "0.1.0"

__all__ = [
    "BackfillError",
    "BadInput",
    "RateLimited",
    "Transient",
    "__version__",
    "check",
    "ray_cluster",
    "table",
    "udf",
    "vector",
]

_MODULE_OF = {
    "BackfillError": "client",
    "BadInput": "client",
    "RateLimited": "raising",
    "Transient": "raising",
    "check": "checking",
    "ray_cluster": "client",
    "table": "client",
    "udf": "function",
    "vector": "types",
}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
