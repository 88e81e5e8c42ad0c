"""Builds wheels of local packages and of packages at a commit."""

from __future__ import annotations

import re
import shutil
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PackError
from .files import write_zip
from .pip import PipError
from .tags import WheelName
from .wheels import archive_files, open_archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from .pip import Pip

_NOT_SOURCE = ("__pycache__", "node_modules", ".tox", ".nox", ".mypy_cache", ".pytest_cache")
_AT_TOP = ("build", "dist")


def path_of(url: str) -> Path | None:
    """The path of a `file:` address, or None for any other."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "file":
        return None
    return Path(urllib.request.url2pathname(urllib.parse.unquote(parts.path)))


class Builder:
    """Builds wheels into one folder, from copies: building leaves files beside the source."""

    def __init__(self, pip: Pip) -> None:
        self.pip = pip
        self.folder = pip.work / "built"
        self.folder.mkdir(exist_ok=True)
        self._copies = 0

    def path(self, path: Path, extras: str = "") -> Path:
        """The wheel of a folder, of a source archive, or of the path itself if it is a wheel."""
        if not path.exists():
            raise PackError(f"{path} does not exist, so no wheel can be built of it")
        if path.suffix == ".whl":
            WheelName.parse(path.name).check(self.pip.target)
            return path
        source = self._copy(path) if path.is_dir() else path
        return self._build(str(source) + extras, str(path))

    def address(self, address: str) -> Path:
        """The wheel of `git+https://HOST/REPO@COMMIT` and the like."""
        return self._build(address, re.sub(r"//[^/@]*@", "//", address))

    def _build(self, source: str, shown: str) -> Path:
        try:
            wheel = self.pip.build(source, self.folder)
        except PipError as error:
            raise PackError(
                f"no wheel can be built of {shown}: {str(error).removeprefix('pip failed: ')}"
            ) from None
        name = WheelName.parse(wheel.name)
        try:
            name.check(self.pip.target)
        except PackError as error:
            raise PackError(
                f"{shown} has native code, and its wheel was built here: {error}; build it there "
                "and give the folder of its wheel as PIP_FIND_LINKS"
            ) from None
        return self._normalize(wheel)

    def _normalize(self, wheel: Path) -> Path:
        """Writes a built wheel anew, so that the same source gives the same bytes."""
        plain = wheel.with_suffix(".plain")
        with open_archive(wheel) as archive:
            entries: dict[str, Path | bytes] = {
                name: archive.read(info) for info, name in archive_files(wheel, archive)
            }
        write_zip(plain, entries)
        plain.replace(wheel)
        return wheel

    def _copy(self, folder: Path) -> Path:
        if not any((folder / name).exists() for name in ("pyproject.toml", "setup.py")):
            raise PackError(f"{folder} has neither pyproject.toml nor setup.py to build a wheel by")
        self._copies += 1
        copy = self.pip.work / "sources" / str(self._copies) / folder.name
        shutil.copytree(folder, copy, symlinks=True, ignore=_not_source(folder))
        return copy


def _not_source(top: Path) -> Callable[[str, list[str]], set[str]]:
    def ignore(folder: str, names: list[str]) -> set[str]:
        here = Path(folder)
        ignored = {name for name in names if name in _NOT_SOURCE}
        ignored |= {name for name in names if (here / name / "pyvenv.cfg").exists()}
        if here == top:
            outputs = [name for name in names if name in _AT_TOP]
            ignored |= {name for name in outputs if not (here / name / "__init__.py").exists()}
        return ignored

    return ignore
