"""What an environment is packed for: a platform and a version of Python."""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from dataclasses import dataclass
from typing import Any

from .errors import PackError

# Wheels may need at most this glibc: it is that of Amazon Linux 2023, on which Lambda runs.
_MAX_GLIBC = 34
_MANYLINUX_ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
# Wheels for a Mac may need at most this version of macOS.
_MACOS = "14_0"

PLATFORMS = {
    "linux-x86_64": ("linux", "x86_64"),
    "linux-aarch64": ("linux", "aarch64"),
    "macos-arm64": ("macos", "arm64"),
    "macos-x86_64": ("macos", "x86_64"),
}
_MACHINES = {"amd64": "x86_64", "x64": "x86_64"}


@dataclass(frozen=True)
class Target:
    """A platform (one of `PLATFORMS`), a version as in `3.13`, and what its wheels may need."""

    platform: str
    python: str
    glibc_minor: int
    native: bool
    """Whether this interpreter on this machine can use it."""

    @property
    def system(self) -> str:
        """`linux` or `macos`."""
        return PLATFORMS[self.platform][0]

    @property
    def machine(self) -> str:
        """`x86_64`, `aarch64` or `arm64`."""
        return PLATFORMS[self.platform][1]

    @property
    def tag(self) -> str:
        """As in `cp313`."""
        return "cp" + self.python.replace(".", "")

    def __str__(self) -> str:
        return f"{self.platform} with Python {self.python}"

    def pip_platforms(self) -> list[str]:
        """Platform tags for `pip --platform`, best first; musllinux is not among them."""
        if self.system == "macos":
            return [f"macosx_{_MACOS}_{self.machine}"]
        tags = []
        for minor in range(self.glibc_minor, _OLDEST_GLIBC[self.machine] - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _MANYLINUX_ALIASES:
                tags.append(f"{_MANYLINUX_ALIASES[minor]}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]

    def lock_tags(self) -> dict[str, str]:
        """What of the target is in a lock besides platform and Python."""
        tags = {"implementation": "cp", "abi": self.tag}
        if self.system == "linux":
            tags["glibc"] = f"2.{self.glibc_minor}"
        else:
            tags["macos"] = _MACOS.replace("_", ".")
        return tags

    def markers(self) -> dict[str, str]:
        """The variables of environment markers (PEP 508) on this target."""
        full = platform.python_version() if self.native else f"{self.python}.0"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux" if self.system == "linux" else "Darwin",
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.python,
            "sys_platform": "linux" if self.system == "linux" else "darwin",
        }


def this_python() -> str:
    """As in `3.11`."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def this_platform() -> str | None:
    """The platform that this interpreter runs on, or None when it is none of `PLATFORMS`."""
    system = {"linux": "linux", "darwin": "macos"}.get(sys.platform)
    machine = platform.machine().lower()
    machine = _MACHINES.get(machine, machine)
    for name, parts in PLATFORMS.items():
        if parts == (system, machine):
            return name
    return None


def parse_target(value: Any) -> Target:
    """Reads `{"platform": NAME or null, "python": "3.13" or null}`; null stands for this one's."""
    if not isinstance(value, dict):
        raise PackError("the request's target is not an object with platform and python")
    name, python = value.get("platform"), value.get("python")
    here, this = this_platform(), this_python()
    if name is None:
        name = here
        if name is None:
            raise PackError(
                f"this machine is {platform.system()} {platform.machine()}, for which there is no "
                f"target; choose one of {', '.join(PLATFORMS)}"
            )
    if name not in PLATFORMS:
        raise PackError(f"{name!r} is no target platform; choose one of {', '.join(PLATFORMS)}")
    python = this if python is None else python
    if not isinstance(python, str) or not re.fullmatch(r"3\.\d{1,2}", python):
        raise PackError(f"{python!r} is no version of Python for a target; give one as in 3.13")
    if int(python[2:]) < 10:
        raise PackError(f"Python {python} is too old for a target; functions need 3.10 or later")
    native = name == here and python == this
    if native:
        _check_interpreter()
    return Target(name, python, _glibc_minor(native=native), native)


def _glibc_minor(*, native: bool) -> int:
    if native and sys.platform == "linux":
        version = platform.libc_ver()[1]
        if match := re.match(r"2\.(\d+)", version):
            return min(_MAX_GLIBC, int(match.group(1)))
    return _MAX_GLIBC


def _check_interpreter() -> None:
    if sys.implementation.name != "cpython":
        raise PackError(f"this interpreter is {sys.implementation.name}; functions need CPython")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise PackError("this Python is a free-threaded build; functions need the ordinary one")
    if "musl" in str(sysconfig.get_config_var("SOABI")):
        raise PackError("this Python is built on musl; functions need one built on glibc")
