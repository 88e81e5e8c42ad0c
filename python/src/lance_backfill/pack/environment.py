"""Packs an environment: a lock, and the wheels that it lists.

The digest of the lock is the environment's.  `current` lists no distributions, so that installing
an unrelated package makes no other environment of it.
"""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PackError
from .files import StoredFile, write_json
from .tags import WheelName
from .unpack import check_together

if TYPE_CHECKING:
    from .target import Target

LOCK_VERSION = 1
_IMAGE = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Environment:
    """A lock, the file it was written to, and the wheels it lists."""

    lock: dict[str, Any]
    lock_file: StoredFile
    wheels: list[StoredFile] = field(default_factory=list)


def pack_environment(
    request: dict[str, Any], target: Target, work: Path, notes: list[str]
) -> Environment:
    """Writes `environment.json`, and wheels into the folder `wheels`.

    Refuses an unknown kind, `current` for another machine or Python, an image without digest, and
    by name what has no wheel for the target.
    """
    kind = request.get("kind")
    lock: dict[str, Any] = {
        "version": LOCK_VERSION,
        "python": target.python,
        "platform": target.platform,
    }
    wheels: list[StoredFile] = []
    if kind == "current":
        lock |= _current(target)
    elif kind == "image":
        lock |= {"kind": "image", "image": _image(request.get("image"))}
    elif kind in ("requirements", "capture"):
        wheels = _wheels(kind, request, target, work, notes)
        lock |= {
            "kind": "wheels",
            "tags": target.lock_tags(),
            "distributions": [_distribution(wheel) for wheel in wheels],
        }
    else:
        raise PackError(
            f"{kind!r} is no kind of environment; choose current, requirements, capture or image"
        )
    return Environment(lock, write_json(work / "environment.json", lock), wheels)


def _current(target: Target) -> dict[str, Any]:
    if not target.native:
        raise PackError(
            f"the current environment is of this machine and its Python alone, and the target is "
            f"{target}; choose a requirements file, or capture"
        )
    return {
        "kind": "current",
        "executable": sys.executable,
        "python_full": platform.python_version(),
        "prefix": sys.prefix,
    }


def _image(image: Any) -> str:
    if not isinstance(image, str) or not _IMAGE.fullmatch(image):
        raise PackError(
            f"the image {image!r} has no digest; name it as NAME@sha256: and 64 digits, "
            "as `docker images --digests` shows it"
        )
    return image


def _wheels(
    kind: str, request: dict[str, Any], target: Target, work: Path, notes: list[str]
) -> list[StoredFile]:
    from .capture import capture
    from .requirements import resolve

    folder = work / "wheels"
    folder.mkdir(exist_ok=True)
    if kind == "capture":
        capture(target, work, folder, notes)
    else:
        file = request.get("file")
        if not isinstance(file, str) or not file:
            raise PackError("the request's environment names no requirements file")
        resolve(Path(file).absolute(), target, work, folder, notes)
    paths = sorted(folder.glob("*.whl"), key=lambda path: path.name.lower())
    names: dict[str, str] = {}
    for path in paths:
        wheel = WheelName.parse(path.name)
        wheel.check(target)
        other = names.setdefault(wheel.name, path.name)
        if other != path.name:
            raise PackError(f"{other} and {path.name} are both needed; ask for one version of it")
    check_together(paths)
    return [StoredFile.of(path) for path in paths]


def _distribution(wheel: StoredFile) -> dict[str, Any]:
    name = WheelName.parse(wheel.path.name)
    return {
        "name": name.name,
        "version": name.version,
        "filename": wheel.path.name,
        "sha256": wheel.sha256,
        "size_bytes": wheel.size_bytes,
    }
