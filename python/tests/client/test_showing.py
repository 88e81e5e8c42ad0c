"""Bars, and what they are fed with."""

import io
import sys
import types

import pytest
import texts as functions

from lance_backfill.client.child import Child
from lance_backfill.client.showing import (
    LineBar,
    NotebookBar,
    Silence,
    TqdmBar,
    bar_of,
    follow,
    next_pause_s,
    text_of,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_line_is_written_over_and_cleared(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    bar = bar_of("n", wanted=None)
    assert isinstance(bar, LineBar)
    bar.show(1000, 2000, 10)
    bar.show(2000, 2000, 0)
    bar.close()
    first, second, gone, _ = terminal.getvalue().removeprefix("\r").split("\r")
    assert first == "n: 50% 1,000/2,000 rows, 10 failed"
    assert second == "n: 100% 2,000/2,000 rows".ljust(len(first))
    assert not gone.strip()


def test_silence_where_nobody_watches(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(bar_of("n", wanted=None), Silence)
    assert isinstance(bar_of("n", wanted=False), Silence)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert isinstance(bar_of("n", wanted=True), LineBar)


def test_bar_of_tqdm(monkeypatch):
    pytest.importorskip("tqdm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = bar_of("n", wanted=None)
    assert isinstance(bar, TqdmBar)
    bar.show(0, 10, 0)
    bar.show(5, 10, 1)
    bar.close()
    assert "5/10" in terminal.getvalue()


def test_bar_of_a_notebook(monkeypatch):
    ipython = pytest.importorskip("IPython")
    from IPython.utils.capture import capture_output

    shell = ipython.core.interactiveshell.InteractiveShell.instance()
    monkeypatch.setattr(shell, "kernel", types.SimpleNamespace(), raising=False)
    bar = bar_of("<n>", wanted=None)
    assert isinstance(bar, NotebookBar)
    with capture_output() as captured:
        bar.show(5, 10, 0)
    (shown,) = captured.outputs
    assert shown.data["text/html"] == (
        '<progress value="5" max="10"></progress> &lt;n&gt;: 50% 5/10 rows'
    )


def test_text_of_nothing():
    assert text_of("n", 0, 0, 0) == "n: 100% 0/0 rows"


def test_looks_take_a_tenth_of_the_time():
    assert [next_pause_s(last, 0.01) for last in (0.2, 1.5, 2.0)] == [0.4, 2.0, 2.0]
    assert next_pause_s(0.2, 1.0) == 9.0


class Remembering:
    def __init__(self):
        self.shown = []
        self.closed = False

    def show(self, *rows):
        self.shown.append(rows)

    def close(self):
        self.closed = True


def test_process_tells_its_progress():
    """What the process writes is taken; as long as it writes nothing, somebody is asked."""
    script = (
        "import os, sys, time\n"
        "assert os.environ['LANCE_BACKFILL_PROGRESS'] == 'json'\n"
        'sys.stderr.write(\'a note\\n{"progress":{"rows_done":1,"rows_total":4}}\\n\')\n'
        'sys.stderr.write(\'{"progress":{"rows_done":2,"rows_total":4}}\\n\')\n'
        'sys.stderr.write(\'{"progress":{"ro\')\n'
        "sys.stderr.flush(); time.sleep(0.5)\n"
    )
    child = Child([sys.executable, "-c", script], own_session=False)
    bar = Remembering()
    follow(child, bar, lambda: (0, 4, 0))
    assert bar.closed
    assert set(bar.shown) <= {(0, 4, 0), (2, 4, 0)}
    assert child.rows() == (2, 4)
    assert child.notes() == ["a note"]


def test_calls_show_how_far_they_are(texts, capfd):
    texts.add_columns({"c": functions.Counter}, env="current")
    texts.backfill("c", progress=True)
    texts.refresh(progress=True)
    assert "Traceback" not in capfd.readouterr().err
