"""Locks and wheels of the kinds of environments; pip sees a folder of small wheels only."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from lance_backfill.pack.requirements import RequirementsReader
from pack.building import make_package, make_wheel, pack, pack_request, refused, write_files

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
AARCH64 = {"platform": "linux-aarch64", "python": "3.13"}


@pytest.fixture
def project(tmp_path):
    return write_files(tmp_path / "project", {"mod.py": "def f(x): return x\n"})


@pytest.fixture
def require(tmp_path, project, index):
    """Packs with the text of a requirements file; pyarrow is in it unless said otherwise."""
    count = iter(range(100))

    def packed(text, *, pyarrow=True, **target):
        number = next(count)
        file = tmp_path / "requirements.txt"
        file.write_text(text + ("\npyarrow" if pyarrow else ""))
        environment = {"kind": "requirements", "file": str(file)}
        return pack(tmp_path / f"work{number}", "mod:f", project, environment, **target)

    return packed


def lock_of(answer):
    assert answer["ok"], answer
    content = Path(answer["environment"]["path"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == answer["environment"]["sha256"]
    lock = json.loads(content)
    text = json.dumps(lock, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert content == text.encode()
    assert lock["version"] == 1
    return lock


def distributions(answer):
    lock = lock_of(answer)
    assert lock["kind"] == answer["environment"]["kind"] == "wheels"
    for locked, wheel in zip(lock["distributions"], answer["wheels"], strict=True):
        content = Path(wheel["path"]).read_bytes()
        assert locked["filename"] == wheel["filename"] == Path(wheel["path"]).name
        assert locked["sha256"] == wheel["sha256"] == hashlib.sha256(content).hexdigest()
        assert locked["size_bytes"] == wheel["size_bytes"] == len(content)
    return [f"{one['name']} {one['version']}" for one in lock["distributions"]]


def test_current(tmp_path, project, monkeypatch):
    answer = pack(tmp_path / "work", "mod:f", project)
    assert lock_of(answer) == {
        "version": 1,
        "kind": "current",
        "python": PYTHON,
        "platform": answer["environment"]["platform"],
        "executable": sys.executable,
        "python_full": platform.python_version(),
        "prefix": sys.prefix,
    }
    # Another package that can be found makes no other environment.
    write_files(tmp_path / "more", {"x-1.dist-info/METADATA": "Name: x\nVersion: 1\n"})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))
    again = pack(tmp_path / "again", "mod:f", project)
    assert again["environment"]["sha256"] == answer["environment"]["sha256"]


def test_current_is_for_this_machine(tmp_path, project):
    answer = pack(tmp_path / "work", "mod:f", project, platform="macos-arm64", python="3.13")
    assert "the target is macos-arm64 with Python 3.13; choose a requirements" in refused(answer)


def test_image(tmp_path, project):
    name = "registry.example/cuda:12@sha256:" + "0a" * 32
    answer = pack(tmp_path / "a", "mod:f", project, {"kind": "image", "image": name}, **AARCH64)
    assert lock_of(answer) == {
        "version": 1,
        "kind": "image",
        "image": name,
        "python": "3.13",
        "platform": "linux-aarch64",
    }
    for number, bad in enumerate(["cuda:12", "cuda@sha256:12", "@sha256:" + "0" * 64]):
        answer = pack(tmp_path / f"b{number}", "mod:f", project, {"kind": "image", "image": bad})
        assert "has no digest" in refused(answer)


def test_bad_requests(tmp_path, project):
    def error(**changes):
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        request = {
            "entrypoint": "mod:f",
            "from": str(project),
            "environment": {"kind": "current"},
            "target": {"platform": None, "python": None},
            "work": str(work),
        }
        return refused(pack_request(tmp_path / "request.json", request | changes))

    assert "no kind of environment" in error(environment={"kind": "conda"})
    assert "environment is not" in error(environment=None)
    assert "names no requirements file" in error(environment={"kind": "requirements"})
    assert "no target platform" in error(target={"platform": "amiga"})
    assert "no version of Python" in error(target={"python": "3"})
    assert "too old" in error(target={"python": "3.9"})
    assert "work folder" in error(work=str(tmp_path / "nowhere"))
    assert "entrypoint is not a text" in error(entrypoint=None)
    assert "not a JSON object" in refused(pack_request(tmp_path / "list.json", []))


def test_requirements_with_what_they_depend_on(require, index):
    make_wheel(index, "thing", "1.0", requires=("part>=1", "other; python_version < '3'"))
    make_wheel(index, "thing", "2.0", requires=("part",))
    make_wheel(index, "part", "1.5")
    answer = require("# what is needed\nThing <2  # not 2\n", pyarrow=False)
    assert distributions(answer) == ["part 1.5", "pyarrow 99.0", "thing 1.0"]
    assert answer["notes"] == ["pyarrow 99.0 was added: the host that runs the function needs it"]
    again = require("Thing<2")
    assert again["notes"] == []
    assert again["environment"]["sha256"] == answer["environment"]["sha256"]


def test_pyarrow_in_the_file_is_the_one(require, index):
    make_wheel(index, "pyarrow", "98.0")
    answer = require("pyarrow==98.0", pyarrow=False)
    assert distributions(answer) == ["pyarrow 98.0"]
    assert answer["notes"] == []


def test_markers_are_judged_for_the_target(require, index):
    make_wheel(
        index,
        "thing",
        requires=(
            "on-mac; sys_platform == 'darwin'",
            "on-linux; platform_system == 'Linux' and platform_machine == 'aarch64'",
            "old; python_version < '3.11'",
        ),
    )
    for name in ("on-mac", "on-linux", "old"):
        make_wheel(index, name)
    expected = ["on-mac 1.0", "pyarrow 99.0", "thing 1.0"]
    answer = require("thing", platform="macos-arm64", python="3.12")
    assert distributions(answer) == expected
    assert lock_of(answer)["tags"] == {"abi": "cp312", "implementation": "cp", "macos": "14.0"}
    answer = require("thing", platform="linux-aarch64", python="3.10")
    assert distributions(answer) == ["old 1.0", "on-linux 1.0", "pyarrow 99.0", "thing 1.0"]


def test_the_wheel_for_the_target_is_taken(require, index):
    for tag in (
        "cp313-cp313-manylinux_2_28_aarch64",
        "cp313-cp313-manylinux_2_39_aarch64",
        "cp313-cp313-musllinux_1_2_aarch64",
        "cp313-cp313-manylinux_2_28_x86_64",
        "cp312-cp312-manylinux_2_28_aarch64",
    ):
        make_wheel(index, "fast", tag=tag)
    answer = require("fast", **AARCH64)
    assert answer["wheels"][0]["filename"] == "fast-1.0-cp313-cp313-manylinux_2_28_aarch64.whl"


def test_what_has_no_wheel_is_refused_by_name(require, index):
    make_wheel(index, "fast", tag="cp313-cp313-manylinux_2_28_x86_64")
    make_wheel(index, "uses", requires=("fast>=1",))
    make_wheel(index, "some", "3.0")
    expected = "has no wheel for linux-aarch64 with Python 3.13"
    assert f"fast {expected}; build one" in refused(require("fast", **AARCH64))
    assert f"fast>=1, which uses needs, {expected}" in refused(require("uses", **AARCH64))
    assert f"some==4 {expected}; there are wheels of 3.0" in refused(require("some==4", **AARCH64))


def test_contradictions_and_typing_errors(require, index):
    make_wheel(index, "a", requires=("part<2",))
    make_wheel(index, "b", requires=("part>2",))
    make_wheel(index, "part", "1.0")
    make_wheel(index, "part", "3.0")
    error = refused(require("a\nb"))
    assert "contradict each other; change one of them: a 1.0 depends on part<2; b 1.0" in error
    assert "no requirement that pip understands" in refused(require("what is this"))
    assert "nothing.txt cannot be read" in refused(require("-r nothing.txt"))


def test_hashes_are_honoured(require, index):
    wheel = make_wheel(index, "thing")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    answer = require(f"thing==1.0 \\\n    --hash=sha256:{digest}\n", pyarrow=False)
    assert distributions(answer) == ["pyarrow 99.0", "thing 1.0"]
    error = refused(require(f"thing==1.0 --hash=sha256:{'0' * 64}", pyarrow=False))
    assert f"has the sha256 {digest}, which is none of those in the requirements" in error
    make_wheel(index, "more")
    error = refused(require(f"thing==1.0 --hash=sha256:{digest}\nmore==1.0", pyarrow=False))
    assert "missing from more==1.0" in error


def test_local_packages_are_built(require, tmp_path):
    folder = make_package(tmp_path, "local")
    answer = require("-e ./local")
    assert distributions(answer) == ["local 1.0", "pyarrow 99.0"]
    assert not (folder / "build-was-here").exists()
    again = require(f"local @ {folder.as_uri()}")
    assert again["environment"]["sha256"] == answer["environment"]["sha256"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("./local", "BUILT/local"),
        ("-e ./local  # as it is", "BUILT/local"),
        ("--editable=local", "BUILT/local"),
        ("sub/local/", "BUILT/sub/local"),
        (
            "./local[fast,more] ; python_version > '3'",
            "BUILT/local[fast,more] ; python_version > '3'",
        ),
        ("file://{folder}/local#egg=local", "BUILT/local"),
        (
            "local[fast] @ file://{folder}/local ; os_name == 'x'",
            "local[fast] @ file://{folder}/BUILT/local ; os_name == 'x'",
        ),
        (
            "-e git+https://host/repo@abc#subdirectory=x",
            "AT-repo@abc#subdirectory=x",
        ),
        (
            "thing @ git+https://host/repo@abc",
            "thing @ file://{folder}/AT-repo@abc",
        ),
        ("thing @ https://host/thing-1-py3-none-any.whl", "SAME"),
        ("six==1.0", "SAME"),
        ("--index-url https://host/simple", "SAME"),
        ("-f https://host/wheels", "SAME"),
        ("-f sub", "-f {folder}/sub"),
        ("six==1 \\\n --hash=sha256:00", "six==1   --hash=sha256:00"),
    ],
)
def test_what_is_built_of_a_requirements_file(tmp_path, line, expected):
    class Builder:
        def path(self, path):
            return tmp_path / "BUILT" / path.relative_to(tmp_path)

        def address(self, address):
            return tmp_path / ("AT-" + address.rpartition("/")[2])

    (tmp_path / "sub/local").mkdir(parents=True)
    line = line.format(folder=tmp_path)
    file = tmp_path / "requirements.txt"
    file.write_text(line)
    expected = line if expected == "SAME" else expected.format(folder=tmp_path)
    read = [one.replace("%40", "@") for one in RequirementsReader(Builder()).read(file, ())]
    read = [one.removeprefix(f"{tmp_path}/") for one in read]
    assert read == [expected]


def test_local_packages_that_cannot_be_built(require, tmp_path):
    folder = make_package(tmp_path, "local")
    (folder / "tag.txt").write_text(f"cp{PYTHON.replace('.', '')}-none-linux_x86_64")
    error = refused(require("-e local", **AARCH64))
    assert f"{folder} has native code, and its wheel was built here" in error
    (folder / "backend.py").write_text("raise ValueError('broken backend')")
    assert f"no wheel can be built of {folder}: " in refused(require("./local"))
    (folder / "pyproject.toml").unlink()
    assert "neither pyproject.toml nor setup.py" in refused(require("./local"))
    assert "does not exist" in refused(require("./nowhere"))


def test_files_that_include_files(require, tmp_path, index):
    for name in ("a", "b"):
        make_wheel(index, name, "1.0")
        make_wheel(index, name, "2.0")
    files = {"sub/more.txt": "-c limit.txt\nb\n", "sub/limit.txt": "b<2\n"}
    write_files(tmp_path, files)
    answer = require("-r sub/more.txt\na")
    assert distributions(answer) == ["a 2.0", "b 1.0", "pyarrow 99.0"]
    (tmp_path / "sub/more.txt").write_text("-r more.txt\n")
    assert "includes itself" in refused(require("-r sub/more.txt"))


def test_wheels_that_contradict_each_other(require, index):
    make_wheel(index, "a", files={"shared.py": "1"})
    make_wheel(index, "b", files={"shared.py": "2"})
    assert "both bring shared.py with different content" in refused(require("a\nb"))


@pytest.fixture
def interpreter(tmp_path, index):
    """An interpreter of its own, without pip, and a way to put distributions into it."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    site = tmp_path / f"venv/lib/python{PYTHON}/site-packages"

    def install(name, version="1.0", origin=None, requires=()):
        info = f"{name}-{version}.dist-info"
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
        write_files(site, {f"{info}/METADATA": "\n".join(lines) + "\n"})
        if origin is not None:
            write_files(site, {f"{info}/direct_url.json": json.dumps(origin)})

    install("pyarrow", "99.0")
    return str(python), install


