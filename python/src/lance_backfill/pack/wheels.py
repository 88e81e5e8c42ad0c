"""Reads wheels: where each of their files belongs, and the code that they bring."""

from __future__ import annotations

import re
import stat
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from .errors import PackError
from .native import platforms_of
from .tags import WheelName, normalized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .target import Target


class Placed(NamedTuple):
    """A file of an archive and where it belongs, relative to the folder it is unpacked into."""

    info: zipfile.ZipInfo
    destination: str
    is_script: bool


def open_archive(path: Path) -> zipfile.ZipFile:
    """Refuses what is no zip archive."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise PackError(f"{path} cannot be read as an archive: {error}") from None


def archive_files(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    """The files of an archive; refuses names that lead out of a folder, links and duplicates."""
    seen = set()
    for info in archive.infolist():
        name = info.filename
        parts = name.rstrip("/").split("/")
        if "\\" in name or ":" in parts[0] or any(part in ("", ".", "..") for part in parts):
            raise PackError(f"{path.name} holds {name!r}, which leads out of the folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise PackError(f"{path.name} holds the link {name!r}, and links are not unpacked")
        if info.is_dir():
            continue
        if name in seen:
            raise PackError(f"{path.name} holds {name!r} twice")
        seen.add(name)
        yield info, name


def wheel_files(path: Path, archive: zipfile.ZipFile) -> Iterator[Placed]:
    """Where a wheel's files go: purelib and platlib to the top, scripts to `bin`, as for a prefix.

    Headers go to `include/NAME` and data to the top, which is what `pip install --target` does.
    """
    for info, name in archive_files(path, archive):
        top, _, rest = name.partition("/")
        if not top.endswith(".data") or not rest:
            yield Placed(info, name, is_script=False)
            continue
        scheme, _, inner = rest.partition("/")
        if scheme in ("purelib", "platlib", "data"):
            destination = inner
        elif scheme == "scripts":
            destination = f"bin/{inner}"
        elif scheme == "headers":
            destination = f"include/{normalized(top.partition('-')[0])}/{inner}"
        else:
            raise PackError(f"{path.name} holds {name!r}, and {scheme!r} is no place for files")
        if not inner:
            raise PackError(f"{path.name} holds {name!r}, which is a file in place of a folder")
        yield Placed(info, destination, is_script=scheme == "scripts")


def wheel_code(path: Path, target: Target, notes: list[str]) -> dict[str, bytes]:
    """What can be imported from a wheel, by its name in an import root.

    Refuses a wheel whose tags, or whose libraries, are for another platform.  Scripts, headers and
    data are left out.
    """
    WheelName.parse(path.name).check(target)
    code: dict[str, bytes] = {}
    left_out = 0
    requires: list[str] = []
    with open_archive(path) as archive:
        for placed in wheel_files(path, archive):
            scheme = placed.info.filename.partition(".data/")[2].partition("/")[0]
            if scheme in ("scripts", "headers", "data"):
                left_out += 1
                continue
            if placed.destination in code:
                raise PackError(f"{path.name} holds {placed.destination!r} twice")
            content = archive.read(placed.info)
            platforms = platforms_of(content[:4096])
            if platforms and target.platform not in platforms:
                raise PackError(
                    f"{placed.info.filename} in {path.name} is for {' and '.join(platforms)}, "
                    f"the target is {target}"
                )
            code[placed.destination] = content
            if placed.destination.endswith(".dist-info/METADATA"):
                requires = _requirements(content.decode("utf-8", "replace"))
    if left_out:
        notes.append(f"{left_out} scripts, headers and data files of {path.name} are not packed")
    if requires:
        notes.append(f"{path.name} requires {', '.join(requires)}; the environment must bring them")
    return code


def _requirements(metadata: str) -> list[str]:
    header = metadata.partition("\n\n")[0]
    found = re.findall(r"(?m)^Requires-Dist: *(.+?)\s*$", header)
    return [requirement for requirement in found if "extra ==" not in requirement]
