"""Unpacking wheels into one folder, and artifacts."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile

import pytest

from lance_backfill.pack.files import write_zip
from pack.building import PACKAGE, make_wheel


def unpack(*arguments):
    """Unpacks as a worker does, by an interpreter without its packages."""
    command = [sys.executable, "-I", "-S", str(PACKAGE / "unpack_main.py"), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.stdout == ""
    if process.returncode == 0:
        return None
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1, process.stderr
    return process.stderr


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_wheels_are_merged(tmp_path):
    make_wheel(
        tmp_path / "wheels",
        "one-thing",
        files={
            "one/__init__.py": "x = 1",
            "one_thing-1.0.data/purelib/one/pure.py": "",
            "one_thing-1.0.data/platlib/one/plat.py": "",
            "one_thing-1.0.data/scripts/run": "#!python -x\nprint(1)\n",
            "one_thing-1.0.data/scripts/plain": "#!/bin/sh\n",
            "one_thing-1.0.data/headers/one.h": "",
            "one_thing-1.0.data/data/share/one.txt": "",
        },
    )
    make_wheel(tmp_path / "wheels", "two", files={"two/deep/er.py": "", "one/plugin.py": ""})
    site = tmp_path / "site"
    assert unpack(tmp_path / "wheels", site) is None
    assert [name for name in files_of(site) if "dist-info" not in name] == [
        "bin/plain",
        "bin/run",
        "include/one-thing/one.h",
        "one/__init__.py",
        "one/plat.py",
        "one/plugin.py",
        "one/pure.py",
        "share/one.txt",
        "two/deep/er.py",
    ]
    assert (site / "bin/run").read_text() == f"#!{sys.executable}\nprint(1)\n"
    assert (site / "bin/plain").read_text() == "#!/bin/sh\n"
    assert os.access(site / "bin/run", os.X_OK)
    assert not os.access(site / "one/pure.py", os.X_OK)
    assert len(list(site.glob("*.dist-info"))) == 2


def test_two_wheels_with_one_file(tmp_path):
    wheels = tmp_path / "wheels"
    make_wheel(wheels, "a", files={"shared.py": "same", "ns/__init__.py": "# nothing\n"})
    make_wheel(wheels, "b", files={"shared.py": "same", "ns/__init__.py": ""})
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    make_wheel(wheels, "c", files={"ns/__init__.py": extend})
    assert unpack(wheels, tmp_path / "site") is None
    make_wheel(wheels, "d", files={"shared.py": "other"})
    error = unpack(wheels, tmp_path / "site2")
    assert "a-1.0-py3-none-any.whl and d-1.0-py3-none-any.whl both bring shared.py" in error
    (wheels / "d-1.0-py3-none-any.whl").unlink()
    make_wheel(wheels, "e", files={"ns/__init__.py": "x = 1\n"})
    assert "both bring ns/__init__.py" in unpack(wheels, tmp_path / "site3")


@pytest.mark.parametrize("name", ["../x.py", "/x.py", "a/../../x.py", "a\\..\\x.py", "C:/x.py"])
def test_names_that_lead_out(tmp_path, name):
    make_wheel(tmp_path / "wheels", "a", files={name: ""})
    assert "leads out of the folder" in unpack(tmp_path / "wheels", tmp_path / "site")
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr(name, "")
    assert "leads out of the folder" in unpack("--zip", tmp_path / "code.zip", tmp_path / "code")
    assert not list(tmp_path.glob("*.py"))


def test_links_and_duplicates_in_archives(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr(link, "/etc")
    assert "links are not unpacked" in unpack("--zip", tmp_path / "code.zip", tmp_path / "code")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr("a.py", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.py", "2")
    assert "twice" in unpack("--zip", tmp_path / "twice.zip", tmp_path / "twice")


def test_an_artifact_comes_back(tmp_path):
    write_zip(tmp_path / "code.zip", {"a/b.py": b"x = 1", "c.py": b"", "\u00e4.txt": b"2"})
    assert unpack("--zip", tmp_path / "code.zip", tmp_path / "code") is None
    assert files_of(tmp_path / "code") == ["a/b.py", "c.py", "\u00e4.txt"]
    assert (tmp_path / "code/a/b.py").read_text() == "x = 1"


def test_bad_input(tmp_path):
    assert "give WHEELS SITE" in unpack(tmp_path)
    assert "is not a folder of wheels" in unpack(tmp_path / "nothing", tmp_path / "site")
    (tmp_path / "bad.zip").write_text("no archive")
    assert "cannot be read as an archive" in unpack("--zip", tmp_path / "bad.zip", tmp_path / "x")
    wheel = make_wheel(tmp_path / "wheels", "a", files={"a.py": "x" * 10_000})
    content = bytearray(wheel.read_bytes())
    content[45] ^= 0xFF
    wheel.write_bytes(content)
    assert unpack(tmp_path / "wheels", tmp_path / "site") is not None
