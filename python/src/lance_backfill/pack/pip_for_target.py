"""Runs pip, with the markers of requirements judged for the target.

Its arguments are a folder to import pip from, or an empty text; a JSON object of the
variables of PEP 508, or `null`; and pip's.  pip itself judges markers for the interpreter that
runs it, whatever `--platform` and `--python-version` say, and would leave out what only the target
needs.
"""

import sys

if __name__ == "__main__":
    del sys.path[0]
    if sys.argv[1]:
        sys.path.insert(0, sys.argv[1])

    import importlib
    import json
    from typing import Any

    variables = json.loads(sys.argv[2])
    if variables is not None:
        markers: Any = importlib.import_module("pip._vendor.packaging.markers")
        if not hasattr(markers, "default_environment"):
            sys.exit("ERROR: this pip cannot judge markers for another target")
        markers.default_environment = lambda: dict(variables)
    sys.argv[1:] = sys.argv[3:]
    sys.exit(importlib.import_module("pip._internal.cli.main").main())