@pytest.fixture
def capture(tmp_path, project, interpreter):
    python, _ = interpreter
    count = iter(range(100))

    def captured(**target):
        work = tmp_path / f"work{next(count)}"
        environment = {"kind": "capture"}
        return pack(work, "mod:f", project, environment, interpreter=python, **target)

    return captured


def test_capture_takes_what_is_installed(capture, interpreter, index):
    _, install = interpreter
    for name in ("pip", "wheel", "setuptools", "lance_backfill"):
        install(name)
    make_wheel(index, "Some.Thing", "1.0")
    make_wheel(index, "some-thing", "2.0")
    # What it requires is not installed, and was not needed.
    install("Some.Thing", "1.0", requires=("absent",))
    answer = capture()
    assert distributions(answer) == ["pyarrow 99.0", "some-thing 1.0"]
    assert answer["notes"] == ["captured 2 distributions"]


def test_capture_takes_setuptools_where_it_is_required(capture, interpreter, index):
    _, install = interpreter
    make_wheel(index, "setuptools", "70.0")
    make_wheel(index, "old")
    install("setuptools", "70.0")
    install("old", requires=("setuptools>=1",))
    assert distributions(capture()) == ["old 1.0", "pyarrow 99.0", "setuptools 70.0"]


def test_capture_for_another_target_adds_what_that_requires(capture, interpreter, index):
    _, install = interpreter
    requires = ("there; platform_machine == 'aarch64'",)
    make_wheel(index, "thing", requires=requires)
    make_wheel(index, "there")
    install("thing", requires=requires)
    answer = capture(**AARCH64)
    assert distributions(answer) == ["pyarrow 99.0", "there 1.0", "thing 1.0"]
    assert "added, as linux-aarch64 with Python 3.13 requires it: there 1.0" in answer["notes"]


