"""`udf`, which declares a function of rows, of arrays, or a class."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, TypeVar, overload

from lance_backfill.declaration import ATTRIBUTE, Declaration, Options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_MIB = 2**20


@overload
def udf(target: T, /) -> T: ...
@overload
def udf(target: T, /, **options: Any) -> T: ...
@overload
def udf(
    *,
    data_type: Any = None,
    inputs: Sequence[str] | None = None,
    batch_size: int | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    pool: str | None = None,
    gpu_class: str | None = None,
    batch_bytes: int | str | None = None,
    memory: int | str | None = None,
    row_timeout: float | None = None,
    init_timeout: float | None = None,
    on_error: str | None = None,
    max_attempts: int | None = None,
    retry_on: Sequence[type[BaseException] | str] | type[BaseException] | str | None = None,
    version: str | None = None,
    secrets: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Callable[[T], T]: ...


def udf(target: Any = None, /, **options: Any) -> Any:
    """Declares a function, or a class with `__call__`, that computes a column.

    The same object is returned, with its declaration attached: it is called, tested and inherited
    from as if it were not decorated.  What it computes is told by the hints of its parameters:
    values of one row; `pyarrow.Array`, one for each input, all rows of a call at once; or one
    `pyarrow.RecordBatch`.  A parameter with a default is no input unless `inputs` names it.

    Args:
        target: The function or class, where `udf` is used without options.
        **options: Any of the following.

            data_type: Type of the results: a `pyarrow.DataType`, a Python type, or a text such as
                `"float32"` or `"list<float>"`.  Without it the return hint of a scalar function
                says it; a batched one needs it.
            inputs: Columns to read, in the order of the parameters; without it the parameters'
                names.  A function of a RecordBatch needs it.
            batch_size: Rows a call, for a batched function.
            batch_bytes: Most bytes that the inputs of one call may have, as a number or a text such
                as `"64MiB"`; a single row may have more.  Where rows have texts of unlike lengths
                it stands for a budget of tokens: calls are then about equally large.
            num_cpus: Cores that one process of it keeps busy.
            num_gpus: GPUs, or the fraction of one, that one process of it needs.  It finds those
                that it got in `CUDA_VISIBLE_DEVICES`, and a fraction in
                `LANCE_BACKFILL_DEVICE_SHARE`.
            pool: Workers that compute it: `"cpu"`, `"gpu"`, or `"ray-cpu"`, workers of a Ray
                cluster that have no GPU; without it those with a GPU if it needs one.
            gpu_class: Kind of GPU workers, such as `"a10g"`, where a service has several.
            memory: What a process of it may use: bytes, or a text such as `"2GiB"`.
            row_timeout: Seconds after which a row (of a batched function a call) is given up.
            init_timeout: Seconds after which importing and instantiating is given up.
            on_error: `"skip"` records a failed row and goes on, `"fail"` stops the job.
            max_attempts: How often a row with transient errors is tried.
            retry_on: Exception types, or names of them, that are transient, instead of the usual.
            version: Stands for the code: as long as it is the same, changed code makes no value
                stale.
            secrets: Names of secrets that are put into the environment of the process.
            env: Plain variables that are put into its environment.

    Raises:
        TypeError: an option is unknown or of the wrong type, or the function cannot be called so.
        ValueError: an option is out of range.
    """
    if target is None:
        return lambda decorated: _declare(decorated, options)
    return _declare(target, options)


def declaration_of(target: Any) -> Declaration:
    """The declaration of a function or class; one that is not decorated gets what `@udf` gives.

    Raises:
        TypeError: it cannot be called as a function of rows or batches, or the declaration belongs
            to something else, such as the class that it extends.
    """
    declaration = getattr(target, ATTRIBUTE, None)
    if isinstance(declaration, Declaration):
        if declaration.target is target:
            return declaration
        # A class inherits the attribute, functools.wraps copies it: options would get lost.
        raise TypeError(
            f"{getattr(target, '__name__', 'it')} extends or wraps {declaration.name}, which is "
            "decorated with @udf: decorate what is to be called"
        )
    if not callable(target):
        raise TypeError(f"it is {_name(target)}, not a function or class")
    declaration = Declaration(target, None, None, Options())
    declaration.check_signature()
    return declaration


def _declare(target: Any, given: dict[str, Any]) -> Any:
    if isinstance(target, (staticmethod, classmethod)) or not callable(target):
        raise TypeError(f"@udf is for a function or a class, not for {_name(target)}")
    name = str(getattr(target, "__name__", type(target).__name__))
    unknown = sorted(set(given) - set(_READERS))
    if unknown:
        raise TypeError(
            f"{name}: @udf has no option {unknown[0]!r}; it has {', '.join(sorted(_READERS))}"
        )
    if getattr(getattr(target, ATTRIBUTE, None), "target", None) is target:
        raise TypeError(f"{name} is decorated with @udf twice")
    read = {
        option: None if given.get(option) is None else reader(f"{name}: {option}=", given[option])
        for option, reader in _READERS.items()
    }
    data_type, inputs = read.pop("data_type"), read.pop("inputs")
    read["memory_mib"] = read.pop("memory")
    read["row_timeout_s"] = read.pop("row_timeout")
    read["init_timeout_s"] = read.pop("init_timeout")
    _check_pool(name, read)
    clash = set(read["secrets"] or ()) & set(read["env"] or ())
    if clash:
        raise ValueError(f"{name}: {min(clash)!r} is both in secrets= and in env=")
    declaration = Declaration(target, data_type, inputs, Options(**read))
    declaration.check_signature()
    if data_type is not None:
        declaration.output_type()
    try:
        setattr(target, ATTRIBUTE, declaration)
    except (AttributeError, TypeError):
        raise TypeError(f"{name} is not written in Python: wrap it in a function") from None
    return target


def _name(value: Any) -> str:
    return f"a {type(value).__name__}"


def _text(label: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{label} must be a text, not {_name(value)}")
    if not value:
        raise ValueError(f"{label} must not be empty")
    return value


def _names(label: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise TypeError(f"{label} must be a list of names, not {_name(value)}")
    names = tuple(_text(label, item) for item in value)
    if len(set(names)) < len(names):
        raise ValueError(f"{label} has a name twice")
    return names


def _number(label: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{label} must be a number, not {_name(value)}")
    if not math.isfinite(value):
        raise ValueError(f"{label} must be a finite number")
    return value


def _positive(label: str, value: Any) -> float:
    if _number(label, value) <= 0:
        raise ValueError(f"{label} must be greater than 0")
    return float(value)


def _not_negative(label: str, value: Any) -> float:
    if _number(label, value) < 0:
        raise ValueError(f"{label} must not be negative")
    return float(value)


def _count(label: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{label} must be a whole number, not {_name(value)}")
    if value < 1:
        raise ValueError(f"{label} must be at least 1")
    return value


def _gpus(label: str, value: Any) -> float:
    gpus = _not_negative(label, value)
    if gpus > 1 and not gpus.is_integer():
        raise ValueError(f"{label} must be a fraction of one GPU, or a whole number of them")
    return gpus


def _check_pool(name: str, read: Mapping[str, Any]) -> None:
    """Refuses options that contradict each other about where the function runs."""
    gpus, pool = read["num_gpus"], read["pool"]
    if gpus and pool in ("cpu", "ray-cpu"):
        raise ValueError(
            f"{name}: the workers of pool={pool!r} have no GPU, and num_gpus= asks for one"
        )
    if gpus == 0 and pool == "gpu":
        raise ValueError(f"{name}: pool='gpu' is for functions that need a GPU, and num_gpus= is 0")
    if read["gpu_class"] is not None and not gpus and pool != "gpu":
        raise ValueError(f"{name}: gpu_class= is for functions with num_gpus= or pool='gpu'")


def _class_name(label: str, value: Any) -> str:
    text = _text(label, value)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", text):
        raise ValueError(f"{label} must be at most 40 small letters, digits and hyphens")
    if text == "ray-cpu":
        raise ValueError(f"{label} cannot be 'ray-cpu', which are workers without a GPU")
    return text


def _bytes(label: str, value: Any) -> int:
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
        unit = _UNITS.get(match[2].upper()) if match else None
        if match is None or unit is None:
            raise ValueError(f"{label} must be bytes, or a text such as '512MiB' or '2GiB'")
        value = math.ceil(float(match[1]) * unit)
    return _count(label, value)


def _memory_mib(label: str, value: Any) -> int:
    return -(-_bytes(label, value) // _MIB)


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def read(label: str, value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{label} must be {' or '.join(map(repr, choices))}")
        return str(value)

    return read


def _exceptions(label: str, value: Any) -> tuple[str, ...]:
    from lance_backfill.host.transience import name_of

    names = []
    for item in value if isinstance(value, (list, tuple, set, frozenset)) else [value]:
        if isinstance(item, type) and issubclass(item, BaseException):
            names.append(name_of(item))
        elif isinstance(item, str) and re.fullmatch(r"\w+(\.\w+)*", item):
            names.append(item)
        else:
            raise TypeError(f"{label} must have exception types or their names, not {_name(item)}")
    return tuple(sorted(names)) if isinstance(value, (set, frozenset)) else tuple(names)


def _variables(label: str, value: Any) -> tuple[str, ...]:
    return tuple(_variable(label, name) for name in _names(label, value))


def _variable(label: str, name: Any) -> str:
    if "=" in _text(label, name) or "\0" in name:
        raise ValueError(f"{label} has a name that no environment variable can have")
    return str(name)


def _settings(label: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise TypeError(f"{label} must be a dict of texts, not {_name(value)}")
    for name, text in value.items():
        _variable(label, name)
        if not isinstance(text, str):
            raise TypeError(f"{label} has {_name(text)} for {name!r}: values must be texts")
    return dict(value)


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "data_type": lambda _label, value: value,
    "inputs": _names,
    "batch_size": _count,
    "num_cpus": _positive,
    "num_gpus": _gpus,
    "pool": _one_of("cpu", "gpu", "ray-cpu"),
    "gpu_class": _class_name,
    "batch_bytes": _bytes,
    "memory": _memory_mib,
    "row_timeout": _positive,
    "init_timeout": _positive,
    "on_error": _one_of("skip", "fail"),
    "max_attempts": _count,
    "retry_on": _exceptions,
    "version": _text,
    "secrets": _variables,
    "env": _settings,
}
