"""Functions that go wrong, each in its own way."""

import ctypes
import os
import re
import sys
import time

import pyarrow as pa

from lance_backfill import RateLimited, Transient, udf


class ApiTimeout(Exception):
    pass


class Throttled(Exception):
    status_code = 429

    class response:
        headers = {"Retry-After": "7"}


class HttpError(Exception):
    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


def _raise(what):
    if what == "value":
        raise ValueError("two\nlines")
    if what == "long":
        raise ValueError("x" * 10_000)
    if what == "secret":
        raise ValueError(f"bad key {os.environ['TOKEN']}")
    if what == "exit":
        sys.exit("enough")
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "memory":
        raise MemoryError
    if what == "recursion":
        return _raise(what)
    if what == "connection":
        raise ConnectionResetError("gone")
    if what == "timeout":
        raise TimeoutError("slow")
    if what == "named":
        raise ApiTimeout("slow")
    if what == "transient":
        raise Transient("again", retry_after=3)
    if what == "limited":
        raise RateLimited("later", retry_after=2.5)
    if what == "throttled":
        raise Throttled
    if what.startswith("http"):
        raise HttpError(int(what[4:]))
    if what == "os-exit":
        os._exit(3)
    if what == "segfault":
        ctypes.string_at(0)
    if what == "hang":
        time.sleep(60)
    if what == "regex":
        re.match("(a+)+$", 64 * "a" + "b")
    if what == "unprintable":
        raise Unprintable
    return len(what)


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")


@udf
def fault(what: str | None) -> int | None:
    return None if what is None else _raise(what)


@udf(data_type="int64")
def batched(what: pa.Array):
    return [_raise(item) for item in what.to_pylist()]


@udf
def printing(x: int) -> int:
    print(f"row {x}")
    os.write(1, b"raw\n")
    os.system("echo child")
    print("to stderr", file=sys.stderr)
    print("no newline", end="")
    return x


@udf
def progress(x: int) -> int:
    sys.stderr.write(f"\r{x} %")
    time.sleep(60)
    return x


def _fork(how):
    """The status of a child; what else it does is what a host must not let it do."""
    print("forks")
    child = os.fork()
    if child == 0:
        if how == "raise":
            raise ValueError(how)
        if how == "exit":
            sys.exit(0)
        return 77
    for _ in range(3000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    return -1


@udf
def forking(how: str) -> int:
    return 0 if how == "not" else _fork(how)


@udf(data_type="int64")
def forking_batched(how: pa.Array):
    return [_fork(how[0].as_py())]


@udf
class Forking:
    def __init__(self):
        self.status = _fork("return")

    def __call__(self, how: str) -> int:
        return self.status


@udf
def reading(x: int) -> str:
    return sys.stdin.read()


@udf
class Broken:
    def __init__(self):
        raise RuntimeError("no model")

    def __call__(self, x: int) -> int:
        return x


@udf
def shaky(x: int) -> int:
    if x in (2, 5):
        raise RuntimeError("CUDA error: device-side assert triggered")
    return x
