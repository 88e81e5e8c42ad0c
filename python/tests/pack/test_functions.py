"""What is packed for a live function: its folder, its package alone, or its source."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lance_backfill.pack import folders, for_function
from lance_backfill.pack.errors import PackError
from lance_backfill.pack.functions import entrypoint_of
from pack.building import PACKAGE, names_in, pack, write_files


@pytest.fixture
def load(monkeypatch):
    loaded = []

    def load(folder, name):
        monkeypatch.syspath_prepend(folder)
        loaded.append(name)
        return importlib.import_module(name)

    yield load
    for name in list(sys.modules):
        if name.partition(".")[0] in {one.partition(".")[0] for one in loaded}:
            del sys.modules[name]


def packed_names(function, work):
    """What is packed for a function, and what is told."""
    work.mkdir()
    notes = []
    _, root = for_function(function, work, notes)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return names, notes


def test_a_module_of_a_folder(load, tmp_path):
    root = write_files(
        tmp_path / "root",
        {"ours_a/__init__.py": "def top(x): return x\n", "ours_a/b/c.py": "def f(x): return x\n"},
    )
    module = load(root, "ours_a.b.c")
    assert for_function(module.f)[0] == "ours_a.b.c:f"
    assert for_function(load(root, "ours_a").top)[0] == "ours_a:top"
    assert packed_names(module.f, tmp_path / "work") == (
        ["ours_a/__init__.py", "ours_a/b/c.py"],
        [],
    )
    single = write_files(tmp_path / "single", {"ours_single.py": "class F:\n    pass\n"})
    found = load(single, "ours_single").F
    assert for_function(found)[0] == "ours_single:F"
    assert packed_names(found, tmp_path / "other") == (["ours_single.py"], [])


def test_only_code_of_the_folder_is_packed(load, tmp_path):
    code = {
        "ours_code.py": "def f(x): return x\n",
        "more/deep/util.py": "",
        "ours_package/__init__.py": "",
        "ours_package/words.txt": "a\n",
        "ours_package/data/model.bin": "m",
    }
    root = write_files(tmp_path / "root", code)
    function = load(root, "ours_code").f
    assert packed_names(function, tmp_path / "before") == (sorted(code), [])
    write_files(
        root,
        {
            "id_rsa": "x",
            ".env": "x",
            "more/data.csv": "x",
            "ours_package/.env": "x",
            "ours_package/__pycache__/x.pyc": "x",
            "photos.lance/_versions/1.manifest": "x",
            "photos.lance/_backfill/code.py": "x",
            "venv/pyvenv.cfg": "x",
            "venv/lib/x.py": "x",
        },
    )
    (root / "gone.txt").symlink_to(root / "nothing")
    (root / "elsewhere").symlink_to(tmp_path)
    (root / "more/again").symlink_to(root)
    names, notes = packed_names(function, tmp_path / "after")
    assert names == sorted(code)
    left_out = "elsewhere, gone.txt, id_rsa, more/again, more/data.csv, photos.lance/, venv/"
    assert notes == [f"files packed: 5, 22 B; not packed: {left_out}"]


@pytest.mark.parametrize("name", ["link.py", "ours_package/link.txt", "linked_package"])
@pytest.mark.parametrize("to", ["nothing", "outside"])
def test_code_that_is_a_link_is_refused(load, tmp_path, name, to):
    write_files(tmp_path / "outside", {"__init__.py": ""})
    code = {"ours_link.py": "def f(x): return x\n", "ours_package/__init__.py": ""}
    root = write_files(tmp_path / "root", code)
    (root / name).symlink_to(tmp_path / to)
    if (name, to) == ("linked_package", "nothing"):
        assert packed_names(load(root, "ours_link").f, tmp_path / "work")[0] == sorted(code)
        return
    with pytest.raises(PackError, match=r"leads nowhere|outside of"):
        for_function(load(root, "ours_link").f)


def test_data_that_the_code_names_is_missed(load, tmp_path):
    text = "def f(x): return open('data/words.txt'), 'other.lance'\n"
    files = {"ours_d.py": text, "data/words.txt": "", "a": "", "other.lance/data/x": ""}
    root = write_files(tmp_path / "root", files)
    _, notes = packed_names(load(root, "ours_d").f, tmp_path / "work")
    first, warning = notes
    assert first == "files packed: 1, 55 B; not packed: a, data/words.txt, other.lance/"
    assert warning.startswith("warning: the code names data/words.txt, and only code is packed; ")


def test_a_folder_that_cannot_be_read_is_left_out(load, tmp_path, monkeypatch):
    root = write_files(tmp_path / "root", {"ours_r.py": "def f(x): return x\n", "shut/x.py": ""})
    iterdir = Path.iterdir

    def refusing(path):
        if path.name == "shut":
            raise PermissionError
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refusing)
    names, notes = packed_names(load(root, "ours_r").f, tmp_path / "work")
    assert names == ["ours_r.py"]
    assert notes == ["files packed: 1, 19 B; not packed: shut/"]


def test_too_much_code_is_refused_by_its_own_folder(load, tmp_path, monkeypatch):
    text = "def f(x): return x\n"
    root = write_files(tmp_path / "root", {"ours_big/__init__.py": text, "ours_big/m": bytes(2048)})
    monkeypatch.setattr(folders, "MAX_CODE_BYTES", 1024)
    with pytest.raises(PackError, match=f"{root} holds 2 KiB to pack, .*: ours_big/m"):
        for_function(load(root, "ours_big").f)


def test_the_folder_is_named_by_somebody_else(load, tmp_path):
    root = write_files(tmp_path / "root", {"ours_n.py": "def f(x): return x\n"})
    assert entrypoint_of(load(root, "ours_n").f) == "ours_n:f"
    with pytest.raises(PackError, match="packed as source, without any folder; define it in a mod"):
        entrypoint_of(lambda x: x)


def test_an_installed_module_is_packed_alone(tmp_path):
    entrypoint, root = for_function(importlib.import_module("packaging.version").parse, tmp_path)
    assert entrypoint == "packaging.version:parse"
    assert [path.name for path in root.iterdir()] == ["packaging"]
    answer = pack(tmp_path / "work", entrypoint, root)
    assert "packaging/version.py" in names_in(answer["artifact"]["path"])


def test_what_has_no_name_in_its_module(load, tmp_path):
    text = "class A:\n    def f(self): pass\ndef g(x): return x\nh = g\ndel g\n"
    module = load(write_files(tmp_path / "root", {"ours_names.py": text}), "ours_names")
    with pytest.raises(PackError, match=r"A\.f is not a global name of ours_names"):
        for_function(module.A.f)
    with pytest.raises(PackError, match="g is not a global name of ours_names"):
        for_function(module.h)
    with pytest.raises(PackError, match="is no function or class"):
        for_function(3)


SCRIPT = """
import json, sys
sys.path.insert(0, {source!r})
from lance_backfill.pack import for_function
OFFSET = 5
class Base:
    offset = OFFSET
class Add(Base):
    def __call__(self, x):
        return x + self.offset
if __name__ == "__main__":
    entrypoint, path = for_function(Add)
    print(json.dumps([entrypoint, str(path), Add()(1)]))
"""


def test_a_script_is_packed_as_source(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(source=str(PACKAGE.parent)))
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    entrypoint, path, value = json.loads(ran.stdout)
    assert entrypoint == "packed_Add:Add"
    answer = pack(tmp_path / "work", entrypoint, Path(path))
    assert names_in(answer["artifact"]["path"]) == ["packed_Add.py"]
    command = [sys.executable, "-c", "from packed_Add import Add; print(Add()(1))"]
    folder = path.rpartition("/")[0]
    again = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == str(value)
