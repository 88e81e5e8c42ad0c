"""The decorator: what it leaves as it was, and what it refuses."""

import functools
import inspect
from dataclasses import dataclass

import pyarrow as pa
import pytest

from lance_backfill import udf
from lance_backfill.function import declaration_of


def test_function_stays_itself():
    def f(x: int, y: int = 2) -> int:
        """Adds."""
        return x + y

    decorated = udf(data_type="int64")(f)
    assert decorated is f
    assert decorated(1) == 3
    assert (decorated.__name__, decorated.__doc__) == ("f", "Adds.")
    assert str(inspect.signature(decorated)) == "(x: int, y: int = 2) -> int"
    assert declaration_of(f).inputs == ("x",)


def test_class_stays_itself():
    @udf
    class Model:
        size = 3

        def __call__(self, x: int) -> int:
            return x * self.size

    assert isinstance(Model, type)
    assert Model.size == 3
    assert Model()(2) == 6

    class Larger(Model):
        size = 4

    assert Larger()(2) == 8
    with pytest.raises(TypeError, match="Larger extends or wraps Model"):
        declaration_of(Larger)


def test_wrapper_of_a_decorated_function_is_refused():
    @udf
    def f(x: int) -> int:
        return x

    @functools.wraps(f)
    def wrapper(x):
        return f(x)

    with pytest.raises(TypeError, match="f extends or wraps f"):
        declaration_of(wrapper)
    assert declaration_of(udf(wrapper)).inputs == ("x",)


def test_lambda_and_partial():
    assert declaration_of(udf(lambda a, b: a, data_type="int64")).inputs == ("a", "b")

    def scale(x: float, by: float) -> float:
        return x * by

    declaration = declaration_of(udf(functools.partial(scale, by=2)))
    assert (declaration.inputs, declaration.output_type()) == (("x",), pa.float64())


def test_inputs():
    assert declaration_of(udf(lambda *a: a, inputs=["p", "q"])).inputs == ("p", "q")
    assert declaration_of(udf(lambda a, b=1: a, inputs=["p", "q"])).inputs == ("p", "q")
    assert declaration_of(udf(lambda a: a, inputs=["p"])).inputs == ("p",)


def test_names_that_are_defined_below():
    @udf
    def f(x: int) -> "Below":  # noqa: F821
        raise NotImplementedError

    f.__globals__["Below"] = dataclass(type("Below", (), {"__annotations__": {"a": int}}))
    try:
        assert declaration_of(f).output_type() == pa.struct([("a", pa.int64())])
    finally:
        del f.__globals__["Below"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"retries": 3},
            "f: @udf has no option 'retries'; it has batch_bytes, batch_size, data_type, ",
        ),
        ({"batch_size": 0}, "f: batch_size= must be at least 1"),
        ({"batch_size": 2.5}, "f: batch_size= must be a whole number, not a float"),
        ({"batch_size": True}, "f: batch_size= must be a whole number, not a bool"),
        ({"num_cpus": 0}, "f: num_cpus= must be greater than 0"),
        ({"num_cpus": "2"}, "f: num_cpus= must be a number, not a str"),
        ({"num_cpus": float("nan")}, "f: num_cpus= must be a finite number"),
        ({"num_gpus": -1}, "f: num_gpus= must not be negative"),
        (
            {"num_gpus": 1.5},
            "f: num_gpus= must be a fraction of one GPU, or a whole number of them",
        ),
        ({"num_gpus": 1, "pool": "cpu"}, "f: the workers of pool='cpu' have no GPU, and num_gpus="),
        ({"num_gpus": 0, "pool": "gpu"}, "f: pool='gpu' is for functions that need a GPU, and num"),
        ({"pool": "tpu"}, "f: pool= must be 'cpu' or 'gpu' or 'ray-cpu'"),
        ({"gpu_class": "a10g"}, "f: gpu_class= is for functions with num_gpus= or pool='gpu'"),
        (
            {"gpu_class": "A 10", "num_gpus": 1},
            "f: gpu_class= must be at most 40 small letters, di",
        ),
        ({"gpu_class": "ray-cpu", "num_gpus": 1}, "f: gpu_class= cannot be 'ray-cpu', which are"),
        (
            {"batch_bytes": "much"},
            "f: batch_bytes= must be bytes, or a text such as '512MiB' or '2",
        ),
        ({"batch_bytes": 0}, "f: batch_bytes= must be at least 1"),
        ({"memory": "2 bananas"}, "f: memory= must be bytes, or a text such as '512MiB' or '2GiB'"),
        ({"memory": 0}, "f: memory= must be at least 1"),
        ({"row_timeout": 0}, "f: row_timeout= must be greater than 0"),
        ({"init_timeout": "1m"}, "f: init_timeout= must be a number, not a str"),
        ({"on_error": "ignore"}, "f: on_error= must be 'skip' or 'fail'"),
        ({"max_attempts": 0}, "f: max_attempts= must be at least 1"),
        ({"retry_on": [3]}, "f: retry_on= must have exception types or their names, not a int"),
        ({"retry_on": int}, "f: retry_on= must have exception types or their names, not a type"),
        ({"version": 3}, "f: version= must be a text, not a int"),
        ({"version": ""}, "f: version= must not be empty"),
        ({"secrets": "KEY"}, "f: secrets= must be a list of names, not a str"),
        ({"secrets": ["A", "A"]}, "f: secrets= has a name twice"),
        ({"secrets": ["A=B"]}, "f: secrets= has a name that no environment variable can have"),
        ({"env": ["A"]}, "f: env= must be a dict of texts, not a list"),
        ({"env": {"A": 1}}, "f: env= has a int for 'A': values must be texts"),
        ({"env": {"A": "1"}, "secrets": ["A"]}, "f: 'A' is both in secrets= and in env="),
        ({"inputs": "x"}, "f: inputs= must be a list of names, not a str"),
        ({"inputs": ["x", "y"]}, "f: inputs= names 2 columns, and the function takes 1"),
        ({"data_type": "floaty"}, "f: data_type='floaty' is not the name of an Arrow type"),
    ],
)
def test_refused_options(options, message):
    def f(x: int) -> int:
        return x

    with pytest.raises((TypeError, ValueError)) as refused:
        udf(**options)(f)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


