"""File names of wheels and of native extensions, and what they say about platforms."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import PackError

if TYPE_CHECKING:
    from .target import Target

_MANYLINUX_GLIBC = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}


def normalized(name: str) -> str:
    """A distribution's name as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class WheelName:
    """What a wheel's file name says."""

    filename: str
    name: str
    version: str
    pythons: tuple[str, ...]
    abis: tuple[str, ...]
    platforms: tuple[str, ...]

    @classmethod
    def parse(cls, filename: str) -> WheelName:
        """Refuses what is not named as wheels are."""
        parts = filename[: -len(".whl")].split("-") if filename.endswith(".whl") else []
        if len(parts) not in (5, 6):
            raise PackError(
                f"{filename} is not named as a wheel is: NAME-VERSION-PYTHON-ABI-PLATFORM.whl"
            )
        pythons, abis, platforms = (tuple(part.split(".")) for part in parts[-3:])
        return cls(filename, normalized(parts[0]), parts[1], pythons, abis, platforms)

    def check(self, target: Target) -> None:
        """Refuses a wheel that the target cannot use, and says what it is for."""
        if not any(_platform_fits(tag, target) for tag in self.platforms):
            raise PackError(
                f"{self.filename} is for {describe_platforms(self.platforms)}, "
                f"the target is {target}"
            )
        if not any(_python_fits(py, abi, target) for py in self.pythons for abi in self.abis):
            raise PackError(
                f"{self.filename} is for {' or '.join(_describe_python(p) for p in self.pythons)}"
                f"{_describe_abis(self.abis)}, the target is {target}"
            )


def describe_platforms(tags: tuple[str, ...]) -> str:
    """As in `macOS arm64`, or `Linux x86_64 (musl)`."""
    return " or ".join(dict.fromkeys(_describe_platform(tag) for tag in tags))


def _describe_platform(tag: str) -> str:
    if match := re.fullmatch(r"macosx_\d+_\d+_(\w+)", tag):
        return f"macOS {match.group(1)}"
    if match := re.fullmatch(r"musllinux_\d+_\d+_(\w+)", tag):
        return f"Linux {match.group(1)} with musl"
    if match := re.fullmatch(r"manylinux_2_(\d+)_(\w+)", tag):
        return f"Linux {match.group(2)} with glibc 2.{match.group(1)}"
    if match := re.fullmatch(r"(?:manylinux\d+|linux)_(\w+)", tag):
        return f"Linux {match.group(1)}"
    if tag.startswith("win"):
        return f"Windows {tag.partition('_')[2] or 'x86'}"
    return tag


def _platform_fits(tag: str, target: Target) -> bool:
    if tag in ("any", f"linux_{target.machine}" if target.system == "linux" else "any"):
        return True
    if target.system == "macos":
        match = re.fullmatch(r"macosx_(\d+)_\d+_(\w+)", tag)
        newest = int(target.lock_tags()["macos"].partition(".")[0])
        return bool(
            match
            and int(match.group(1)) <= newest
            and match.group(2) in (target.machine, "universal2", *_fat(target.machine))
        )
    if match := re.fullmatch(r"manylinux_2_(\d+)_(\w+)", tag):
        return match.group(2) == target.machine and int(match.group(1)) <= target.glibc_minor
    name, _, machine = tag.partition("_")
    return machine == target.machine and _MANYLINUX_GLIBC.get(name, 99) <= target.glibc_minor


def _fat(machine: str) -> tuple[str, ...]:
    return ("intel", "fat64", "universal") if machine == "x86_64" else ()


def _python_fits(python: str, abi: str, target: Target) -> bool:
    minor = int(target.python[2:])
    if match := re.fullmatch(r"(?:py|cp)3(\d*)", python):
        least = int(match.group(1) or 0)
        if python.startswith("cp") and abi not in ("abi3", "none"):
            return least == minor and abi == target.tag
        return least <= minor and abi in ("abi3", "none")
    return False


def _describe_python(tag: str) -> str:
    if match := re.fullmatch(r"(cp|py|pp)(\d)(\d*)", tag):
        kind = {"cp": "CPython", "py": "Python", "pp": "PyPy"}[match.group(1)]
        version = match.group(2) + (f".{match.group(3)}" if match.group(3) else "")
        return f"{kind} {version}"
    return tag


def _describe_abis(abis: tuple[str, ...]) -> str:
    return " free-threaded" if any(re.fullmatch(r"cp\d+t", abi) for abi in abis) else ""
