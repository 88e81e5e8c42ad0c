"""Functions of notebooks, REPLs and scripts are packed as source, and run equal to it."""

from __future__ import annotations

import importlib.util
import itertools
import linecache
import sys
import types

import pytest

from lance_backfill.pack import pack_function
from lance_backfill.pack.errors import PackError

NUMBERS = itertools.count()


class Notebook:
    """Executes cells as a notebook does: in one namespace, each from a file of linecache's."""

    def __init__(self, monkeypatch):
        self.module = types.ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", self.module)

    def cell(self, text):
        name = f"<ipython-input-{next(NUMBERS)}-0123>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec", dont_inherit=True), vars(self.module))

    def __getitem__(self, name):
        return getattr(self.module, name)

    def packed(self, name):
        return pack_function(self[name])

    def refusal(self, name):
        with pytest.raises(PackError) as error:
            self.packed(name)
        return str(error.value)


@pytest.fixture
def notebook(monkeypatch):
    return Notebook(monkeypatch)


@pytest.fixture
def run(tmp_path):
    """Imports what was packed, from a file."""

    def load(packed):
        path = tmp_path / f"{packed.module}.py"
        path.write_text(packed.text)
        spec = importlib.util.spec_from_file_location(packed.module, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[packed.module] = module
        spec.loader.exec_module(module)
        return getattr(module, packed.name)

    return load


def test_what_a_function_names_is_taken_along(notebook, run):
    notebook.cell(
        """
import re, concurrent.futures
import numpy as np
import os.path as osp
from math import sqrt as root, pi
from decimal import Decimal
from functools import lru_cache
from lance_backfill import udf
FACTOR = 3
SCALES = {"b": [1.5, float("inf")], "a": (1,), "c": {3, 1, 2}}
WORD = re.compile("[a-z]+", re.I)
PRICE = Decimal("1.10")
unused = print
"""
    )
    notebook.cell(
        """
@lru_cache(maxsize=None)
def helper(x):
    # said here
    return root(x) * FACTOR + pi

half = lambda x: x / 2
alias = helper

def even(x):
    return x == 0 or odd(x - 1)

def odd(x):
    return x != 0 and even(x - 1)
"""
    )
    notebook.cell(
        """
@udf(inputs=["a", "text"])
def score(x: float, text: str, *, factor=FACTOR) -> float:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        part = pool.submit(alias, x).result()
    words = [len(word) for word in WORD.findall(text) if odd(len(word))]
    price = float(PRICE) * SCALES["a"][0] + np.linalg.norm([x, half(x)])
    return part + sum(words) + price + factor + len(osp.join("a", text))
"""
    )
    packed = notebook.packed("score")
    assert packed[:2] == ("packed_score", "score")
    function = run(packed)
    for x, text in [(4.0, "one three"), (0.25, "Two"), (9.5, "")]:
        assert function(x, text) == notebook["score"](x, text)
    assert "import numpy as np\n" in packed.text
    assert "from math import sqrt as root\n" in packed.text
    assert "# said here\n" in packed.text
    assert '@udf(inputs=["a", "text"])\ndef score(' in packed.text
    assert "unused" not in packed.text


def test_classes_bases_and_dataclasses(notebook, run):
    notebook.cell(
        """
import dataclasses
from dataclasses import dataclass
from functools import total_ordering
from enum import Enum
from typing import NamedTuple, Optional
from lance_backfill import udf

class Kind(Enum):
    LONG = 1
    SHORT = 2

@total_ordering
@dataclass
class Part:
    word: str
    kind: Kind = Kind.LONG
    more: Optional["Part"] = None
    def __lt__(self, other): return self.word < other.word

class Span(NamedTuple):
    start: int
    end: int = 5

class Base:
    limit = 3
    def __init__(self):
        self.calls = 0
    def cut(self, text):
        return text[: self.limit]
"""
    )
    notebook.cell(
        """
@udf(inputs=["text"])
class Cutter(Base):
    limit = 2

    def __init__(self):
        super().__init__()
        self.span = Span(1)

    def __call__(self, text: str) -> Part:
        self.calls += 1
        kind = Kind.LONG if len(text) > 3 else Kind.SHORT
        part = Part(self.cut(text), kind, Part(str(self.span)))
        assert part >= Part("")
        return part
"""
    )
    packed = notebook.packed("Cutter")
    cutter = run(packed)()
    here = notebook["Cutter"]()
    for text in ("hello", "a", ""):
        assert repr(cutter(text)) == repr(here(text))
    assert cutter.calls == here.calls == 3


def test_the_text_depends_on_nothing_else(notebook):
    first = "import math\nSIZES = {'x', 'y', 'z'}\ndef helper(x):\n    return math.floor(x)\n"
    second = "def f(x):\n    return helper(x) + len(SIZES)\n"
    notebook.cell(first)
    notebook.cell(second)
    before = notebook.packed("f")
    notebook.cell("import json\nOTHER = 1\n\n" + first.replace("\ndef", "\n\n\n# why\ndef") + "y=2")
    notebook.cell("\n\n" + second + "# after\n")
    assert notebook.packed("f") == before


def test_constants_come_back(notebook, run):
    notebook.cell(
        """
import datetime, decimal, fractions, logging, pathlib, re, uuid, zoneinfo
import pyarrow as pa
VALUES = [
    None, True, -1, 10**5000, 1.5, -0.0, float("-inf"), 2j, "a'\\n", b"\\xff", bytearray(b"a"), ...,
    (), (1,), [], {}, set(), {3, 1}, frozenset({"b", "a"}), {"k": [1, {2: (3,)}]}, range(3),
    decimal.Decimal("1.10"), fractions.Fraction(1, 3), uuid.UUID(int=5),
    datetime.date(2020, 1, 2), datetime.time(1, 2), datetime.timedelta(days=1, microseconds=5),
    datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc),
    datetime.datetime(2020, 10, 25, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    re.compile("a+", re.I | re.M), re.compile(b"a"), pathlib.Path("a/b"),
    pathlib.PurePosixPath("c"),
    pa.int8(), pa.bool_(), pa.float16(), pa.float64(), pa.string(), pa.large_binary(), pa.binary(4),
    pa.timestamp("us", tz="UTC"), pa.time32("s"), pa.duration("ms"), pa.decimal128(10, 2),
    pa.null(),
    pa.list_(pa.float32(), 3), pa.list_(pa.field("x", pa.int8(), nullable=False)), pa.date32(),
    pa.large_list(pa.string()), pa.struct([pa.field("a", pa.int64(), metadata={"k": "v"})]),
    pa.map_(pa.string(), pa.int32()), pa.dictionary(pa.int32(), pa.string()),
    pa.schema([("a", pa.int8())], metadata={"m": "n"}),
]
NAN = float("nan")
LOG = logging.getLogger("packed")
def f():
    return VALUES, NAN, LOG
"""
    )
    values, nan, log = run(notebook.packed("f"))()
    expected, _, expected_log = notebook["f"]()
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]
    assert [v.fold for v in values if hasattr(v, "fold")] == [0, 0, 1]
    assert str(values[5]) == "-0.0"
    assert nan != nan
    assert log is expected_log


