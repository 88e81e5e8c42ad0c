"""Functions of texts."""

import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lance_backfill import udf


@udf
def words(text: str | None) -> int | None:
    """Words of a text; a text that says so fails."""
    if text == "fails":
        raise ValueError("this text has no words")
    return None if text is None else len(text.split())


@udf(data_type="int64")
def lengths(text: pa.Array):
    return pc.utf8_length(text)


@udf
class Counter:
    def __init__(self):
        self.calls = 0

    def __call__(self, text: str | None) -> int:
        self.calls += 1
        return self.calls


@dataclass
class Size:
    words: int
    letters: int


@udf
def size(text: str) -> Size:
    return Size(len(text.split()), len(text))


@udf
def gated(gate: str, at: int) -> int:
    """Waits until the file is there that `gate` names, if it names one; not for ever."""
    give_up = time.monotonic() + 120
    while gate and not Path(gate).exists():
        if time.monotonic() > give_up:
            raise TimeoutError(gate)
        time.sleep(0.01)
    return at


@udf
class Unloadable:
    def __init__(self):
        raise RuntimeError("there is no model here")

    def __call__(self, text: str) -> int:
        return len(text)
