from __future__ import annotations

import pytest

from pack.building import make_wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that pip takes for all that there is; pyarrow is a stand-in."""
    folder = tmp_path / "index"
    make_wheel(folder, "pyarrow", "99.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder
