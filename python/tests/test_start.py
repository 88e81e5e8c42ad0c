"""Starting a host: what it describes, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import lance_backfill
from lance_backfill.hosting import Host, HostDied, StartFailed
from support.calls import FUNCTIONS

INT = pa.int64()
SCHEMA = pa.schema([("x", INT)])


def describe(entrypoint, code=FUNCTIONS):
    with Host() as host:
        ready, kind = host.start(entrypoint, code, mode="describe")
        assert host.close() == 0
    return ready, kind


def failure(entrypoint, code=FUNCTIONS, mode="run", inputs=SCHEMA, **start):
    with Host() as host:
        with pytest.raises(StartFailed) as failed:
            host.start(entrypoint, code, inputs=inputs, value=INT, mode=mode, **start)
        assert host.close() == 1
    error = failed.value.error
    assert set(error) == {
        "type",
        "kind",
        "message",
        "traceback",
        "transient",
        "rate_limited",
        "retry_after_s",
    }
    assert "\n" not in error["message"]
    return error


def test_description():
    ready, kind = describe("kinds:batch_sum")
    assert kind == INT
    assert (ready["protocol"], ready["python"]) == (1, ".".join(map(str, sys.version_info[:3])))
    function = ready["function"]
    options = function.pop("options")
    assert function == {
        "name": "batch_sum",
        "doc": None,
        "kind": "record_batch",
        "stateful": False,
        "inputs": ["left", "right"],
    }
    assert list(options) == [
        "batch_size",
        "num_cpus",
        "num_gpus",
        "memory_mib",
        "row_timeout_s",
        "init_timeout_s",
        "on_error",
        "max_attempts",
        "retry_on",
        "version",
        "secrets",
        "env",
        "pool",
        "gpu_class",
        "batch_bytes",
    ]
    assert options.pop("batch_size") == 100
    assert set(options.values()) == {None}


def test_description_of_others():
    function = describe("kinds:twice")[0]["function"]
    assert (function["doc"], function["kind"], function["inputs"]) == ("Doubles.", "scalar", ["x"])
    ready, kind = describe("kinds:Model")
    assert (ready["function"]["stateful"], kind) == (True, pa.string())
    assert describe("kinds:constant")[0]["function"]["inputs"] == []


def test_options_are_described(tmp_path):
    (tmp_path / "m.py").write_text(
        "from lance_backfill import udf\n"
        "@udf(num_cpus=0.5, num_gpus=1, memory='1.5GiB', row_timeout=2, init_timeout=60,\n"
        "     on_error='fail', max_attempts=3, retry_on=[OSError, 'httpx.ReadTimeout'],\n"
        "     version='7', secrets=['KEY'], env={'A': 'b'},\n"
        "     pool='gpu', gpu_class='a10g', batch_bytes='64MiB')\n"
        "def f(x: int) -> float: return x / 2\n"
    )
    options = describe("m:f", tmp_path)[0]["function"]["options"]
    assert options == {
        "batch_size": None,
        "num_cpus": 0.5,
        "num_gpus": 1.0,
        "memory_mib": 1536,
        "row_timeout_s": 2.0,
        "init_timeout_s": 60.0,
        "on_error": "fail",
        "max_attempts": 3,
        "retry_on": ["OSError", "httpx.ReadTimeout"],
        "version": "7",
        "secrets": ["KEY"],
        "env": {"A": "b"},
        "pool": "gpu",
        "gpu_class": "a10g",
        "batch_bytes": 64 * 2**20,
    }


def test_failing_constructor():
    error = failure("faults:Broken")
    assert (error["kind"], error["message"]) == ("RuntimeError", "no model")
    assert "in __init__" in error["traceback"]
    assert describe("faults:fault")[1] == INT


@pytest.mark.parametrize(
    ("raised", "transient", "limited", "wait"),
    [
        ("ConnectionResetError('hub')", True, False, None),
        ("lance_backfill.RateLimited('hub', retry_after=7)", True, True, 7),
        ("FileNotFoundError('model')", False, False, None),
    ],
)
def test_a_start_may_fail_for_a_while(tmp_path, raised, transient, limited, wait):
    (tmp_path / "m.py").write_text(
        "import lance_backfill\n"
        "class F:\n"
        f"    def __init__(self): raise {raised}\n"
        "    def __call__(self, x: int) -> int: return x\n"
    )
    error = failure("m:F", tmp_path)
    assert (error["transient"], error["rate_limited"], error["retry_after_s"]) == (
        transient,
        limited,
        wait,
    )


@pytest.mark.parametrize(
    ("hint", "column", "refused"),
    [
        ("str", pa.int64(), True),
        ("str", pa.bool_(), True),
        ("str", pa.float32(), True),
        ("str", pa.decimal128(9, 2), True),
        ("Annotated[str, 'note']", pa.int8(), True),
        ("bytes", pa.uint8(), True),
        ("int", pa.large_string(), True),
        ("int", pa.dictionary(pa.int8(), pa.string()), True),
        ("float", pa.binary(), True),
        ("float", pa.binary(4), True),
        ("str", pa.string(), False),
        ("str", pa.dictionary(pa.int8(), pa.string()), False),
        ("str", pa.date32(), False),
        ("str", pa.null(), False),
        ("str | None", pa.int64(), False),
        ("int | str", pa.string(), False),
        ("Any", pa.int64(), False),
        ("Id", pa.string(), False),
        ("float", pa.int64(), False),
        ("int", pa.float64(), False),
        ("int", pa.bool_(), False),
        ("bool", pa.int64(), False),
    ],
)
def test_columns_that_cannot_be_what_a_hint_says(tmp_path, hint, column, refused):
    (tmp_path / "m.py").write_text(
        "from typing import Annotated, Any\n"
        "class Id(int): pass\n"
        f"def f(a, x: {hint}) -> int: return 1\n"
    )
    inputs = pa.schema([("a", INT), ("column", column)])
    if not refused:
        with Host() as host:
            assert host.start("m:f", tmp_path, inputs=inputs, value=INT)[0]["type"] == "ready"
        return
    error = failure("m:f", tmp_path, inputs=inputs)
    name = hint.removeprefix("Annotated[").partition(",")[0]
    assert (error["kind"], error["message"]) == (
        "wrong_inputs",
        f"f: the parameter 'x' is of type {name}, and the column 'column' of {column}",
    )


def test_host_has_a_folder_and_few_variables_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "m.py").write_text(
        "import os\n"
        "def f(x: int) -> list[str]: return [os.getcwd(), *os.listdir(), *map('='.join, "
        "sorted(os.environ.items()))]\n"
    )
    for name in os.environ:
        monkeypatch.delenv(name)
    passed_on = {"HF_HOME": "/models", "LC_ALL": "C.UTF-8", "PATH": "/bin"}
    for name, value in {**passed_on, "OPENAI_API_KEY": "k", "OMP_NUM_THREADS": "64"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    with Host(cpus=2.5) as host:
        # Relative to the folder of the caller.
        host.start("m:f", "", inputs=SCHEMA, value=pa.list_(pa.string()))
        (_, values), _ = host.call(pa.RecordBatch.from_pydict({"x": pa.array([0])}))
        folder, *variables = values.to_pylist()[0]
        assert Path(folder).is_dir()
    assert not Path(folder).exists()
    found = dict(variable.split("=") for variable in variables)
    assert found.pop("PYTHONDONTWRITEBYTECODE") == "1"
    assert found.pop("OMP_NUM_THREADS") == "2"
    threads = {name for name in found if name.endswith("_THREADS")}
    assert {name: value for name, value in found.items() if name not in threads} == passed_on
    assert {found[name] for name in threads} == {"2"}


@pytest.mark.parametrize(
    ("entrypoint", "kind", "message"),
    [
        ("missing:f", "ModuleNotFoundError", "No module named 'missing'"),
        ("kinds:missing", "wrong_entrypoint", "kinds has no 'missing'"),
        ("kinds", "wrong_entrypoint", "'kinds' is not of the form module:name"),
        (
            "kinds:not_a_function",
            "wrong_entrypoint",
            "kinds:not_a_function: it is a int, not a function or class",
        ),
        ("kinds:add", "wrong_inputs", "add takes 2 inputs, not 1"),
    ],
)
def test_refused_entry_points(entrypoint, kind, message):
    error = failure(entrypoint)
    assert (error["kind"], error["message"]) == (kind, message)
    assert error["traceback"] is None


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("def f(x: int) -> int: return (", "SyntaxError", "return ("),
        ("import nothing_like_it\n", "ModuleNotFoundError", "import nothing_like_it"),
        ("import sys\nsys.exit('no licence')\n", "SystemExit", "sys.exit"),
    ],
)
def test_modules_that_cannot_be_imported(tmp_path, text, kind, line):
    (tmp_path / "broken.py").write_text(text)
    error = failure("broken:f", tmp_path)
    assert error["kind"] == kind
    assert line in error["traceback"]
    assert "frozen" not in error["traceback"]


def test_untyped_output_is_refused(tmp_path):
    (tmp_path / "m.py").write_text("def f(x): return x\ndef g(x) -> dict: return x\n")
    error = failure("m:f", tmp_path, mode="describe")
    assert (
        error["message"] == "f has no return hint: give one, or write @udf(data_type=...) above it"
    )
    error = failure("m:g", tmp_path, mode="describe")
    assert error["message"].startswith("g: a dict has no fields")
    assert error["message"].endswith("or write @udf(data_type=...) above it")


def test_secrets_are_hidden_when_the_import_fails(tmp_path):
    (tmp_path / "m.py").write_text("import os\nraise ValueError(os.environ['TOKEN'])\n")
    error = failure("m:f", tmp_path, secrets={"TOKEN": "very-secret"})
    assert "very-secret" not in str(error)


def test_environment_of_its_own(tmp_path):
    site = tmp_path / "site"
    (site / "extra").mkdir(parents=True)
    (site / "helper.py").write_text("VALUE = 41\n")
    (site / "extra" / "from_pth.py").write_text("VALUE = 1\n")
    (site / "extra.pth").write_text(str(site / "extra") + "\n")
    (tmp_path / "m.py").write_text(
        "import helper, from_pth\ndef f(x: int) -> int: return helper.VALUE + from_pth.VALUE\n"
    )
    packages = pa.__path__[0].rpartition("/")[0]
    (site / "packages.pth").write_text(packages + "\n")
    batch = pa.RecordBatch.from_pydict({"x": pa.array([0])})
    with Host("-I", "-S") as host:
        host.start("m:f", tmp_path, inputs=SCHEMA, value=INT, site=str(site))
        (_, values), _ = host.call(batch)
        assert values.to_pylist() == [42]


def test_environment_without_pyarrow(tmp_path):
    with Host("-I", "-S") as host, pytest.raises(StartFailed, match="no usable pyarrow"):
        host.start("kinds:twice", FUNCTIONS, inputs=SCHEMA, value=INT, site=str(tmp_path))


def test_modules_of_the_package_shadow_nothing(tmp_path):
    """A module of the user's may have the name of one of the package's."""
    (tmp_path / "sample.py").write_text("VALUE = 1\n")
    (tmp_path / "m.py").write_text(
        "import sample, types, sys\n"
        "def f(x: int) -> str: return f'{sample.VALUE} {types.__file__} {sys.argv}'\n"
    )
    with Host() as host:
        host.start("m:f", tmp_path, inputs=SCHEMA, value=pa.string())
        (_, values), _ = host.call(pa.RecordBatch.from_pydict({"x": pa.array([0])}))
    (said,) = values.to_pylist()
    assert said.startswith("1 ")
    assert "lance_backfill" not in said


def test_protocol_is_checked():
    with Host() as host:
        host.send({"type": "start", "protocol": 99})
        answer, _ = host.receive()
        assert (answer["type"], answer["kind"]) == ("failed", "wrong_protocol")


@pytest.mark.parametrize(
    "frame", [b"garbage of sixteen bytes", b"LBH1\x02\0\0\0" + bytes(8) + b"{}"]
)
def test_what_is_no_frame_ends_the_conversation(frame):
    with Host() as host:
        os.write(host.writer.descriptor, frame)
        with pytest.raises(HostDied) as died:
            host.receive()
        assert died.value.code == 2
        host.close()
        assert "lance-backfill host: " in host.log


def test_unknown_keys_are_ignored_and_unknown_types_end_it():
    with Host() as host:
        host.start("kinds:twice", FUNCTIONS, inputs=SCHEMA, value=INT)
        host.send({"type": "sing", "loud": True})
        with pytest.raises(HostDied):
            host.receive()


def test_importing_the_package_imports_nothing():
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; before = set(sys.modules)\n"
        "import lance_backfill\n"
        "new = {name for name in set(sys.modules) - before if 'lance_backfill.' in name}\n"
        "assert not new and 'pyarrow' not in sys.modules, new\n"
        "from lance_backfill import udf, Transient\n"
        "assert 'pyarrow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_the_package_exports():
    assert all(getattr(lance_backfill, name) is not None for name in lance_backfill.__all__)
    with pytest.raises(AttributeError):
        lance_backfill.missing  # noqa: B018


def test_a_host_imports_little(tmp_path):
    """What a start costs is what is imported: not pandas, nor pyarrow's compute."""
    (tmp_path / "little.py").write_text("def f(x: int) -> int: return x\n")
    with Host("-X", "importtime") as host:
        host.start("little:f", tmp_path, inputs=SCHEMA, value=INT)
        host.close()
    imported = {line.rpartition("|")[2].strip() for line in host.log.splitlines()}
    assert "lance_backfill.host.session" in imported
    assert not imported & {
        "pandas",
        "pyarrow.compute",
        "pyarrow.dataset",
        "traceback",
        "asyncio",
        "lance_backfill.types",
        "lance_backfill.checking",
        "lance_backfill.host.batched",
    }
