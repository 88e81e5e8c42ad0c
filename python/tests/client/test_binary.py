"""How the binary is found, and what is passed to it."""

import json
import logging
import sys
import sysconfig
from pathlib import Path

import pytest

import lance_backfill
from lance_backfill import BackfillError, BadInput
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
    assert options_of_process("c", "s3://lake/b", 2, Path("d"), "e") == (
        "--branch=c",
        "--service=s3://lake/b",
        "--workers=2",
        "--interpreter=d",
        "--cache=e",
    )
    monkeypatch.setenv("LANCE_BACKFILL_PYTHON", "python3.13")
    assert options_of_process(None, None, None, None, None) == ()


def test_options():
    assert options(a=None, b=False, c_d=True, e=0, f="") == ["--c-d", "--e=0", "--f="]


@pytest.fixture
def echo(tmp_path):
    """A program that answers with its arguments and its storage options."""
    path = tmp_path / "echo"
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, os, sys\n"
        "storage = os.environ.get('LANCE_BACKFILL_STORAGE_OPTIONS')\n"
        "print(json.dumps({'arguments': sys.argv, 'storage': storage}))\n"
    )
    path.chmod(0o755)
    return path


def test_storage_options_are_in_the_environment_alone(monkeypatch, echo):
    monkeypatch.setenv(
        "LANCE_BACKFILL_STORAGE_OPTIONS", '{"aws_region": "old", "aws_endpoint": "e"}'
    )
    given = {"aws_region": "new", "aws_secret_access_key": "hidden=1"}
    table = lance_backfill.table("t", binary=echo, storage_options=given)
    answer = table.status()
    assert json.loads(answer["storage"]) == {**given, "aws_endpoint": "e"}
    assert "hidden" not in str(answer["arguments"])
    assert "hidden" not in repr(vars(table))
    plain = lance_backfill.table("t", binary=echo).status()
    assert json.loads(plain["storage"]) == {"aws_region": "old", "aws_endpoint": "e"}


def test_storage_options_around_that_are_none(monkeypatch, echo):
    monkeypatch.setenv("LANCE_BACKFILL_STORAGE_OPTIONS", "hidden")
    table = lance_backfill.table("t", binary=echo, storage_options={"a": "b"})
    with pytest.raises(BadInput, match="STORAGE_OPTIONS is not a JSON object of str") as error:
        table.status()
    assert "hidden" not in str(error.value)


def test_warnings_are_logged_as_such(caplog, tmp_path):
    path = tmp_path / "noting"
    path.write_text("#!/bin/sh\necho 'warning: a' >&2\necho 'b' >&2\necho '{}'\n")
    path.chmod(0o755)
    with caplog.at_level(logging.INFO, "lance_backfill"):
        lance_backfill.table("t", binary=path).status()
    logged = [(record.levelno, record.message) for record in caplog.records]
    assert logged == [(logging.WARNING, "a"), (logging.INFO, "b")]
