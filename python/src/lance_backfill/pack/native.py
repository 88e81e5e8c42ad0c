"""Native code among the files of a folder, and whether the target can load it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import PackError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .target import Target

_ELF_MACHINES = {62: "x86_64", 183: "aarch64", 3: "x86", 40: "arm", 243: "riscv64"}
_MACH_MACHINES = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_EXTENSION = re.compile(r"(?P<module>[^.]+)(?:\.(?P<tag>[^.]+(?:\.[^.]+)*))?\.(?:so|pyd)$")
_LIBRARY = re.compile(r"\.(?:so(?:\.\d+)*|pyd|dylib|dll)$")


def platforms_of(header: bytes) -> list[str]:
    """What a shared library's first bytes say it is for, as in `linux-x86_64`; [] if it is none."""
    if header[:4] == b"\x7fELF":
        machine = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
        return [f"linux-{_ELF_MACHINES.get(machine, f'machine {machine}')}"]
    if header[:4] == b"\xcf\xfa\xed\xfe":
        return [_mac(int.from_bytes(header[4:8], "little"))]
    if header[:4] == b"\xca\xfe\xba\xbe":
        count = min(int.from_bytes(header[4:8], "big"), 8)
        return [_mac(int.from_bytes(header[8 + 20 * i : 12 + 20 * i], "big")) for i in range(count)]
    return ["windows"] if header[:2] == b"MZ" else []


def _mac(machine: int) -> str:
    return f"macos-{_MACH_MACHINES.get(machine, f'machine {machine}')}"


class NativeFiles:
    """Judges shared libraries by their first bytes, and extensions also by their names."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def check(self, root: Path, files: Mapping[str, Path]) -> None:
        """Refuses a library that the target cannot load, unless one beside it stands in for it."""
        usable: set[str] = set()
        unusable: dict[str, str] = {}
        for name, path in sorted(files.items()):
            if not _LIBRARY.search(name):
                continue
            stem = self._stem(name)
            reason = self._unusable(name, path)
            if reason is None:
                usable.add(stem)
            else:
                unusable.setdefault(stem, f"{root / name} is for {reason}")
        for stem, reason in unusable.items():
            if stem not in usable:
                raise PackError(
                    f"{reason}, the target is {self.target}; build it there, or pack a wheel of it"
                )

    def _stem(self, name: str) -> str:
        folder, _, last = name.rpartition("/")
        return f"{folder}/{last.partition('.')[0]}"

    def _unusable(self, name: str, path: Path) -> str | None:
        with path.open("rb") as stream:
            platforms = platforms_of(stream.read(4096))
        if platforms and self.target.platform not in platforms:
            return " and ".join(platforms)
        match = _EXTENSION.fullmatch(name.rpartition("/")[2])
        tag = match.group("tag") if match else None
        version = re.match(r"(?:cpython-|cp)3(\d+)", tag or "")
        if version and f"3.{version.group(1)}" != self.target.python:
            return f"Python 3.{version.group(1)}"
        return None