def test_annotations(notebook, run):
    notebook.cell(
        """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated
import numpy as np
if TYPE_CHECKING:
    from nowhere import Thing
Vector = Annotated[np.ndarray, 3]
Names = list[str]
class Row: pass
def f(a: Row, b: "Vector", c: Thing | None = None) -> Names:
    found: Missing = [a]
    return found
"""
    )
    packed = notebook.packed("f")
    assert packed.text.startswith("from __future__ import annotations\n\nimport ")
    function = run(packed)
    module = vars(sys.modules[packed.module])
    assert function(1, 2) == [1]
    assert module["Names"] == list[str]
    assert module["Vector"] == notebook["Vector"]
    assert module["Row"].__module__ == packed.module


def test_a_function_of_a_function(notebook, run):
    notebook.cell(
        """
def outer():
    def inner(x):
        text = '''
    kept'''
        return x, text
    return inner
f = outer()
def closing(y):
    def inner(x):
        return x + y
    return inner
g = closing(1)
"""
    )
    assert "g" in vars(notebook.module)
    assert notebook.refusal("g").startswith("inner uses y of the function that it is defined in")
    with pytest.raises(PackError):
        notebook.packed("f")  # Its text cannot be moved to the margin.
    notebook.cell(
        "def outer():\n    def inner(x):\n        return x\n    return inner\nf = outer()\n"
    )
    assert run(notebook.packed("f"))(3) == 3


