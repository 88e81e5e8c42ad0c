"""What the tests of the Ray side need: the Jobs API, and a queue that is a folder."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
STAND_IN = Path(__file__).with_name("stand_in.py")
# Seconds in which what was killed is back.
SOON = 10


def eventually(check, seconds=180.0, every=0.2):
    """What `check` returns as soon as it is true; the test fails if that takes longer.

    A head that does not answer in time, on a busy machine, is asked again.
    """
    give_up = time.monotonic() + seconds
    while True:
        with contextlib.suppress(TimeoutError):
            found = check()
            if found:
                return found
        assert time.monotonic() < give_up, f"not within {seconds} s: {check}"
        time.sleep(every)


class Jobs:
    """The Jobs API of a head."""

    def __init__(self, head, token=None):
        self.head = head
        self.token = head.token if token is None else token

    def ask(self, method, path, body=None):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            self.head.address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    def code(self, path):
        """What the status of an answer is."""
        try:
            self.ask("GET", path)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code
        return 200

    def submit(self, pool):
        name = f"lance-backfill-{pool['pool']}-{pool['revision']}-{uuid.uuid4().hex[:6]}"
        variables = {"LANCE_BACKFILL_POOL": json.dumps(pool), "RAY_JOB_STOP_WAIT_TIME_S": "20"}
        body = {
            "entrypoint": "exec python -m lance_backfill.ray.supervisor",
            "submission_id": name,
            "runtime_env": {"env_vars": variables},
        }
        assert self.ask("POST", "/api/jobs/", body)["submission_id"] == name
        return Supervisor(self, name, pool)


class Supervisor:
    """A supervisor job."""

    def __init__(self, jobs, name, pool):
        self.jobs, self.name, self.pool = jobs, name, pool

    @property
    def state(self):
        return self.jobs.ask("GET", f"/api/jobs/{self.name}")["status"]

    @property
    def pid(self):
        """The process that runs the module; the job's own shell became it."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
                around = (path.parent / "environ").read_bytes()
            except OSError:
                continue
            if b"lance_backfill.ray.supervisor" in words and self.name.encode() in around:
                return int(path.parts[2])
        return None

    def said(self):
        logs = self.jobs.ask("GET", f"/api/jobs/{self.name}/logs")["logs"]
        return [json.loads(line) for line in logs.splitlines() if line.startswith("{")]

    def seen(self):
        """What it tells of the actors now, by their names."""
        for line in reversed(self.said()):
            if line["event"] == "actors":
                return line
        return None

    def working(self, count):
        """The actors, once so many of its revision work and there are no others."""

        def check():
            seen = self.seen()
            actors = seen["actors"] if seen else {}
            mine = [name for name in actors if name.split("/")[1] == self.pool["revision"]]
            states = [one["state"] for one in actors.values()]
            return actors if states == ["working"] * count and len(mine) == count else None

        return eventually(check)

    def stop(self):
        self.jobs.ask("POST", f"/api/jobs/{self.name}/stop")
        return eventually(lambda: self.state if self.state in {"STOPPED", "SUCCEEDED"} else None)


class Queue:
    """The stand-in's queue."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("todo", "work", "done"):
            (folder / name).mkdir(parents=True)

    def put(self, count, seconds, prefix="batch"):
        names = [f"{prefix}-{index:03}" for index in range(count)]
        for name in names:
            draft = self.folder / name
            draft.write_text(f"{seconds}")
            draft.rename(self.folder / "todo" / name)
        return names

    def open_gate(self):
        (self.folder / "gate").touch()

    def lines(self, file):
        path = self.folder / file
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def done(self):
        return sorted(path.name for path in (self.folder / "done").iterdir())

    def wait_done(self, names, seconds=180):
        eventually(lambda: set(names) <= set(self.done()), seconds)


def kill(pid, number=signal.SIGKILL):
    os.kill(pid, number)


def is_alive(pid):
    return Path(f"/proc/{pid}").exists() and not _is_zombie(pid)


def _is_zombie(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def folder_of_ray():
    """Where scripts/ray has installed it; None, with the reason, where that cannot be."""
    done = subprocess.run([REPOSITORY / "scripts/ray"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Path(done.stdout.strip()), ""
    return None, done.stderr.strip()
