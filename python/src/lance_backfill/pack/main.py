"""Reads a request, packs, and answers with one JSON document.

A request:

    {"entrypoint": "module:name",
     "from": PATH of a directory, a .py file or a wheel,
     "environment": {"kind": "current"} or {"kind": "requirements", "file": PATH}
                    or {"kind": "capture"} or {"kind": "image", "image": "NAME@sha256:..."},
     "target": {"platform": "linux-x86_64" or null, "python": "3.13" or null},
     "work": PATH of an existing folder for all that is written}

The answer:

    {"ok": true,
     "artifact": {"sha256", "size_bytes", "path"},
     "environment": {"sha256", "size_bytes", "path", "kind", "python", "platform"},
     "wheels": [{"sha256", "size_bytes", "path", "filename"}],
     "notes": [TEXT]}

or `{"ok": false, "error": TEXT}` and exit code 2.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from .code import pack_code
from .environment import pack_environment
from .errors import PackError
from .target import parse_target


def main(arguments: list[str]) -> int:
    """Prints the answer on what stdout was; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        answer = pack(_read_request(arguments))
        code = 0
    except PackError as error:
        answer, code = {"ok": False, "error": str(error)}, 2
    except OSError as error:
        answer, code = {"ok": False, "error": f"packing failed: {_one_line(error)}"}, 2
    except Exception as error:
        traceback.print_exc()
        answer, code = {"ok": False, "error": f"packing failed: {_one_line(error)}"}, 2
    with answers:
        json.dump(answer, answers)
        answers.write("\n")
    return code


def pack(request: dict[str, Any]) -> dict[str, Any]:
    """Does what the request says and returns the answer; errors are `PackError`."""
    work = Path(_text(request, "work")).absolute()
    if not work.is_dir():
        raise PackError(f"the work folder {work} does not exist")
    target = parse_target(request.get("target", {}))
    environment = request.get("environment")
    if not isinstance(environment, dict):
        raise PackError("the request's environment is not an object with a kind")
    notes: list[str] = []
    artifact = pack_code(
        _text(request, "entrypoint"), Path(_text(request, "from")), target, work, notes
    )
    packed = pack_environment(environment, target, work, notes)
    return {
        "ok": True,
        "artifact": artifact.as_json(),
        "environment": {
            **packed.lock_file.as_json(),
            "kind": packed.lock["kind"],
            "python": target.python,
            "platform": target.platform,
        },
        "wheels": [{**wheel.as_json(), "filename": wheel.path.name} for wheel in packed.wheels],
        "notes": notes,
    }


def _read_request(arguments: list[str]) -> dict[str, Any]:
    if len(arguments) != 1:
        raise PackError("give one argument: the file with the request")
    try:
        request = json.loads(Path(arguments[0]).read_bytes())
    except (OSError, ValueError) as error:
        raise PackError(f"the request {arguments[0]} cannot be read: {error}") from None
    if not isinstance(request, dict):
        raise PackError("the request is not a JSON object")
    return request


def _text(request: dict[str, Any], key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not value:
        raise PackError(f"the request's {key} is not a text")
    return value


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
