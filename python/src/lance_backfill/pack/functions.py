"""Says for a live function what is to be packed: its entry point, and where its code is."""

from __future__ import annotations

import inspect
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PackError
from .folders import check_size, find_files
from .imports import in_site
from .source import pack_function

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Mapping

_MAIN = ("__main__", "__mp_main__")


def for_function(
    function: Callable[..., Any], work: Path | None = None, notes: list[str] | None = None
) -> tuple[str, Path]:
    """The entry point `module:name` and the path for a request.

    The code of a function of a module is copied into the work folder: of an installed module its
    top-level package, of another one the code in the folder which that package lies in.  A function
    of a notebook, a REPL or a script is packed as source there.  Without a work folder a temporary
    one is made, which the caller removes.  `notes` gets what was left out.
    """
    module = _module_of(function)
    if module is None:
        return _as_source(function, _folder(work))
    path = Path(module.__file__ or "").absolute()
    if not path.is_file() or path.suffix != ".py":
        raise PackError(f"{module.__name__} has no source at {path}; give a function of a .py file")
    top, root = _top(module.__name__, path)
    if in_site(path):
        copy = _copy_package(top, _folder(work))
    else:
        found = find_files(root, code_only=True)
        copy = _copy_files(root, found.files, _folder(work))
        if notes is not None:
            notes.extend(found.notes_on_code())
    return entrypoint_of(function), copy


def entrypoint_of(function: Callable[..., Any]) -> str:
    """The entry point of a function of a module, whose code is in a folder that somebody named."""
    target = inspect.unwrap(function)
    module = _module_of(function)
    if module is None:
        raise PackError(
            f"{target.__qualname__} is packed as source, without any folder; define it in a module "
            "of the folder, and import it from there"
        )
    return f"{module.__name__}:{target.__qualname__}"


def _module_of(function: Callable[..., Any]) -> types.ModuleType | None:
    """The module that has a function as a global; None if it is packed as source.

    Refuses what has no name in its module.
    """
    target = inspect.unwrap(function)
    module = sys.modules.get(getattr(target, "__module__", None) or "")
    name = getattr(target, "__qualname__", None)
    if module is None or name is None:
        raise PackError(f"{function!r} is no function or class of a module; give one that is")
    file = getattr(module, "__file__", None)
    if module.__name__ in _MAIN or file is None or "<locals>" in name:
        return None
    if "." in name or inspect.unwrap(getattr(module, name, _nothing)) is not target:
        raise PackError(
            f"{name} is not a global name of {module.__name__}; define it at the module's top"
        )
    return module


def _nothing() -> None:
    """Stands for a name that a module does not have."""


def _folder(work: Path | None) -> Path:
    return work if work is not None else Path(tempfile.mkdtemp(prefix="lance-backfill-"))


def _as_source(function: Callable[..., Any], folder: Path) -> tuple[str, Path]:
    packed = pack_function(function)
    path = folder / f"{packed.module}.py"
    path.write_text(packed.text, encoding="utf-8")
    return f"{packed.module}:{packed.name}", path


def _top(module: str, path: Path) -> tuple[Path, Path]:
    """The file or folder of a module's top-level package, and the folder which that is in."""
    top = path.parent if path.name == "__init__.py" else path
    for _ in range(module.count(".")):
        top = top.parent
    return top, top.parent


def _copy_package(top: Path, folder: Path) -> Path:
    root = folder / "package"
    root.mkdir()
    if top.is_dir():
        shutil.copytree(top, root / top.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(top, root / top.name)
    return root


def _copy_files(source: Path, files: Mapping[str, Path], folder: Path) -> Path:
    check_size(source, files)
    root = folder / "package"
    for name, path in files.items():
        copy = root / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return root
