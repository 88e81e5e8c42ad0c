"""Packs what can be imported into one archive: the code artifact.

A directory is taken for an import root: everything under it is packed, but hidden files and
folders, `__pycache__`, `*.pyc`, `*.egg-info`, virtual environments, and at its top `build` and
`dist` where these are no packages.  Files such as `.gitignore` are not looked at.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PackError
from .files import human_size, listed, write_zip
from .native import NativeFiles
from .wheels import wheel_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .files import StoredFile
    from .target import Target

# What a worker fetches and unpacks before its first row.  Data of a table has no place in code, and
# models belong into the environment or are fetched when the class is made.
MAX_CODE_BYTES = 256 << 20


def pack_code(
    entrypoint: str, source: Path, target: Target, work: Path, notes: list[str]
) -> StoredFile:
    """Writes `code.zip` into the work folder.

    Refuses an entry point that is not `module:name`, a path or module that does not exist, links
    out of the folder, native code for another platform, and more than `MAX_CODE_BYTES`.
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
    _check_size(source, entries)
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
    root = source
    files = _files(root, source, notes)
    if not _has_module(files, module):
        inner = {
            entry.removeprefix("src/"): path
            for entry, path in files.items()
            if entry.startswith("src/")
        }
        if not _has_module(inner, module):
            raise _missing_module(module, name, source, inner or files)
        files, root = inner, source / "src"
        notes.append(f"{module} was found in {root}, which is packed in place of {source}")
    NativeFiles(target).check(root, files)
    return files


def _files(root: Path, limit: Path, notes: list[str]) -> dict[str, Path]:
    """Name in the archive and path, for every file that is packed."""
    left_out: list[str] = []
    found = dict(_walk(root, "", limit.resolve(), (root.resolve(),), left_out))
    if left_out:
        notes.append(f"not packed: {listed(sorted(left_out))}")
    return found


def _walk(
    folder: Path, prefix: str, limit: Path, above: tuple[Path, ...], left_out: list[str]
) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.iterdir()):
        relative = prefix + path.name
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.suffix in (".pyc", ".pyo") or path.name.endswith(".egg-info"):
            continue
        if path.is_symlink():
            _check_link(path, limit)
        if path.is_dir():
            if (path / "pyvenv.cfg").exists() or _is_build_output(path, prefix):
                left_out.append(relative + "/")
                continue
            real = path.resolve()
            if real in above:
                raise PackError(f"{path} links to a folder that holds it; remove the link")
            yield from _walk(path, relative + "/", limit, (*above, real), left_out)
        elif stat.S_ISREG(path.stat().st_mode):
            yield relative, path
        else:
            left_out.append(relative)


def _check_link(path: Path, limit: Path) -> None:
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise PackError(f"{path} is a link that leads nowhere; remove it") from None
    if not real.is_relative_to(limit):
        raise PackError(f"{path} links to {real}, outside of {limit}; copy it there or remove it")


def _is_build_output(path: Path, prefix: str) -> bool:
    return not prefix and path.name in ("build", "dist") and not (path / "__init__.py").exists()


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


def _check_size(source: Path, entries: dict[str, Path | bytes]) -> None:
    sizes = {
        name: content.stat().st_size if isinstance(content, Path) else len(content)
        for name, content in entries.items()
    }
    total = sum(sizes.values())
    if total <= MAX_CODE_BYTES:
        return
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    named = ", ".join(f"{name} ({human_size(sizes[name])})" for name in largest)
    raise PackError(
        f"{source} holds {human_size(total)} to pack, at most {human_size(MAX_CODE_BYTES)} are "
        f"allowed; give a smaller folder, or move the largest files elsewhere: {named}"
    )
