#!/usr/bin/env python3
"""Stands in for `lance-backfill worker`, of which an actor knows the arguments and the signals.

Its queue is a folder: `todo/NAME` holds the seconds that a batch takes, or `gate`, and it waits for
such a file; `work/NAME@PID` is at work there, `done/NAME` is done.  It loads its "model" once, and
writes that to `loads`.
"""

import argparse
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["worker"])
for name in ("service", "class", "name"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--at-once", type=int)
parser.add_argument("--grace", type=float)
parser.add_argument("--drain", type=Path)
given = parser.parse_args()
queue = Path(given.service)
stopping = []


def say(**fields):
    sys.stderr.write(json.dumps(fields) + "\n")
    sys.stderr.flush()


def note(file, **fields):
    """A line of a file that many write."""
    line = json.dumps({"pid": os.getpid(), "worker": given.name, "at": time.time(), **fields})
    with (queue / file).open("a") as opened:
        opened.write(line + "\n")


def is_over():
    return bool(stopping) or (given.drain is not None and (given.drain / "request").exists())


def take():
    """A batch, also one whose worker is gone."""
    for path in sorted((queue / "work").iterdir()):
        name, _, owner = path.name.partition("@")
        # Whoever renames it first has it.
        if not Path(f"/proc/{owner}").exists():
            with suppress(FileNotFoundError):
                taken = path.rename(queue / "work" / f"{name}@{os.getpid()}")
                note("redeliveries", batch=name)
                return name, taken
    for path in sorted((queue / "todo").iterdir()):
        with suppress(FileNotFoundError):
            return path.name, path.rename(queue / "work" / f"{path.name}@{os.getpid()}")
    return None, None


def main():
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
    if (queue / "refuse").exists():
        say(level="ERROR", message="there is no such service")
        return 2
    note(
        "loads",
        devices=os.environ.get("CUDA_VISIBLE_DEVICES"),
        gpus=os.environ.get("LANCE_BACKFILL_GPUS"),
        of_ray=sorted(name for name in os.environ if name.startswith("RAY_")),
    )
    while not is_over():
        batch, path = take()
        if batch is None:
            time.sleep(0.02)
            continue
        note("begun", batch=batch)
        takes = path.read_text()
        if takes == "gate":
            while not (queue / "gate").exists():
                time.sleep(0.02)
        else:
            time.sleep(float(takes))
        path.rename(queue / "done" / batch)
        note("finished", batch=batch)
    if given.drain is not None:
        (given.drain / f"done-{given.name}").touch()
    say(level="INFO", message="stopped")
    return 0


sys.exit(main())