def test_capture_builds_local_packages(capture, interpreter, tmp_path):
    _, install = interpreter
    folder = make_package(tmp_path, "local")
    install("local", origin={"url": folder.as_uri(), "dir_info": {"editable": True}})
    wheel = make_wheel(tmp_path / "a b", "given")
    install("given", origin={"url": wheel.as_uri(), "archive_info": {}})
    answer = capture()
    assert distributions(answer) == ["given 1.0", "local 1.0", "pyarrow 99.0"]
    assert not (folder / "build-was-here").exists()
    install("gone", origin={"url": (tmp_path / "gone").as_uri(), "dir_info": {}})
    assert f"gone was installed from {tmp_path}/gone, which does not exist" in refused(capture())


def test_capture_builds_a_commit(capture, interpreter, tmp_path):
    _, install = interpreter
    folder = make_package(tmp_path, "local", "VALUE = 'committed'\n")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    (folder / "local.py").write_text("VALUE = 'changed since'\n")
    vcs = {"vcs": "git", "commit_id": commit.stdout.strip()}
    install("local", origin={"url": folder.as_uri(), "vcs_info": vcs})
    answer = capture()
    assert distributions(answer) == ["local 1.0", "pyarrow 99.0"]
    assert b"committed" in Path(answer["wheels"][0]["path"]).read_bytes()


