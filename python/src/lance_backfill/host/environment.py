"""The process as the function finds it: variables, and where modules come from."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lance_backfill.host.device import share_variables

if TYPE_CHECKING:
    from lance_backfill.host.frames import Header


def prepare_environment(start: Header) -> None:
    """Puts secrets and variables into the environment, and folders on the search path.

    The function's code comes first, as the folder of a script does, then the standard library, the
    unpacked environment, and this package last, of which everything is known already.
    """
    os.environ.update(start.get("env") or {})
    os.environ.update(start.get("secrets") or {})
    share_variables()
    package = sys.path.pop(0)
    if start.get("code") is not None:
        sys.path.insert(0, start["code"])
    site = start.get("site")
    if site is not None:
        _add_site(site)
    sys.path.append(package)
    sys.argv = [start["entrypoint"]]


def _add_site(folder: str) -> None:
    # Reading .pth files means importing `site`, which few environments need.
    if any(Path(folder).glob("*.pth")):
        import site

        site.addsitedir(folder)
    else:
        sys.path.append(folder)
