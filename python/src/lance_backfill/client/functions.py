"""What computes a column, as options of the command line."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lance_backfill.pack import for_function
from lance_backfill.pack.functions import entrypoint_of

from .binary import options
from .child import log_note
from .errors import BadInput

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from .documents import Registered

    Function: TypeAlias = str | Callable[..., Any] | Registered


@dataclass(frozen=True)
class Packing:
    """What a function takes along, and for which machine."""

    code: str | os.PathLike[str] | None = None
    env: str | None = None
    requirements: str | os.PathLike[str] | None = None
    target: str | None = None
    python: str | None = None

    def options(self) -> list[str]:
        """As options; what is installed here is taken along unless something else is said."""
        env = self.env
        if env is None and self.requirements is None:
            env = "capture"
        return options(
            env=env, requirements=self.requirements, target=self.target, python=self.python
        )


def check_functions(
    functions: Iterable[Function],
    inputs: Sequence[str] | None,
    packing: Packing,
    data_type: str | None = None,
) -> None:
    """Refuses what is no function, and options that are for other kinds of functions.

    Raises:
        BadInput: none of them can be computed so.
    """
    given = list(functions)
    for function in given:
        if not (isinstance(function, (str, Mapping)) or callable(function)):
            kind = type(function).__name__
            raise BadInput(f"a column is computed by a function or a SQL text, not by a {kind}")
    if isinstance(inputs, str):
        raise BadInput("inputs is a list of column names, not one text")
    for name in inputs or ():
        check_name(name)
    in_python = [function for function in given if not isinstance(function, str)]
    if inputs and not in_python:
        raise BadInput("inputs names columns for a Python function, and there is none")
    if packing != Packing() and not any(callable(function) for function in given):
        raise BadInput(
            "code, env, requirements, target and python are for a function that is packed now"
        )
    if data_type is not None and in_python:
        raise BadInput(
            "data_type is for SQL: give the function a return hint, or write "
            "@udf(data_type=...) above it"
        )


def check_name(name: str) -> None:
    """Refuses a column's name that the binary would take for two.

    Raises:
        BadInput: it has a comma.
    """
    if "," in name:
        raise BadInput(
            f"the column name {name!r} has a comma, at which the program tells names apart; "
            "rename the column"
        )


@contextlib.contextmanager
def options_of_function(
    function: Function, inputs: Sequence[str] | None, packing: Packing
) -> Iterator[list[str]]:
    """The options for a SQL expression, a live function, or what `register` returned.

    What is packed lies in a folder that is gone after the block.  A SQL expression needs no inputs,
    and only a live function is packed.

    Raises:
        BadInput: the function cannot be packed.
    """
    columns = options(inputs=",".join(inputs) if inputs else None)
    if isinstance(function, str):
        yield options(sql=function)
    elif isinstance(function, Mapping):
        yield [*options(function=function["function"]), *columns]
    else:
        with tempfile.TemporaryDirectory(prefix="lance-backfill-") as work:
            entry, path = _place(function, packing.code, Path(work))
            yield [*options(udf=entry, **{"from": path}), *columns, *packing.options()]


def _place(
    function: Callable[..., Any], code: str | os.PathLike[str] | None, work: Path
) -> tuple[str, str | os.PathLike[str]]:
    from lance_backfill.pack.errors import PackError

    notes: list[str] = []
    try:
        if code is not None:
            return entrypoint_of(function), code
        place = for_function(function, work, notes)
    except (PackError, OSError) as error:
        raise BadInput(str(error)) from None
    for note in notes:
        log_note(note)
    return place
