"""Finds the import statement that gives a global name its value."""

from __future__ import annotations

import importlib.metadata
import json
import site
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any

from .errors import PackError
from .local import path_of


def import_module(name: str, module: types.ModuleType) -> str:
    """The statement that binds a name to a module; refuses a module that is not installed."""
    found = module.__name__
    if sys.modules.get(found) is not module:
        raise PackError(f"the module {name} ({found}) cannot be imported by its name")
    check_installed(found, name)
    return f"import {found}" if found == name else f"import {found} as {name}"


def import_value(name: str, value: Any) -> str | None:
    """The `from` statement that binds a name to a value, or None if no module has the value."""
    own = getattr(value, "__name__", None) or getattr(value, "_name", None)
    modules = [getattr(value, "__module__", None), type(value).__module__]
    for module in dict.fromkeys(m for m in modules if isinstance(m, str)):
        if module in ("__main__", "builtins"):
            continue
        parts = module.split(".")
        # The shortest name of a module is the public one, as in `from numpy.linalg import norm`.
        for count in range(1, len(parts) + 1):
            prefix = ".".join(parts[:count])
            for candidate in dict.fromkeys(n for n in (own, name) if isinstance(n, str)):
                if not candidate.isidentifier():
                    continue
                there = vars(sys.modules[prefix]) if prefix in sys.modules else {}
                if there.get(candidate, _NOTHING) is value:
                    check_installed(prefix, name)
                    renamed = "" if candidate == name else f" as {name}"
                    return f"from {prefix} import {candidate}{renamed}"
    return None


def submodule_imports(
    name: str, module: types.ModuleType, chains: set[tuple[str, ...]]
) -> set[str]:
    """Imports of submodules that are used as attributes, as `concurrent.futures` is."""
    statements = set()
    for chain in chains:
        inner: Any = module
        for attribute in chain:
            path = f"{inner.__name__}.{attribute}"
            inner = getattr(inner, attribute, None)
            if not isinstance(inner, types.ModuleType) or sys.modules.get(path) is not inner:
                break
            if path.startswith(f"{name}."):
                statements.add(f"import {path}")
            else:
                statements.add(f"import {path} as _lb_{path.replace('.', '_')}")
    return statements


def check_installed(module: str, name: str) -> None:
    """Refuses a module that lies in some folder: no environment brings it."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "lance_backfill":
        return
    found = sys.modules.get(top)
    origin = getattr(found, "__file__", None) or next(iter(getattr(found, "__path__", [])), None)
    if origin is None or is_installed(Path(origin)):
        return
    raise PackError(
        f"{name} comes from {module}, which is not installed but lies at {origin}; install its "
        "folder, or put the function into a .py file beside it and import it from there"
    )


def is_installed(path: Path) -> bool:
    """Whether a file belongs to an installed distribution, also one that was installed editable."""
    return in_site(path) or any(path.resolve().is_relative_to(folder) for folder in _editable())


def in_site(path: Path) -> bool:
    """Whether a file lies where distributions are installed, or is the standard library's."""
    real = path.resolve()
    paths = sysconfig.get_paths()
    folders = [paths[key] for key in ("purelib", "platlib", "stdlib", "platstdlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return any(real.is_relative_to(Path(folder).resolve()) for folder in folders)


def _editable() -> list[Path]:
    folders = []
    for distribution in importlib.metadata.distributions():
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        if "dir_info" in origin and (path := path_of(origin.get("url", ""))):
            folders.append(path.resolve())
    return folders


_NOTHING = object()
