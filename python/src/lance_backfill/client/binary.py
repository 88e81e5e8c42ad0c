"""Finds the binary, and calls it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .child import Child
from .errors import BackfillError, BadInput
from .spelling import parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "lance-backfill"
BINARY_VARIABLE = "LANCE_BACKFILL_BINARY"
INTERPRETER_VARIABLE = "LANCE_BACKFILL_PYTHON"
STORAGE_VARIABLE = "LANCE_BACKFILL_STORAGE_OPTIONS"


@dataclass(frozen=True)
class Binary:
    """The binary, and the options of every call.

    Those of the object store may hold credentials: they are handed over by the environment, as
    everybody can see a command line, and are shown nowhere.
    """

    path: str
    options: tuple[str, ...] = ()
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)

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
            variables=self._variables(),
            parameters=parameters_of(command),
        )

    def _variables(self) -> dict[str, str]:
        if not self.storage_options:
            return {}
        given = {name: str(value) for name, value in self.storage_options.items()}
        return {STORAGE_VARIABLE: json.dumps({**_storage_options_around(), **given})}

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


def _storage_options_around() -> dict[str, str]:
    text = os.environ.get(STORAGE_VARIABLE)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        # The text may hold credentials: it is not repeated.
        raise BadInput(f"{STORAGE_VARIABLE} is not a JSON object of strings")
    return found


def options_of_process(
    branch: str | None,
    service: str | None,
    workers: int | None,
    interpreter: str | os.PathLike[str] | None,
    cache: str | os.PathLike[str] | None,
) -> tuple[str, ...]:
    """What the binary may use, as its options.

    The interpreter is this one, unless another is named here or by `LANCE_BACKFILL_PYTHON`.
    """
    if interpreter is None and not os.environ.get(INTERPRETER_VARIABLE):
        interpreter = sys.executable or None
    return tuple(
        options(
            branch=branch, service=service, workers=workers, interpreter=interpreter, cache=cache
        )
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
