"""Finds pip, runs it, and makes one line of what it says when it fails."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import PackError

if TYPE_CHECKING:
    from .target import Target

_SHIM = Path(__file__).parent / "pip_for_target.py"
# pip's own words for an index that cannot be reached; it then goes on and finds no versions.
_UNREACHABLE = ("Retrying (Retry(", "ConnectTimeoutError", "NewConnectionError", "SSLError")


class PipError(PackError):
    """pip failed; the message is made from its output.

    `missing` is the requirement that no distribution was found for, where that was the cause.
    """

    def __init__(self, message: str, missing: str | None = None) -> None:
        super().__init__(message)
        self.missing = missing


class Pip:
    """A pip for this interpreter, which also serves other targets."""

    def __init__(self, target: Target, work: Path) -> None:
        """Refuses an interpreter for which no pip can be found."""
        self.target = target
        self.work = work
        self._import_from = _find_pip(work)

    def download(self, arguments: list[str], folder: Path) -> None:
        """Fetches wheels for the target; `arguments` are requirements and options of pip's."""
        platforms = [f"--platform={tag}" for tag in self.target.pip_platforms()]
        self._run(
            [
                "download",
                "--only-binary=:all:",
                *platforms,
                f"--python-version={self.target.python}",
                "--implementation=cp",
                f"--abi={self.target.tag}",
                f"--dest={folder}",
                *arguments,
            ],
            None if self.target.native else self.target.markers(),
        )

    def build(self, source: str, folder: Path) -> Path:
        """Builds one wheel, on this machine, from whatever pip takes; returns its path."""
        before = set(folder.glob("*.whl"))
        self._run(["wheel", "--no-deps", f"--wheel-dir={folder}", source], None)
        built = sorted(set(folder.glob("*.whl")) - before)
        if not built:
            raise PipError(f"building {source} gave no wheel")
        return built[0]

    def _run(self, arguments: list[str], markers: dict[str, str] | None) -> None:
        scratch = self.work / "tmp"
        scratch.mkdir(exist_ok=True)
        environment = os.environ | {
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_NO_COLOR": "1",
            "PYTHONWARNINGS": "ignore",
            "SOURCE_DATE_EPOCH": "315532800",
            "TMPDIR": str(scratch),
        }
        if not self._import_from.startswith(str(self.work)):
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        process = subprocess.run(
            [
                sys.executable,
                str(_SHIM),
                self._import_from,
                json.dumps(markers),
                *arguments,
                "--progress-bar=off",
            ],
            env=environment,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if process.returncode != 0:
            raise explain(process.stdout, process.stderr, self.target)


def _find_pip(work: Path) -> str:
    """A folder to import pip from, or an empty text where it can be imported as it is."""
    if util.find_spec("pip") is not None:
        return ""
    folder = work / "pip"
    if bundled := _bundled_pip():
        # A wheel can be imported from as it is, but each run would compile all of it.
        with zipfile.ZipFile(bundled) as archive:
            archive.extractall(folder)
        return str(folder)
    if found := shutil.which("pip") or shutil.which("pip3"):
        process = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        if match := re.search(r" from (.+)[/\\]pip \(python", process.stdout):
            return match.group(1)
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "--quiet", "--python", sys.executable]
        process = subprocess.run(
            [*command, "--target", str(folder), "pip"], capture_output=True, text=True, check=False
        )
        if process.returncode == 0:
            return str(folder)
    raise PackError(
        f"{sys.executable} has no pip, and neither pip nor uv is on PATH; install pip into it, "
        "as in `uv pip install pip`"
    )


def _bundled_pip() -> str | None:
    """The wheel of pip that Python itself brings; some Linux distributions leave it out."""
    spec = util.find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return None
    wheels = sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl"))
    return str(wheels[-1]) if wheels else None


def explain(stdout: str, stderr: str, target: Target) -> PipError:
    """Makes one line of pip's output."""
    said = stderr + "\n" + stdout
    # pip marks each of its own errors; what follows without mark belongs to the error before.
    text = re.sub(r"(?m)^(\s*)ERROR: ", r"\1", said)
    if any(mark in said for mark in _UNREACHABLE) and "(from versions: none)" in said:
        return PipError("the package index cannot be reached; look at the network and pip's config")
    for pattern, message in _EXPLANATIONS:
        if match := re.search(pattern, text, re.MULTILINE):
            what = "; ".join(line.strip() for line in match.group("what").splitlines())
            return PipError(message.format(what=what, target=target, **_more(match)))
    if match := re.search(r"requirement (?P<asked>[^\n]+?) \(from versions: (?P<there>.*)\)", text):
        return _not_found(match.group("asked"), match.group("there"), target)
    return PipError(f"pip failed: {_last_error(said)}")


_EXPLANATIONS = (
    (
        r"^The conflict is caused by:\n(?P<what>(?: +\S[^\n]*\n)+)",
        "the requirements contradict each other; change one of them: {what}",
    ),
    (
        r"NOT MATCH THE HASHES[\s\S]*?^\s+(?P<what>\S.*?)( from .*)?:\n[\s\S]*?Got +(?P<got>\w+)",
        "{what} has the sha256 {got}, which is none of those in the requirements",
    ),
    (
        r"Hashes are required in --require-hashes mode[^\n]*\n\s+(?P<what>\S+)",
        "some requirements have hashes, so all need one; it is missing from {what}",
    ),
    (
        r"must have their versions pinned with ==\. These do not:\n\s+(?P<what>\S+)",
        "some requirements have hashes, so all need a version with ==; {what} has none",
    ),
    (r"^(?P<what>\S+\.whl) is not a supported wheel", "{what} is not for {target}"),
    (
        r"^Package '(?P<what>[^']+)' requires a different Python: \S+ not in '(?P<want>[^']+)'",
        "{what} needs Python {want}, the target is {target}",
    ),
    (r"^Invalid requirement: (?P<what>[^\n]+)", "{what} is no requirement that pip understands"),
    (r"^Could not open requirements file: (?P<what>[^\n]+)", "requirements: {what}"),
)


def _more(match: re.Match[str]) -> dict[str, str]:
    return {key: value for key, value in match.groupdict().items() if key != "what"}


def _not_found(asked: str, there: str, target: Target) -> PipError:
    requirement = re.sub(r" \(from .*", "", asked)
    by = re.search(r"\(from ([^)]*)\)", asked)
    whose = f", which {by.group(1)} needs," if by and not by.group(1).startswith("-r ") else ""
    versions = [version for version in there.split(", ") if version != "none"]
    if versions:
        advice = f"there are wheels of {', '.join(versions[-5:])}"
    else:
        advice = "build one for it (`pip wheel`) and give its folder as PIP_FIND_LINKS"
    message = f"{requirement}{whose} has no wheel for {target}; {advice}"
    return PipError(message, requirement)


def _last_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(ERROR|error): ", line)]
    specific = [line for line in lines if re.match(r"(\w+\.)*\w+(Error|Exception): ", line)]
    chosen = (specific or errors or lines or ["it said nothing"])[-1]
    return re.sub(r"^(ERROR|error): ", "", chosen)[:300]
