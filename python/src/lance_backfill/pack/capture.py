"""Fetches the distributions that the running interpreter has, at their versions, for a target."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PackError
from .files import listed
from .local import Builder, path_of
from .pip import Pip, PipError
from .requirements import add_pyarrow, keep_wheel
from .tags import WheelName, normalized

if TYPE_CHECKING:
    from .target import Target

# `pkg-resources` is a phantom that Debian's virtual environments list.  The worker brings us.
_LEFT_OUT = {"pip", "wheel", "lance-backfill", "pkg-resources"}
# How many distributions without a wheel are looked for: each costs another run of pip.
_MAX_MISSING = 10


@dataclass
class _Installed:
    """What is installed: requirements for an index, and what has to be built."""

    pinned: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


def capture(target: Target, work: Path, folder: Path, notes: list[str]) -> None:
    """Puts the wheels into `folder`, and pyarrow if it was not installed.

    pip, wheel and lance-backfill are left out, and setuptools unless something requires it.  For
    this machine exactly what is installed is fetched; for another target also what only there is
    required.  What has no wheel for the target is refused by name.
    """
    pip = Pip(target, work)
    installed = _installed(notes)
    builder = Builder(pip)
    built = [builder.path(path) for path in installed.folders]
    built += [builder.address(address) for address in installed.addresses]
    for wheel in built:
        keep_wheel(wheel, folder)
    _fetch(pip, installed.pinned, [str(wheel) for wheel in built], folder)
    if not target.native:
        _note_added(installed, built, folder, target, notes)
    add_pyarrow(pip, folder, notes)


def _fetch(pip: Pip, pinned: list[str], built: list[str], folder: Path) -> None:
    options = ["--no-deps"] if pip.target.native else built
    missing: list[str] = []
    first: PipError | None = None
    left = list(pinned)
    while left and len(missing) < _MAX_MISSING:
        try:
            pip.download([*options, *left], folder)
            break
        except PipError as error:
            if error.missing not in left:
                raise first or error from None
            first = first or error
            missing.append(error.missing)
            left.remove(error.missing)
            options = ["--no-deps"]
    if first is not None and len(missing) == 1:
        raise first
    if missing:
        raise PackError(
            f"{listed(missing, _MAX_MISSING)} have no wheel for {pip.target}; uninstall what the "
            "function does not need, or name what it needs in a requirements file"
        )


def _note_added(
    installed: _Installed, built: list[Path], folder: Path, target: Target, notes: list[str]
) -> None:
    known = {requirement.partition("==")[0].partition(" @")[0] for requirement in installed.pinned}
    known |= {WheelName.parse(wheel.name).name for wheel in built}
    wheels = sorted(folder.glob("*.whl"))
    added = [w for w in (WheelName.parse(path.name) for path in wheels) if w.name not in known]
    if added:
        names = [f"{wheel.name} {wheel.version}" for wheel in added]
        notes.append(f"added, as {target} requires it: {listed(names)}")


def _installed(notes: list[str]) -> _Installed:
    found: dict[str, metadata.Distribution] = {}
    required: set[str] = set()
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if not name:
            continue
        if normalized(name) in found:
            continue
        found[normalized(name)] = distribution
        required.update(_requires(distribution))
    left_out = _LEFT_OUT if "setuptools" in required else {*_LEFT_OUT, "setuptools"}
    installed = _Installed()
    for name in sorted(found.keys() - left_out):
        _add(installed, name, found[name])
    notes.append(f"captured {len(found.keys() - left_out)} distributions")
    return installed


def _requires(distribution: metadata.Distribution) -> list[str]:
    names = []
    for requirement in distribution.requires or []:
        match = re.match(r"[\w.-]+", requirement)
        if match and "extra ==" not in requirement:
            names.append(normalized(match.group()))
    return names


def _add(installed: _Installed, name: str, distribution: metadata.Distribution) -> None:
    origin = _origin(name, distribution)
    url = origin.get("url", "")
    path = path_of(url)
    if "vcs_info" in origin:
        vcs = origin["vcs_info"]
        address = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
        if subdirectory := origin.get("subdirectory"):
            address += f"#subdirectory={subdirectory}"
        installed.addresses.append(address)
    elif path is not None:
        if not path.exists():
            raise PackError(
                f"{name} was installed from {path}, which does not exist; install it again"
            )
        installed.folders.append(path / origin.get("subdirectory", ""))
    elif "archive_info" in origin:
        if url.partition("#")[0].endswith(".whl"):
            installed.pinned.append(f"{name} @ {url}")
        else:
            installed.addresses.append(url)
    elif (source := _develop_folder(distribution)) is not None:
        installed.folders.append(source)
    else:
        installed.pinned.append(f"{name}=={distribution.version}")


def _origin(name: str, distribution: metadata.Distribution) -> dict[str, Any]:
    """Where a distribution was installed from (PEP 610), or {} if from an index."""
    text = distribution.read_text("direct_url.json")
    if not text:
        return {}
    try:
        origin = json.loads(text)
    except ValueError:
        origin = None
    if not isinstance(origin, dict):
        raise PackError(f"the direct_url.json of {name} cannot be read; install {name} again")
    return origin


def _develop_folder(distribution: metadata.Distribution) -> Path | None:
    """The source of what `setup.py develop` installed, which left no direct_url.json."""
    folder = getattr(distribution, "_path", None)
    if not isinstance(folder, Path) or folder.suffix != ".egg-info":
        return None
    return folder.parent if (folder.parent / "setup.py").exists() else None