def test_capture_names_all_that_has_no_wheel(capture, interpreter, index):
    _, install = interpreter
    make_wheel(index, "fine")
    for name in ("fine", "home-made", "other"):
        install(name)
    error = refused(capture())
    assert error.startswith("home-made==1.0, other==1.0 have no wheel for ")


def test_an_interpreter_for_which_there_is_no_pip(tmp_path, project, interpreter, monkeypatch):
    python, _ = interpreter
    write_files(tmp_path / "hides", {"ensurepip.py": ""})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hides"))
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = pack(tmp_path / "work", "mod:f", project, {"kind": "capture"}, interpreter=python)
    assert "has no pip, and neither pip nor uv is on PATH" in refused(answer)
    # Any pip on PATH will do.
    found = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, text=True, check=True
    )
    script = tmp_path / "pip"
    script.write_text(f"#!{sys.executable}\nprint({found.stdout!r})\n")
    script.chmod(0o755)
    answer = pack(tmp_path / "again", "mod:f", project, {"kind": "capture"}, interpreter=python)
    assert distributions(answer) == ["pyarrow 99.0"]


def test_a_wheel_from_the_index_for_another_platform(tmp_path, project):
    """The one test that needs the network."""
    file = tmp_path / "requirements.txt"
    file.write_text("markupsafe\npyarrow\n")
    environment = {"kind": "requirements", "file": str(file)}
    answer = pack(tmp_path / "work", "mod:f", project, environment, **AARCH64)
    if not answer["ok"] and "index cannot be reached" in answer["error"]:
        pytest.skip("the package index cannot be reached")
    assert [name.split()[0] for name in distributions(answer)] == ["markupsafe", "pyarrow"]
    assert all("cp313" in w["filename"] for w in answer["wheels"])
    assert all("aarch64" in w["filename"] for w in answer["wheels"])
