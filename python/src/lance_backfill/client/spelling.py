"""Says options of the command line in the binary's messages as parameters of the methods here."""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_METHODS = {
    "column add": "add_columns",
    "column alter": "alter_columns",
    "column drop": "drop_columns",
    "column canary": "canary",
}
_RENAMED = {
    "type": "data_type",
    "from": "code",
    "for": "duration",
    "storage_option": "storage_options",
}
# What stands in quotes is a command to type, or somebody's text.
# A value in quotes joins its option.
_OPTION = re.compile(r"(?<!\w)'[a-z][^']*'|(?<![\w-])--([a-z]+(?:-[a-z]+)*)(?: <\w+>| (?='))?")


def parameters_of(command: Sequence[str]) -> frozenset[str]:
    """The parameters that a command's message may speak of, which are those of its method.

    Also those of `table`, and of `alter_columns`, by which messages say how to go on.
    """
    return _parameters_of(_METHODS.get(" ".join(command), command[0]))


@cache
def _parameters_of(method: str) -> frozenset[str]:
    from .tables import Table, table

    called = [table, Table.alter_columns, getattr(Table, method, table)]
    return frozenset(name for one in called for name in inspect.signature(one).parameters)


def in_python(message: str, parameters: Collection[str]) -> str:
    """The message with `max_failed_rows=` in place of `--max-failed-rows`, if that is one of them.

    What a method of `table` cannot be given stays as it is.
    """

    def spelled(match: re.Match[str]) -> str:
        option = (match[1] or "").replace("-", "_")
        name = _RENAMED.get(option, option)
        return f"{name}=" if name in parameters else match[0]

    return _OPTION.sub(spelled, message).replace("'column alter'", "alter_columns")
