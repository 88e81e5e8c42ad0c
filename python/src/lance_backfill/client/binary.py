"""Finds the binary, and calls it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .child import Child
from .errors import BackfillError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "lance-backfill"
BINARY_VARIABLE = "LANCE_BACKFILL_BINARY"
INTERPRETER_VARIABLE = "LANCE_BACKFILL_PYTHON"


@dataclass(frozen=True)
class Binary:
    """The binary, and the options of every call."""

    path: str
    options: tuple[str, ...] = ()

    def start(
        self,
        command: Sequence[str],
        targets: Sequence[str],
        options: Sequence[str] = (),
        *,
        own_session: bool = False,
    ) -> Child:
        """Starts a command."""
        return Child(
            [self.path, *command, "--json", *self.options, *options, "--", *targets],
            own_session=own_session,
        )

    def call(
        self, command: Sequence[str], targets: Sequence[str], options: Sequence[str] = ()
    ) -> Any:
        """Runs a command to its end and returns its document."""
        child = self.start(command, targets, options)
        with child.interrupted_with_us():
            child.wait()
        return child.result()


def find_binary(named: str | os.PathLike[str] | None = None) -> str:
    """The binary's path: named, of `LANCE_BACKFILL_BINARY`, of this interpreter, or on PATH.

    Raises:
        BackfillError: there is none.
    """
    for label, path in (("binary=", named), (BINARY_VARIABLE, os.environ.get(BINARY_VARIABLE))):
        if path:
            found = shutil.which(path)
            if found is None:
                raise BackfillError(f"{label} names {os.fspath(path)!r}, which is no program")
            return str(found)
    for scheme in (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")):
        beside = Path(sysconfig.get_path("scripts", scheme), NAME)
        if os.access(beside, os.X_OK):
            return str(beside)
    on_path = shutil.which(NAME)
    if on_path is None:
        raise BackfillError(
            f"there is no program {NAME}: install the wheel that carries it, put it on PATH, or "
            f"name it by binary= or {BINARY_VARIABLE}"
        )
    return on_path


def options_of_process(
    storage_options: Mapping[str, str] | None,
    branch: str | None,
    workers: int | None,
    interpreter: str | os.PathLike[str] | None,
    cache: str | os.PathLike[str] | None,
) -> tuple[str, ...]:
    """What the binary may use, as its options.

    The interpreter is this one, unless another is named here or by `LANCE_BACKFILL_PYTHON`.
    """
    if interpreter is None and not os.environ.get(INTERPRETER_VARIABLE):
        interpreter = sys.executable or None
    return (
        *(f"--storage-option={key}={value}" for key, value in (storage_options or {}).items()),
        *options(branch=branch, workers=workers, interpreter=interpreter, cache=cache),
    )


def options(**given: object) -> list[str]:
    """Options of the command line: None and False are left out, True has no value."""
    made = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            made.append(option)
        elif value is not None and value is not False:
            text = os.fspath(value) if isinstance(value, os.PathLike) else value
            made.append(f"{option}={text}")
    return made
