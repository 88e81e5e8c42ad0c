"""Starts unpacking: `PYTHON -I -S unpack_main.py WHEELS SITE`, or `... --zip FILE FOLDER`.

What it writes and refuses is described in `lance_backfill.pack.unpack`.
"""

import sys

sys.dont_write_bytecode = True

# The folder of this file must not be searched: its modules would hide the standard library's.
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

from importlib import machinery, util  # noqa: E402
from pathlib import Path  # noqa: E402

_package = Path(__file__).absolute().parent
sys.path.insert(0, str(_package.parent))

# A package without its `__init__`, which needs pyarrow: it runs before there is one.
_spec = machinery.ModuleSpec("lance_backfill", None, is_package=True)
_spec.submodule_search_locations = [str(_package)]
sys.modules["lance_backfill"] = util.module_from_spec(_spec)

from lance_backfill.pack.unpack import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
