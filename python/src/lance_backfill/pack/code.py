"""Packs what can be imported into one archive: the code artifact.

What of a folder is packed, `folders` says.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import PackError
from .files import listed, write_zip
from .folders import check_size, find_files
from .native import NativeFiles
from .wheels import wheel_code

if TYPE_CHECKING:
    from pathlib import Path

    from .files import StoredFile
    from .target import Target


def pack_code(
    entrypoint: str, source: Path, target: Target, work: Path, notes: list[str]
) -> StoredFile:
    """Writes `code.zip` into the work folder.

    Refuses an entry point that is not `module:name`, a path or module that does not exist, code
    that is a link out of the folder, native code for another platform, and more than
    `MAX_CODE_BYTES`.
    """
    module, name = parse_entrypoint(entrypoint)
    source = source.absolute()
    if not source.exists():
        raise PackError(f"{source} does not exist; give the folder, .py file or wheel of {module}")
    entries: dict[str, Path | bytes]
    if source.is_dir():
        entries = dict(_folder(source, module, name, target, notes))
    elif source.suffix == ".whl":
        entries = dict(wheel_code(source, target, notes))
        if not _has_module(entries, module):
            raise _missing_module(module, name, source, entries)
    elif source.suffix == ".py":
        entries = _single_file(source, module, name)
    else:
        raise PackError(f"{source} is neither a folder nor a .py file nor a wheel")
    check_size(source, entries)
    return write_zip(work / "code.zip", entries)


def parse_entrypoint(entrypoint: str) -> tuple[str, str]:
    """Splits `module:name`; the module may have dots, the name may not."""
    module, colon, name = entrypoint.partition(":")
    parts = module.split(".")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in parts):
        raise PackError(
            f"{entrypoint!r} is no entry point; give MODULE:NAME, as in text.clean:normalize"
        )
    return module, name


def _single_file(source: Path, module: str, name: str) -> dict[str, Path | bytes]:
    if source.name == "__init__.py":
        raise PackError(f"{source} is a package's; give the folder that holds the package")
    if source.stem != module:
        raise PackError(
            f"{source} has the module {source.stem}, not {module}; say {source.stem}:{name}"
        )
    return {source.name: source}


def _folder(
    source: Path, module: str, name: str, target: Target, notes: list[str]
) -> dict[str, Path]:
    root, found = source, find_files(source)
    if not _has_module(found.files, module):
        inner = found.below("src/")
        if not _has_module(inner.files, module):
            raise _missing_module(module, name, source, inner.files or found.files)
        root, found = source / "src", inner
        notes.append(f"{module} was found in {root}, which is packed in place of {source}")
    notes.extend(found.notes())
    NativeFiles(target).check(root, found.files)
    return found.files


def _module_file(module: str) -> tuple[str, str]:
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def _has_module(entries: dict[str, Path] | dict[str, Path | bytes], module: str) -> bool:
    if any(name in entries for name in _module_file(module)):
        return True
    compiled = re.compile(re.escape(module.replace(".", "/")) + r"\.[^/]*\b(so|pyd)$")
    return any(compiled.match(name) for name in entries)


def _missing_module(
    module: str, name: str, source: Path, entries: dict[str, Path] | dict[str, Path | bytes]
) -> PackError:
    there = modules_of(entries)
    package = module.rpartition(".")[0]
    while package and not any(found.startswith(package + ".") for found in there):
        package = package.rpartition(".")[0]
    if package:
        near = [found for found in there if found.startswith(package + ".")]
    else:
        near = [found for found in there if "." not in found] or there
    if not near:
        return PackError(f"{source} has no Python module; give the folder that holds {module}")
    return PackError(
        f"{source} has no module {module}, but {listed(near)}; say which one has {name}"
    )


def modules_of(entries: dict[str, Path] | dict[str, Path | bytes]) -> list[str]:
    """Names of the modules that an archive's entries make."""
    modules = set()
    for entry in entries:
        if not entry.endswith(".py"):
            continue
        parts = entry.removesuffix(".py").split("/")
        if parts[-1] == "__init__":
            parts.pop()
        if parts and all(part.isidentifier() for part in parts):
            modules.add(".".join(parts))
    return sorted(modules)