async def _async(x): ...


def _generator(x):
    yield x


async def _async_generator(x):
    yield x


class _NeedsArguments:
    def __init__(self, path): ...

    def __call__(self, x: int) -> int: ...


class _CannotBeCalled: ...


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (_async, "_async is an async function: only ordinary functions can be called"),
        (_generator, "_generator is a generator: only ordinary functions can be called"),
        (_async_generator, "_async_generator is an async generator: only ordinary"),
        (_NeedsArguments, "_NeedsArguments: __init__ gets no arguments, and needs 'path'"),
        (_CannotBeCalled, "_CannotBeCalled: a class needs a __call__ method"),
        (lambda *a: a, "<lambda> takes any number of arguments: name them with inputs="),
        (lambda *, a: a, "<lambda>: parameter 'a' can only be given by name"),
        (len, "len is not written in Python: wrap it in a function"),
        (7, "@udf is for a function or a class, not for a int"),
        (staticmethod(len), "@udf is for a function or a class, not for a staticmethod"),
    ],
)
def test_refused_targets(target, message):
    with pytest.raises(TypeError) as refused:
        udf(target)
    assert str(refused.value).startswith(message)


def test_refused_signatures():
    with pytest.raises(TypeError, match="takes a RecordBatch: name its columns with inputs="):

        @udf
        def batch(b: pa.RecordBatch): ...

    with pytest.raises(TypeError, match="must all be values of a row"):

        @udf
        def mixed(a: pa.Array, b: int): ...

    with pytest.raises(TypeError, match="decorated with @udf twice"):

        @udf
        @udf
        def twice(a: int) -> int: ...

    @udf
    def untyped(a: pa.Array): ...

    with pytest.raises(TypeError, match="untyped: the hint of a batched function does not say"):
        declaration_of(untyped).output_type()


@pytest.mark.parametrize(
    ("said", "mib"),
    [
        (1, 1),
        (2**20, 1),
        (2**20 + 1, 2),
        ("512MiB", 512),
        ("2GiB", 2048),
        ("1 GB", 954),
        ("0.5gib", 512),
    ],
)
def test_memory(said, mib):
    assert declaration_of(udf(lambda a: a, memory=said)).options.memory_mib == mib
