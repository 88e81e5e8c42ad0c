"""Tables that pylance writes, and the binary that computes their columns."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lance
import pyarrow as pa
import pytest

import lance_backfill

sys.path.insert(0, str(Path(__file__).parent / "functions"))

TEXTS = ["one two", None, "three", "fails", "four five six", ""]


def built_binary() -> Path:
    named = os.environ.get("LANCE_BACKFILL_BINARY")
    if named:
        return Path(named)
    target = os.environ.get("CARGO_TARGET_DIR", Path.home() / ".cache/lance-backfill/target")
    return Path(target) / "release/lance-backfill"


@pytest.fixture(scope="session")
def binary():
    path = built_binary()
    if not path.is_file():
        pytest.skip("the binary is not built: cargo build --release")
    return path


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Unpacked functions and locks of these tests; the package is unpacked once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def open_table(binary, cache, tmp_path):
    """Writes a table and opens it."""

    def make(data, **options):
        uri = tmp_path / "table.lance"
        lance.write_dataset(pa.table(data), uri, **options)
        return lance_backfill.table(uri, binary=binary, cache=cache)

    return make


@pytest.fixture
def texts(open_table):
    return open_table({"at": list(range(len(TEXTS))), "text": TEXTS})


def values(table, column):
    return lance.dataset(table.uri).to_table(columns=[column])[column].to_pylist()
