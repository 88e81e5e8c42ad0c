"""What is packed for a live function: its folder, its package alone, or its source."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

from lance_backfill.pack import for_function
from lance_backfill.pack.errors import PackError
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


def test_a_module_of_a_folder(load, tmp_path):
    root = write_files(
        tmp_path / "root",
        {"ours_a/__init__.py": "def top(x): return x\n", "ours_a/b/c.py": "def f(x): return x\n"},
    )
    assert for_function(load(root, "ours_a.b.c").f) == ("ours_a.b.c:f", root)
    assert for_function(load(root, "ours_a").top) == ("ours_a:top", root)
    single = write_files(tmp_path / "single", {"ours_single.py": "class F:\n    pass\n"})
    assert for_function(load(single, "ours_single").F) == ("ours_single:F", single)


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
    answer = pack(tmp_path / "work", entrypoint, importlib.import_module("pathlib").Path(path))
    assert names_in(answer["artifact"]["path"]) == ["packed_Add.py"]
    command = [sys.executable, "-c", "from packed_Add import Add; print(Add()(1))"]
    folder = path.rpartition("/")[0]
    again = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == str(value)