@pytest.mark.parametrize(
    ("setup", "body", "message"),
    [
        ("import threading\nm = threading.Lock()", "m", "f names m, a _thread.lock, which cannot"),
        ("import numpy as np\nm = np.ones(2)", "m", "f names m, a numpy.ndarray, which cannot"),
        ("import pyarrow as pa\nt = pa.table({})", "t", "f names t, a pyarrow.lib.Table, which"),
        ("t = [print]", "t", "f names t, a list, which cannot be packed"),
        ("", "missing", "f names missing, which is not defined"),
        ("import builtins", "display(1)", "f names display, which is not defined"),
        ("__file__ = '/x'", "__file__", "f names __file__, which is another one where"),
        ("k = [lambda x: x][0]", "k(1)", "a lambda inside of an expression has no source"),
        (
            "from functools import partial\np = partial(int, base=2)",
            "p('1')",
            "a functools.partial",
        ),
        (
            "from functools import lru_cache\ndef h(): pass\nh = lru_cache(h)",
            "h()",
            "f names h, which was decorated by a call",
        ),
        ("def h(): return 1\nold = h\ndef h(): return old()", "old(), h()", "is an earlier h"),
        ("def h(): return 1\nold = h\ndef h(): return 2", "h(), old()", "is an earlier h"),
        ("from collections import namedtuple\nP = namedtuple('P', 'a')", "P(1)", "class P is not"),
        ("s = 'x' * 3_000_000", "s", "f names s, a str of 3 MiB as text, and a"),
        ("s = {i: 'x' * 99 for i in range(20_000)}", "s", "s, a dict of 2 MiB as text, and a cons"),
    ],
)
def test_what_cannot_be_had_is_refused_by_name(notebook, monkeypatch, setup, body, message):
    monkeypatch.setattr("builtins.display", print, raising=False)
    notebook.cell(setup)
    notebook.cell(f"def f(x):\n    return {body}\n")
    assert message in notebook.refusal("f")


def test_source_that_is_gone_or_has_changed(notebook):
    exec("def f(x): return x\nclass C: pass", vars(notebook.module))
    assert "the source of f is not to be had, as it was typed in; put" in notebook.refusal("f")
    assert "the source of the class C is not to be had" in notebook.refusal("C")
    notebook.cell("def f(x):\n    return x\n")
    filename = notebook["f"].__code__.co_filename
    text = "def f(x):\n    return x + 1\n"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    assert "has changed since it was loaded" in notebook.refusal("f")


def test_a_default_that_has_another_value_since(notebook):
    notebook.cell("K = 1\n")
    notebook.cell("def f(x, k=K):\n    return x + k\n")
    assert "K = 1\n" in notebook.packed("f").text
    notebook.cell("K = 2\n")
    assert "a default of f was K, which has another value since" in notebook.refusal("f")


def test_decorated_by_a_call(notebook):
    notebook.cell("from lance_backfill import udf\ndef f(x: int) -> int:\n    return x\n")
    notebook.cell("f = udf(inputs=['a'])(f)")
    assert "f was decorated by a call" in notebook.refusal("f")


def test_a_local_module_is_refused(notebook, tmp_path, monkeypatch):
    (tmp_path / "beside_us.py").write_text("def clean(x): return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    notebook.cell(
        "import beside_us\nfrom beside_us import clean\ndef f(x): return beside_us.clean(x)\n"
    )
    assert "beside_us comes from beside_us, which is not installed but lies at" in (
        notebook.refusal("f")
    )
    notebook.cell("def f(x): return clean(x)\n")
    assert "clean comes from beside_us, which is not installed" in notebook.refusal("f")
    sys.modules.pop("beside_us")


@pytest.mark.parametrize(
    "value",
    [
        "os.environ['OPENAI_API_KEY']",
        "'Bearer ' + os.environ['OPENAI_API_KEY']",
        "[{'headers': (1, os.environ['OPENAI_API_KEY'].encode())}]",
        "{os.environ['OPENAI_API_KEY']: 1}",
        "bytearray(os.environ['OPENAI_API_KEY'].encode())",
        "re.compile(os.environ['OPENAI_API_KEY'])",
    ],
)
@pytest.mark.parametrize("function", ["(x): return K", "(x, k=K): return k"])
def test_the_value_of_a_secret_is_refused(notebook, monkeypatch, value, function):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    notebook.cell(f"import os, re\nK = {value}\n")
    notebook.cell(f"def f{function}\n")
    message = notebook.refusal("f")
    assert message == (
        "f names K, which holds the value of the environment variable OPENAI_API_KEY, and would be "
        "stored with the code; read os.environ['OPENAI_API_KEY'] inside of f, and declare it with "
        "@udf(secrets=['OPENAI_API_KEY'])"
    )


def test_a_secret_is_what_is_declared_or_named_so(notebook, monkeypatch):
    monkeypatch.setenv("PLAIN", "0123456789")
    monkeypatch.setenv("db_passwd", "short")
    notebook.cell(
        """
import os
from lance_backfill import udf
PLAIN = os.environ["PLAIN"]
SHORT = os.environ["db_passwd"]
def plain(x: int) -> str:
    return PLAIN + SHORT
@udf(secrets=["PLAIN"])
def declared(x: int) -> str:
    return plain(x)
"""
    )
    assert "PLAIN = '0123456789'" in notebook.packed("plain").text
    assert "variable PLAIN, and would be stored" in notebook.refusal("declared")
    monkeypatch.setenv("Db_Passwd", "0123456789")
    assert "variable Db_Passwd, and would be stored" in notebook.refusal("plain")
