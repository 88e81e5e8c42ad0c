#!/usr/bin/env python3
"""Stands in for `lance-backfill worker`, of which an actor knows the arguments and the signals.

Its queue is a folder: `todo/NAME` holds the seconds that a batch takes, or `gate`, and it waits for
such a file; `work/NAME` is at work, `done/NAME` tells who did it.  It loads its "model" once, and
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
        with suppress(OSError, ValueError):
            owner = int(path.read_text().split()[1])
            if not Path(f"/proc/{owner}").exists():
                note("redeliveries", batch=path.name)
                path.write_text(f"{path.read_text().split()[0]} {os.getpid()}")
                return path
    for path in sorted((queue / "todo").iterdir()):
        at_work = queue / "work" / path.name
        with suppress(FileNotFoundError):
            path.rename(at_work)
            at_work.write_text(f"{at_work.read_text()} {os.getpid()}")
            return at_work
    return None


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
        path = take()
        if path is None:
            time.sleep(0.02)
            continue
        note("begun", batch=path.name)
        takes = path.read_text().split()[0]
        if takes == "gate":
            while not (queue / "gate").exists():
                time.sleep(0.02)
        else:
            time.sleep(float(takes))
        path.rename(queue / "done" / path.name)
        note("finished", batch=path.name)
    if given.drain is not None:
        (given.drain / f"done-{given.name}").touch()
    say(level="INFO", message="stopped")
    return 0


sys.exit(main())
