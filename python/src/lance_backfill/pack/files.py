"""Files with a digest, JSON with one form only, and zip archives with one form only."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# The first time that a zip archive can hold.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644


@dataclass(frozen=True)
class StoredFile:
    """A file that was written into the work folder, with the digest of its bytes."""

    path: Path
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> StoredFile:
        """Reads the file once."""
        digest = hashlib.sha256()
        size = 0
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
        return cls(path, digest.hexdigest(), size)

    def as_json(self) -> dict[str, Any]:
        """`{"sha256", "size_bytes", "path"}`."""
        return {"sha256": self.sha256, "size_bytes": self.size_bytes, "path": str(self.path)}


def canonical_json(value: Any) -> bytes:
    """Equal values give equal bytes: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def write_json(path: Path, value: Any) -> StoredFile:
    """Writes canonical JSON."""
    path.write_bytes(canonical_json(value))
    return StoredFile.of(path)


def write_zip(path: Path, entries: Mapping[str, Path | bytes]) -> StoredFile:
    """Writes an archive whose bytes follow from names and contents alone.

    Entries are stored, not deflated: versions of zlib differ in their output.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _ZIP_EPOCH)
            info.create_system = 3
            info.external_attr = _FILE_MODE << 16
            content = entries[name]
            archive.writestr(info, content.read_bytes() if isinstance(content, Path) else content)
    return StoredFile.of(path)


def human_size(size_bytes: int) -> str:
    """As in `3 KiB` or `1.5 GiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def listed(names: list[str], limit: int = 8) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
