"""The code artifact: what is packed, that it is the same every time, and what is refused."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys

import pytest

from lance_backfill.pack import folders
from lance_backfill.pack.code import pack_code
from lance_backfill.pack.errors import PackError
from lance_backfill.pack.target import parse_target
from pack.building import make_wheel, names_in, pack, refused, write_files

# The same on every version of Python: a change of this digest changes the digests of everybody.
GOLDEN = "57d7b6f1d9c57a338e1d8806ce9277982c3c00bccc01a562cf3501c84526e5fc"
THIS = {"platform": None, "python": None}
MAC = {"platform": "macos-arm64", "python": "3.13"}
LINUX = {"platform": "linux-x86_64", "python": "3.13"}
ELF = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\x00" + bytes(40)
MACH_ARM = b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01" + bytes(40)


def packed(tmp_path, entrypoint, source, target=THIS):
    notes = []
    artifact = pack_code(entrypoint, source, parse_target(target), tmp_path, notes)
    return artifact, notes


def refusal(tmp_path, entrypoint, source, target=THIS):
    with pytest.raises(PackError) as error:
        packed(tmp_path, entrypoint, source, target)
    return str(error.value)


@pytest.fixture
def project(tmp_path):
    return write_files(
        tmp_path / "project",
        {
            "text/__init__.py": "",
            "text/clean.py": "def normalize(x): return x\n",
            "text/words.txt": "a\n",
            "räume/é.py": "",
            "single.py": "",
        },
    )


def test_the_artifact_has_one_form(tmp_path, project):
    artifact, notes = packed(tmp_path, "text.clean:normalize", project)
    names = ["räume/é.py", "single.py", "text/__init__.py", "text/clean.py", "text/words.txt"]
    assert names_in(artifact.path) == names
    assert notes == []

    assert artifact.sha256 == GOLDEN
    assert artifact.size_bytes == artifact.path.stat().st_size
    assert artifact.sha256 == hashlib.sha256(artifact.path.read_bytes()).hexdigest()


def test_times_modes_and_rubbish_change_nothing(tmp_path, project):
    before, _ = packed(tmp_path, "text.clean:normalize", project)
    os.utime(project / "single.py", (1, 1))
    (project / "single.py").chmod(0o755)
    write_files(
        project,
        {
            ".git/HEAD": "x",
            ".env": "SECRET=1",
            "text/__pycache__/clean.cpython-311.pyc": "x",
            "text/old.pyc": "x",
            "text.egg-info/PKG-INFO": "x",
        },
    )
    after, notes = packed(tmp_path, "text.clean:normalize", project)
    assert after == before
    assert notes == []


def test_environments_and_build_outputs_are_left_out_and_said(tmp_path, project):
    write_files(
        project,
        {
            "venv/pyvenv.cfg": "",
            "venv/lib/x.py": "",
            "build/lib/x.py": "",
            "dist/__init__.py": "",
            "text/build/x.py": "",
        },
    )
    artifact, notes = packed(tmp_path, "text.clean:normalize", project)
    names = names_in(artifact.path)
    assert "dist/__init__.py" in names
    assert "text/build/x.py" in names
    assert not any(name.startswith(("venv", "build")) for name in names)
    assert notes == ["files packed: 7, 29 B; not packed: build/, venv/"]


def test_tables_and_their_state_are_left_out(tmp_path, project):
    before, _ = packed(tmp_path, "text.clean:normalize", project)
    write_files(
        project,
        {
            "photos.lance/_versions/1.manifest": "x",
            "photos.lance/_backfill/wheels/x.whl": "x",
            "empty.lance/data/1.lance": "x",
            "renamed/_versions/1.manifest": "x",
            "text/words/_versions/1.manifest": "x",
            "_backfill/wheels/x.whl": "x",
            "conda/conda-meta/history": "x",
        },
    )
    after, notes = packed(tmp_path, "text.clean:normalize", project)
    assert after == before
    left_out = "_backfill/, conda/, empty.lance/, photos.lance/, renamed/, text/words/"
    assert notes == [f"files packed: 5, 29 B; not packed: {left_out}"]


def test_a_package_may_be_named_like_state(tmp_path, project):
    files = {"_backfill/__init__.py": "", "a/__init__.py": "", "a/_versions/__init__.py": ""}
    artifact, _ = packed(tmp_path, "text.clean:normalize", write_files(project, files))
    assert set(files) <= set(names_in(artifact.path))


def test_much_code_is_told(tmp_path, project):
    write_files(project, {"words.bin": bytes(2 << 20)})
    _, notes = packed(tmp_path, "text.clean:normalize", project)
    assert notes == ["files packed: 6, 2 MiB"]


def test_a_module_in_src_makes_src_the_root(tmp_path):
    source = write_files(tmp_path / "p", {"src/a/b.py": "", "setup.py": ""})
    artifact, notes = packed(tmp_path, "a.b:f", source)
    assert names_in(artifact.path) == ["a/b.py"]
    assert notes == [f"a.b was found in {source}/src, which is packed in place of {source}"]


def test_a_file_becomes_its_module(tmp_path, project):
    artifact, _ = packed(tmp_path, "single:f", project / "single.py")
    assert names_in(artifact.path) == ["single.py"]
    assert "has the module single, not other; say single:f" in refusal(
        tmp_path, "other:f", project / "single.py"
    )


@pytest.mark.parametrize("entrypoint", ["text", "text:", ":f", "a:b.c", "a b:c", "1a:b", "a:b:c"])
def test_what_is_no_entry_point(tmp_path, project, entrypoint):
    assert "is no entry point; give MODULE:NAME" in refusal(tmp_path, entrypoint, project)


def test_missing_modules_and_paths(tmp_path, project):
    assert "has no module txt, but single, text; say which" in refusal(tmp_path, "txt:f", project)
    assert "but text.clean; say which one has f" in refusal(tmp_path, "text.cleen:f", project)
    assert "does not exist" in refusal(tmp_path, "text:f", tmp_path / "nowhere")
    assert "neither a folder" in refusal(tmp_path, "text:f", project / "text/words.txt")
    (tmp_path / "empty").mkdir()
    assert "has no Python module" in refusal(tmp_path, "text:f", tmp_path / "empty")


def test_links(tmp_path, project):
    (project / "inside.py").symlink_to(project / "single.py")
    (project / "again").symlink_to(project / "text")
    artifact, _ = packed(tmp_path, "inside:f", project)
    assert {"inside.py", "again/clean.py"} <= set(names_in(artifact.path))
    (project / "text/up").symlink_to(project)
    assert "links to a folder that holds it" in refusal(tmp_path, "inside:f", project)
    (project / "text/up").unlink()
    (project / "text/out.txt").symlink_to(tmp_path)
    assert "outside of" in refusal(tmp_path, "inside:f", project)
    (project / "text/out.txt").unlink()
    (project / "out.py").symlink_to(__file__)
    assert "outside of" in refusal(tmp_path, "inside:f", project)


def test_links_that_are_no_code_are_skipped_and_said(tmp_path, project):
    before, _ = packed(tmp_path, "single:f", project)
    (project / "out.txt").symlink_to(tmp_path)
    (project / "gone.py").symlink_to(project / "nothing")
    (project / "text/gone.txt").symlink_to(project / "nothing")
    after, notes = packed(tmp_path, "single:f", project)
    assert after == before
    warning = "warning: not packed, as these links lead nowhere or out of the folder: "
    assert notes == ["files packed: 5, 29 B", warning + "gone.py, out.txt, text/gone.txt"]


def test_too_large(tmp_path, project, monkeypatch):
    monkeypatch.setattr(folders, "MAX_CODE_BYTES", 3000)
    write_files(project, {"big.bin": bytes(2048), "small.bin": bytes(1024)})
    error = refusal(tmp_path, "single:f", project)
    assert "holds 3 KiB to pack, at most 3 KiB are allowed" in error
    assert "big.bin (2 KiB), small.bin (1 KiB)" in error


def test_native_code_of_another_platform(tmp_path, project):
    write_files(project, {"fast.cpython-313-x86_64-linux-gnu.so": ELF})
    artifact, _ = packed(tmp_path, "fast:f", project, LINUX)
    assert "fast.cpython-313-x86_64-linux-gnu.so" in names_in(artifact.path)
    assert "fast.cpython-313-x86_64-linux-gnu.so is for linux-x86_64, the target is macos" in (
        refusal(tmp_path, "fast:f", project, MAC)
    )
    older = {**LINUX, "python": "3.12"}
    assert "is for Python 3.13, the target is" in refusal(tmp_path, "fast:f", project, older)
    write_files(project, {"fast.cpython-313-darwin.so": MACH_ARM})
    packed(tmp_path, "fast:f", project, MAC)


def test_a_wheel_is_unpacked(tmp_path):
    wheel = make_wheel(
        tmp_path,
        "thing",
        files={
            "thing/__init__.py": "",
            "thing-1.0.data/purelib/thing/pure.py": "",
            "thing-1.0.data/platlib/thing/plat.py": "",
            "thing-1.0.data/scripts/run": "#!python\n",
        },
        requires=("numpy>=1", 'black; extra == "dev"'),
    )
    artifact, notes = packed(tmp_path, "thing.pure:f", wheel)
    names = [name for name in names_in(artifact.path) if "dist-info" not in name]
    assert names == ["thing/__init__.py", "thing/plat.py", "thing/pure.py"]
    assert notes == [
        f"1 scripts, headers and data files of {wheel.name} are not packed",
        f"{wheel.name} requires numpy>=1; the environment must bring them",
    ]
    assert "has no module thing.pour, but" in refusal(tmp_path, "thing.pour:f", wheel)


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("cp313-cp313-macosx_11_0_arm64", "for macOS arm64, the target is linux-x86_64 with Py"),
        ("cp313-cp313-win_amd64", "for Windows amd64, the target"),
        ("cp313-cp313-manylinux_2_17_aarch64.manylinux2014_aarch64", "glibc 2.17 or Linux aarch64"),
        ("cp313-cp313-manylinux_2_39_x86_64", "for Linux x86_64 with glibc 2.39, the target"),
        ("cp313-cp313-musllinux_1_2_x86_64", "for Linux x86_64 with musl, the target"),
        ("cp311-cp311-manylinux_2_17_x86_64", "for CPython 3.11, the target is linux-x86_64 with"),
        ("cp313-cp313t-manylinux_2_17_x86_64", "for CPython 3.13 free-threaded, the target"),
        ("cp314-abi3-manylinux_2_17_x86_64", "for CPython 3.14, the target"),
        ("py2-none-any", "for Python 2, the target"),
    ],
)
def test_a_wheel_for_something_else(tmp_path, tag, reason):
    wheel = make_wheel(tmp_path, "thing", tag=tag)
    error = refusal(tmp_path, "thing:f", wheel, LINUX)
    assert error.startswith(f"{wheel.name} is for ")
    assert reason in error


@pytest.mark.parametrize(
    "tag",
    [
        "cp313-cp313-manylinux2014_x86_64",
        "cp39-abi3-manylinux_2_34_x86_64",
        "cp312-none-any",
        "py2.py3-none-any",
        "cp313-cp313-linux_x86_64",
    ],
)
def test_a_wheel_that_fits(tmp_path, tag):
    packed(tmp_path, "thing:f", make_wheel(tmp_path, "thing", tag=tag), LINUX)


def test_what_is_no_wheel(tmp_path):
    (tmp_path / "thing.whl").write_text("")
    assert "not named as a wheel" in refusal(tmp_path, "thing:f", tmp_path / "thing.whl")
    (tmp_path / "thing-1-py3-none-any.whl").write_text("")
    assert "cannot be read" in refusal(tmp_path, "thing:f", tmp_path / "thing-1-py3-none-any.whl")
    wheel = make_wheel(
        tmp_path, "lib", tag="py3-none-any", files={"lib.so": MACH_ARM, "lib.py": ""}
    )
    assert "lib.so in lib-1.0" in refusal(tmp_path, "lib:f", wheel, LINUX)


def test_the_program_reads_a_request_and_answers(tmp_path, project):
    answer = pack(tmp_path / "work", "text.clean:normalize", project)
    assert answer["artifact"]["sha256"] == GOLDEN
    assert answer["wheels"] == []
    assert answer["environment"]["kind"] == "current"
    assert answer["environment"]["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert "no module txt" in refused(pack(tmp_path / "other", "txt:f", project))
    assert not list(tmp_path.glob("other/*"))
    shutil.rmtree(tmp_path / "work")
