"""Finds the function that an entry point names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from lance_backfill.function import declaration_of
from lance_backfill.host.errors import Refused

if TYPE_CHECKING:
    from lance_backfill.declaration import Declaration


def load(entrypoint: str) -> Declaration:
    """Imports `module:name`, where the name may have dots, and returns its declaration.

    Raises:
        Refused: there is no such function, or it cannot be called as one.
        Exception: whatever importing the module raises.
    """
    module_name, _, path = entrypoint.partition(":")
    if not module_name or not path:
        raise Refused("wrong_entrypoint", f"{entrypoint!r} is not of the form module:name")
    target = import_module(module_name)
    for name in path.split("."):
        try:
            target = getattr(target, name)
        except AttributeError:
            raise Refused("wrong_entrypoint", f"{module_name} has no {path!r}") from None
    try:
        declaration = declaration_of(target)
        _ = declaration.kind
    except TypeError as error:
        raise Refused("wrong_entrypoint", f"{entrypoint}: {error}") from None
    return declaration
