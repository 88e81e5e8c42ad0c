"""Small wheels, folders and requests for the tests of packing."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "lance_backfill"


def write_files(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    files: dict[str, str | bytes] | None = None,
    requires: tuple[str, ...] = (),
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    escaped = name.replace("-", "_")
    info = f"{escaped}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    content = {f"{escaped}.py": f"VERSION = {version!r}\n"} if files is None else dict(files)
    content[f"{info}/METADATA"] = metadata
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    content[f"{info}/RECORD"] = ""
    path = folder / f"{escaped}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, text in content.items():
            archive.writestr(entry, text)
    return path


def make_package(folder: Path, name: str, source: str = "VALUE = 1\n") -> Path:
    """A package that is built by a backend of its own, so that building needs no index."""
    backend = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from building_backend import build_wheel\n"
    )
    return write_files(
        folder / name,
        {
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\n'
            'backend-path = ["."]\n'
            f'[project]\nname = "{name}"\nversion = "1.0"\n',
            "backend.py": backend,
            f"{name}.py": source,
        },
    )


def pack(
    work: Path,
    entrypoint: str,
    source: Path,
    environment: dict[str, str] | None = None,
    *,
    platform: str | None = None,
    python: str | None = None,
    interpreter: str = sys.executable,
) -> dict:
    """Packs in a process of its own, as the program does; returns the answer."""
    work.mkdir()
    request = {
        "entrypoint": entrypoint,
        "from": str(source),
        "environment": environment or {"kind": "current"},
        "target": {"platform": platform, "python": python},
        "work": str(work),
    }
    return pack_request(work.with_suffix(".json"), request, interpreter)


def pack_request(path: Path, request: object, interpreter: str = sys.executable) -> dict:
    path.write_text(json.dumps(request))
    process = subprocess.run(
        [interpreter, str(PACKAGE / "pack_main.py"), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    answer = json.loads(process.stdout)
    assert process.returncode == (0 if answer["ok"] else 2), process.stderr
    if not answer["ok"]:
        assert "\n" not in answer["error"]
        assert "Traceback" not in process.stderr
    return answer


def refused(answer: dict) -> str:
    assert not answer["ok"]
    return answer["error"]


def names_in(path: str | Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()
