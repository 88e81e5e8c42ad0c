"""Shows progress: a bar in notebooks and terminals, nothing elsewhere."""

from __future__ import annotations

import contextlib
import html
import shutil
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from .errors import BackfillError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .child import Child

# Between two looks at a job: each one opens the table.  Short work is over before the first, and
# a long one is looked at often enough for a person.
FIRST_PAUSE_S, _LAST_PAUSE_S = 0.2, 2.0
# Looking takes at most a tenth of the time, also where opening the table takes long.
_PAUSE_PER_LOOK = 9


class Bar(Protocol):
    """Something that shows how far work is."""

    def show(self, done: int, total: int, failed: int) -> None:
        """Shows these numbers of rows."""

    def close(self) -> None:
        """Shows no more."""


def follow(child: Child, bar: Bar, ask: Callable[[], tuple[int, int, int]]) -> None:
    """Waits for a process, and shows meanwhile how far it is.

    `ask` says that, in rows done, in all, and failed, as long as the process itself does not.
    """
    if isinstance(bar, Silence):
        child.wait()
        return
    pause_s = FIRST_PAUSE_S
    try:
        while not child.wait(pause_s):
            begun = time.monotonic()
            # Not to see how far the work is does not stop the work.
            with contextlib.suppress(BackfillError):
                told = child.rows()
                bar.show(*(ask() if told is None else (*told, 0)))
            pause_s = next_pause_s(pause_s, time.monotonic() - begun)
    finally:
        bar.close()


def next_pause_s(last_s: float, look_s: float) -> float:
    """How long to wait after a look that took so long."""
    return max(min(last_s * 2, _LAST_PAUSE_S), look_s * _PAUSE_PER_LOOK)


def bar_of(label: str, *, wanted: bool | None) -> Bar:
    """The bar that fits where we run; None if `wanted` is one where somebody watches."""
    if wanted is False:
        return Silence()
    if _in_notebook():
        return NotebookBar(label)
    if not (wanted or sys.stderr.isatty()):
        return Silence()
    try:
        tqdm = import_module("tqdm")
    except ImportError:
        return LineBar(label)
    return TqdmBar(label, tqdm.tqdm)


def _in_notebook() -> bool:
    """Whether IPython runs here with a front end that shows HTML."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")


class Silence:
    """Shows nothing."""

    def show(self, done: int, total: int, failed: int) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class LineBar:
    """A line of a terminal that is written over."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._width = 0

    def show(self, done: int, total: int, failed: int) -> None:
        """Writes the line anew."""
        line = text_of(self._label, done, total, failed)[: shutil.get_terminal_size().columns - 1]
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def close(self) -> None:
        """Clears the line."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()


class TqdmBar:
    """A bar of tqdm."""

    def __init__(self, label: str, make: Callable[..., Any]) -> None:
        self._label = label
        self._make = make
        self._bar: Any = None

    def show(self, done: int, total: int, failed: int) -> None:
        """Moves the bar, which appears with the first numbers."""
        if self._bar is None:
            self._bar = self._make(
                desc=self._label, unit=" rows", total=total, initial=done, leave=False
            )
        self._bar.total = total
        self._bar.n = done
        if failed:
            self._bar.set_postfix(failed=failed, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()


class NotebookBar:
    """A bar in the output of a notebook's cell."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._handle: Any = None

    def show(self, done: int, total: int, failed: int) -> None:
        """Moves the bar, which appears with the first numbers."""
        display = import_module("IPython.display")
        text = html.escape(text_of(self._label, done, total, failed))
        shown = display.HTML(f'<progress value="{done}" max="{max(total, 1)}"></progress> {text}')
        if self._handle is None:
            self._handle = display.display(shown, display_id=True)
        else:
            self._handle.update(shown)

    def close(self) -> None:
        """Leaves nothing behind in the cell."""
        if self._handle is not None:
            self._handle.update(import_module("IPython.display").HTML(""))


def text_of(label: str, done: int, total: int, failed: int) -> str:
    """The numbers as a line."""
    percent = 100 * done // total if total else 100
    text = f"{label}: {percent}% {done:,}/{total:,} rows"
    return f"{text}, {failed:,} failed" if failed else text
