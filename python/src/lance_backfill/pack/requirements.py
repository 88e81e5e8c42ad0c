"""Fetches the wheels that a requirements file asks for."""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PackError
from .local import Builder, path_of
from .pip import Pip, PipError
from .tags import WheelName

if TYPE_CHECKING:
    from .target import Target

_INCLUDE = re.compile(r"(?:-r|--requirement)[\s=]+(?P<file>\S+)")
_CONSTRAINT = re.compile(r"(?P<option>-c|--constraint)[\s=]+(?P<file>\S+)")
_FIND_LINKS = re.compile(r"(?P<option>-f|--find-links)[\s=]+(?P<file>\S+)")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]+(?P<source>.+)")
_NAMED = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[[^\]]*\])?\s*@\s*(?P<url>\S+)(?P<rest>.*)")
_REPOSITORY = re.compile(r"(?:git|hg|svn|bzr)\+")


def resolve(file: Path, target: Target, work: Path, folder: Path, notes: list[str]) -> None:
    """Puts the wheels into `folder`, with what they depend on, and pyarrow.

    Local paths, `-e` and repositories in the file are built into wheels; local paths are relative
    to the file.  What has no wheel for the target is refused by name.
    """
    if not file.is_file():
        raise PackError(f"the requirements file {file} does not exist")
    pip = Pip(target, work)
    lines = RequirementsReader(Builder(pip)).read(file, ())
    rewritten = work / "requirements.txt"
    rewritten.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    pip.download([f"--requirement={rewritten}"], folder)
    add_pyarrow(pip, folder, notes)


def add_pyarrow(pip: Pip, folder: Path, notes: list[str]) -> None:
    """Fetches pyarrow where it is not among the wheels: this interpreter's version, or the newest.

    What else is in the folder keeps its version.
    """
    wheels = [WheelName.parse(path.name) for path in folder.glob("*.whl")]
    if any(wheel.name == "pyarrow" for wheel in wheels):
        return
    constraints = pip.work / "constraints.txt"
    constraints.write_text("".join(f"{wheel.name}=={wheel.version}\n" for wheel in wheels))
    options = [f"--constraint={constraints}", f"--find-links={folder}"]
    try:
        here = [f"pyarrow=={metadata.version('pyarrow')}"]
    except metadata.PackageNotFoundError:
        here = []
    for requirement in [*here, "pyarrow"]:
        try:
            pip.download([*options, requirement], folder)
            break
        except PipError as error:
            if error.missing is None or requirement == "pyarrow":
                raise
    version = next(folder.glob("pyarrow-*.whl")).name.split("-")[1]
    notes.append(f"pyarrow {version} was added: the host that runs the function needs it")


class RequirementsReader:
    """Reads requirements files, with wheels in place of what has to be built."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder

    def read(self, file: Path, above: tuple[Path, ...]) -> list[str]:
        """The lines of a file and of those that it includes; `above` are those it is in."""
        if file in above:
            raise PackError(f"the requirements file {file} includes itself")
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise PackError(f"the requirements file {file} cannot be read: {error}") from None
        lines = []
        for line in re.sub(r"\\\r?\n", " ", text).splitlines():
            plain = re.sub(r"(^|\s+)#.*$", "", line).strip()
            if plain:
                lines += self._line(plain, file, above)
        return lines

    def _line(self, line: str, file: Path, above: tuple[Path, ...]) -> list[str]:
        if (match := _INCLUDE.fullmatch(line)) and "://" not in line:
            return self.read(file.parent / match.group("file"), (*above, file))
        if match := _CONSTRAINT.fullmatch(line) or _FIND_LINKS.fullmatch(line):
            path = file.parent / match.group("file")
            return [f"{match.group('option')} {path}" if path.exists() else line]
        if match := _EDITABLE.fullmatch(line):
            return [self._wheel(match.group("source"), file)]
        if line.startswith("-"):
            return [line]
        if match := _NAMED.fullmatch(line):
            url = match.group("url")
            if url.startswith("file:") or _REPOSITORY.match(url):
                name = f"{match.group('name')}{match.group('extras') or ''}"
                wheel = self._wheel(url, file)
                return [f"{name} @ {Path(wheel).as_uri()}{match.group('rest')}"]
            return [line]
        if _is_local(line, file) or _REPOSITORY.match(line):
            return [self._wheel(line, file)]
        return [line]

    def _wheel(self, source: str, file: Path) -> str:
        """The path of a wheel built from a source, with the extras and marker that it came with."""
        if _REPOSITORY.match(source):
            return str(self.builder.address(source))
        source, semicolon, marker = (part.strip() for part in source.partition(";"))
        bare, bracket, extras = source.partition("[")
        path = path_of(bare.partition("#")[0]) or file.parent / bare
        wheel = self.builder.path(path.resolve())
        return f"{wheel}{bracket}{extras}" + (f" ; {marker}" if semicolon else "")


def _is_local(line: str, file: Path) -> bool:
    if line.startswith((".", "/", "file:")):
        return True
    bare = line.partition("[")[0]
    if bare.endswith((".whl", ".tar.gz", ".zip")) and "://" not in bare:
        return True
    return "/" in bare and "://" not in bare and (file.parent / bare).is_dir()


def keep_wheel(wheel: Path, folder: Path) -> None:
    """Copies a wheel into the folder of an environment."""
    if not (folder / wheel.name).exists():
        shutil.copyfile(wheel, folder / wheel.name)
