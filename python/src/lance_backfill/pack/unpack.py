"""Unpacks wheels into one folder to import from, and code artifacts.

    unpack_main.py WHEELS SITE          every wheel in WHEELS into SITE
    unpack_main.py --zip FILE FOLDER    a code artifact into FOLDER

Whoever calls has verified the digests, and renames the finished folder: on an error, which is one
line on stderr with exit code 2, the folder is to be thrown away.
"""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PackError
from .wheels import Placed, archive_files, open_archive, wheel_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Inflating leaves the interpreter's lock, writing files hardly does: more threads gain nothing.
_THREADS = 4
_NAMESPACES = (b"pkgutil", b"pkg_resources")


def main(arguments: list[str]) -> int:
    """Unpacks as the arguments say; returns the exit code."""
    unpack: Callable[[Path, Path], None] = unpack_wheels
    if arguments[:1] == ["--zip"]:
        unpack = unpack_zip
        arguments = arguments[1:]
    if len(arguments) != 2:
        sys.stderr.write("give WHEELS SITE, or --zip FILE FOLDER\n")
        return 2
    try:
        unpack(Path(arguments[0]), Path(arguments[1]))
    except (PackError, OSError, zipfile.BadZipFile) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")
        return 2
    return 0


def unpack_zip(path: Path, folder: Path) -> None:
    """Unpacks an archive; refuses absolute names, `..`, links and duplicates."""
    with open_archive(path) as archive:
        names = [Placed(info, name, is_script=False) for info, name in archive_files(path, archive)]
        _write(archive, names, folder)


def unpack_wheels(wheels: Path, site: Path) -> None:
    """Unpacks every wheel of a folder; refuses two wheels that bring different files of one name.

    Entry points get no scripts, and RECORD is not verified: the wheels' digests were.
    """
    if not wheels.is_dir():
        raise PackError(f"{wheels} is not a folder of wheels")
    paths = sorted(wheels.glob("*.whl"))
    site.mkdir(parents=True, exist_ok=True)
    chosen = check_together(paths)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        # The largest first, so that none is left to one thread at the end.
        for done in [
            pool.submit(_unpack_wheel, path, chosen[path], site)
            for path in sorted(paths, key=lambda path: -path.stat().st_size)
        ]:
            done.result()


def check_together(paths: list[Path]) -> dict[Path, list[Placed]]:
    """Which files are unpacked from each wheel; refuses wheels that contradict each other."""
    owner: dict[str, tuple[Path, Placed]] = {}
    chosen: dict[Path, list[Placed]] = {}
    for path in paths:
        mine: list[Placed] = []
        with open_archive(path) as archive:
            for placed in wheel_files(path, archive):
                first, other = owner.get(placed.destination, (None, placed))
                if first is None:
                    owner[placed.destination] = (path, placed)
                    mine.append(placed)
                elif _same(other, placed):
                    continue
                elif placed.destination.endswith("__init__.py"):
                    _check_namespace(first, other, path, placed)
                else:
                    raise _clash(first, path, placed.destination)
        chosen[path] = mine
    return chosen


def _same(one: Placed, other: Placed) -> bool:
    return (one.info.CRC, one.info.file_size) == (other.info.CRC, other.info.file_size)


def _check_namespace(first: Path, other: Placed, path: Path, placed: Placed) -> None:
    """Of two `__init__.py` that only make a namespace any will do, so the first stays."""
    if first == path or not (_is_namespace(first, other) and _is_namespace(path, placed)):
        raise _clash(first, path, placed.destination)


def _clash(first: Path, second: Path, destination: str) -> PackError:
    if first == second:
        return PackError(f"{first.name} holds {destination!r} twice")
    return PackError(
        f"{first.name} and {second.name} both bring {destination} with different content; "
        "leave one of them out"
    )


def _is_namespace(path: Path, placed: Placed) -> bool:
    with open_archive(path) as archive:
        content = archive.read(placed.info)
    if any(mark in content for mark in _NAMESPACES):
        return True
    lines = (line.strip() for line in content.splitlines())
    return not any(line and not line.startswith(b"#") for line in lines)


def _unpack_wheel(path: Path, files: list[Placed], site: Path) -> None:
    with open_archive(path) as archive:
        _write(archive, files, site)


def _write(archive: zipfile.ZipFile, files: Iterable[Placed], folder: Path) -> None:
    made: set[Path] = set()
    for placed in files:
        path = folder / placed.destination
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        with archive.open(placed.info) as source, path.open("xb") as out:
            if placed.is_script:
                out.write(_shebang(source.readline()))
            shutil.copyfileobj(source, out, 1 << 20)
        if placed.is_script or (placed.info.external_attr >> 16) & 0o111:
            path.chmod(0o755)


def _shebang(line: bytes) -> bytes:
    """A script's first line, with `#!python` made this interpreter, as installers do."""
    if line.startswith(b"#!python"):
        return b"#!" + os.fsencode(sys.executable) + b"\n"
    return line
