"""Which files of a folder are packed.

A folder is taken for an import root.  Whoever names it gets all that is below, but hidden files and
folders, `__pycache__`, `*.pyc`, `*.egg-info`, virtual environments, Lance tables, `_backfill`, and
at its top `build` and `dist`; these names stand for themselves only where they are no packages.  Of
a folder that nobody named only code is packed: `*.py`, and packages with all that they hold.
Files such as `.gitignore` are not looked at.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import PackError
from .files import human_size, listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What a worker fetches and unpacks before its first row.  Data of a table has no place in code, and
# models belong into the environment or are fetched when the class is made.
MAX_CODE_BYTES = 256 << 20
# Code alone is smaller: whoever packs more is told.
_LARGE_BYTES = 1 << 20
WARNING = "warning: "
"""How a note begins that tells of something which the function may miss."""


@dataclass
class Found:
    """Files of a folder by their names in the archive, and the names of what is left out.

    `left_out` is no code, and `links` cannot be followed.
    """

    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)

    def below(self, folder: str) -> Found:
        """What is of a folder in this one, whose name ends in a slash."""

        def inner(names: list[str]) -> list[str]:
            return [name.removeprefix(folder) for name in names if name.startswith(folder)]

        names = inner(list(self.files))
        files = {name: self.files[folder + name] for name in names}
        return Found(files, inner(self.left_out), inner(self.links))

    def notes(self) -> list[str]:
        """What somebody who named the folder may want to know."""
        notes = []
        size_bytes = sum(path.stat().st_size for path in self.files.values())
        packed = f"files packed: {len(self.files)}, {human_size(size_bytes)}"
        if self.left_out:
            notes.append(f"{packed}; not packed: {listed(sorted(self.left_out))}")
        elif self.links or size_bytes > _LARGE_BYTES:
            notes.append(packed)
        if self.links:
            notes.append(
                f"{WARNING}not packed, as these links lead nowhere or out of the folder: "
                f"{listed(sorted(self.links))}"
            )
        return notes

    def notes_on_code(self) -> list[str]:
        """The same for who named no folder, and may miss data whose name is a text in the code."""
        left_out = sorted(self.left_out + self.links)
        if not left_out:
            return []
        notes = Found(self.files, left_out).notes()
        code = b"\n".join(path.read_bytes() for name, path in self.files.items() if _is_py(name))
        missed = [name for name in left_out if _is_in_text(name.rpartition("/")[2], code)]
        if missed:
            notes.append(
                f"{WARNING}the code names {listed(missed)}, and only code is packed; give code= "
                "with the folder to pack all of it"
            )
        return notes


def find_files(root: Path, *, code_only: bool = False) -> Found:
    """The files to pack; refuses code that is a link out of the folder."""
    walk = _Walk(root, code_only=code_only)
    walk.enter(root, "", (root.resolve(),), in_package=False)
    return walk.found


def check_size(source: Path, entries: Mapping[str, Path | bytes]) -> None:
    """Refuses more than `MAX_CODE_BYTES`, and names the largest files."""
    sizes = {
        name: len(content) if isinstance(content, bytes) else content.stat().st_size
        for name, content in entries.items()
    }
    total = sum(sizes.values())
    if total <= MAX_CODE_BYTES:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    named = ", ".join(f"{name} ({human_size(sizes[name])})" for name in largest)
    raise PackError(
        f"{source} holds {human_size(total)} to pack, at most {human_size(MAX_CODE_BYTES)} are "
        f"allowed; give a smaller folder, or move the largest files elsewhere: {named}"
    )


class _Walk:
    def __init__(self, root: Path, *, code_only: bool) -> None:
        self.found = Found()
        self._limit = root.resolve()
        self._code_only = code_only

    def enter(
        self, folder: Path, prefix: str, above: tuple[Path, ...], *, in_package: bool
    ) -> None:
        only_py = self._code_only and not in_package
        try:
            paths = sorted(folder.iterdir())
        except PermissionError:
            if not only_py:
                raise
            self.found.left_out.append(prefix)
            return
        for path in paths:
            name = prefix + path.name
            if _is_rubbish(path):
                continue
            if path.is_symlink() and (trouble := self._trouble(path, above)):
                self._leave_link(path, name, trouble, in_package=in_package)
            elif path.is_dir():
                if _is_no_code(path, at_top=not prefix):
                    self.found.left_out.append(f"{name}/")
                    continue
                inside = in_package or _is_package(path)
                self.enter(path, f"{name}/", (*above, path.resolve()), in_package=inside)
            elif stat.S_ISREG(path.stat().st_mode) and (_is_py(name) or not only_py):
                self.found.files[name] = path
            else:
                self.found.left_out.append(name)

    def _trouble(self, link: Path, above: tuple[Path, ...]) -> str | None:
        try:
            real = link.resolve(strict=True)
        except (OSError, RuntimeError):
            return "is a link that leads nowhere; remove it"
        if not real.is_relative_to(self._limit):
            return f"links to {real}, outside of {self._limit}; copy it there or remove it"
        return "links to a folder that holds it; remove the link" if real in above else None

    def _leave_link(self, link: Path, name: str, trouble: str, *, in_package: bool) -> None:
        """Refuses code; what dangles is no code of who named the folder, as it has no content."""
        is_code = in_package or _is_py(name) or _is_package(link)
        if is_code and (self._code_only or link.exists()):
            raise PackError(f"{link} {trouble}")
        self.found.links.append(name)


def _is_rubbish(path: Path) -> bool:
    name = path.name
    return (
        name.startswith(".")
        or name == "__pycache__"
        or name.endswith((".pyc", ".pyo", ".egg-info"))
    )


def _is_no_code(folder: Path, *, at_top: bool) -> bool:
    """Whether it is an environment, a table or its state, or what was built."""
    if (folder / "pyvenv.cfg").exists() or (folder / "conda-meta").is_dir():
        return True
    if _is_package(folder):
        return False
    if folder.name == "_backfill" or (at_top and folder.name in ("build", "dist")):
        return True
    of_table = ["_versions"]
    if folder.suffix == ".lance":
        of_table += ["_transactions", "data"]
    return any((folder / name).is_dir() for name in of_table)


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").is_file()


def _is_py(name: str) -> bool:
    return name.endswith(".py")


def _is_in_text(name: str, code: bytes) -> bool:
    return bool(name) and bool(re.search(rb"[\"'/]" + re.escape(name.encode()) + rb"[\"']", code))
