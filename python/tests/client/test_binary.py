"""How the binary is found, and what is passed to it."""

import sys
import sysconfig
from pathlib import Path

import pytest

import lance_backfill
from lance_backfill import BackfillError
from lance_backfill.client.binary import find_binary, options, options_of_process


@pytest.fixture
def nothing(monkeypatch, tmp_path):
    """A machine without the binary."""
    monkeypatch.delenv("LANCE_BACKFILL_BINARY", raising=False)
    monkeypatch.delenv("LANCE_BACKFILL_PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    scripts = tmp_path / "scripts"
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(scripts))


def program(folder):
    folder.mkdir(exist_ok=True)
    path = folder / "lance-backfill"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.usefixtures("nothing")
def test_order_in_which_it_is_looked_for(monkeypatch, tmp_path):
    with pytest.raises(BackfillError, match="there is no program lance-backfill: install"):
        find_binary()
    on_path = program(tmp_path / "path")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert find_binary() == on_path
    beside = program(tmp_path / "scripts")
    assert find_binary() == beside
    named = program(tmp_path / "named")
    monkeypatch.setenv("LANCE_BACKFILL_BINARY", named)
    assert find_binary() == named
    given = program(tmp_path / "given")
    assert find_binary(Path(given)) == given


@pytest.mark.usefixtures("nothing")
def test_a_named_one_that_is_missing_is_told(monkeypatch, tmp_path):
    program(tmp_path / "scripts")
    with pytest.raises(BackfillError, match=r"binary= names '.*gone', which is no program"):
        lance_backfill.table("t", binary=tmp_path / "gone")
    monkeypatch.setenv("LANCE_BACKFILL_BINARY", "gone")
    with pytest.raises(BackfillError, match="LANCE_BACKFILL_BINARY names 'gone'"):
        find_binary()


def test_interpreter(monkeypatch):
    monkeypatch.delenv("LANCE_BACKFILL_PYTHON", raising=False)
    assert options_of_process(None, None, None, None, None) == (f"--interpreter={sys.executable}",)
    assert options_of_process({"a": "b"}, "c", 2, Path("d"), "e") == (
        "--storage-option=a=b",
        "--branch=c",
        "--workers=2",
        "--interpreter=d",
        "--cache=e",
    )
    monkeypatch.setenv("LANCE_BACKFILL_PYTHON", "python3.13")
    assert options_of_process(None, None, None, None, None) == ()


def test_options():
    assert options(a=None, b=False, c_d=True, e=0, f="") == ["--c-d", "--e=0", "--f="]
