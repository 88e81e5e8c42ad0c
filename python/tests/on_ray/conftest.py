"""A real Ray head in token mode, with a fake device, and a pool of its own for each test."""

import os
import subprocess
import textwrap
import uuid

import pytest

from lance_backfill.ray.head import RAY_VARIABLE, LocalHead
from on_ray.deployment import IMAGE, Deployment, program
from on_ray.support import STAND_IN, Jobs, Queue, eventually, folder_of_ray

# Processes of a head import the package from here: what they would leave beside it makes cargo
# build the program again, which carries these files.
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def cannot_run(why):
    """Skips a test, which CI does not allow."""
    message = f"SKIPPED: {why}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def ray_program():
    folder, why = folder_of_ray()
    if folder is None:
        cannot_run(f"Ray cannot be installed here: {why}")
    return folder / "bin/ray"


@pytest.fixture(scope="session")
def drain_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("drain")


@pytest.fixture(scope="session")
def lock_folder(tmp_path_factory):
    """Where the actors keep the locks of their shares."""
    return tmp_path_factory.mktemp("tmp") / f"lance-backfill-{os.getuid()}"


@pytest.fixture(scope="session")
def head(ray_program, drain_folder, lock_folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RAY_VARIABLE, str(ray_program))
        variables = {
            "HOME": str(home),
            "LANCE_BACKFILL_PROGRAM": str(STAND_IN),
            "LANCE_BACKFILL_DRAIN": str(drain_folder),
            "TMPDIR": str(lock_folder.parent),
        }
        with LocalHead(gpus=1, cpus=4, variables=variables) as started:
            yield started
            # A head that is given its token has no reason to write one for others to find.
            assert not (home / ".ray/auth_token").exists()
        assert started.processes() == []


@pytest.fixture
def jobs(head):
    return Jobs(head)


@pytest.fixture
def queue(tmp_path):
    return Queue(tmp_path / "queue")


@pytest.fixture
def start(jobs, queue):
    """Starts supervisors of the test's own pool, and drains that at the end."""
    name = f"pool-{uuid.uuid4().hex[:6]}"
    started = []

    def pool(**group):
        groups = [{"name": "fake", "class": "fake", "gpus": 1, "cpus": 1, "grace_s": 20, **group}]
        return {
            "version": 1,
            "pool": name,
            "service": str(queue.folder),
            "revision": uuid.uuid4().hex[:8],
            "groups": groups,
        }

    def make(revision=None, groups=None, **group):
        wanted = pool(**group)
        if revision is not None:
            wanted["revision"] = revision
        if groups is not None:
            wanted["groups"] = groups
        started.append(jobs.submit(wanted))
        return started[-1]

    yield make
    if started:
        drained = make(groups=[])
        eventually(lambda: drained.state == "SUCCEEDED")
        for one in started:
            eventually(lambda: one.state not in {"PENDING", "RUNNING"})  # noqa: B023


@pytest.fixture
def run_on_head(head, ray_program):
    """Runs a driver beside the head, and returns the lines that it printed."""

    def run(code):
        done = subprocess.run(
            [
                ray_program.parent / "python",
                "-c",
                "import os, ray\nray.init(log_to_driver=False)\n" + textwrap.dedent(code),
            ],
            env={**os.environ, **head.environment()},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def service(request, tmp_path, monkeypatch):
    """A deployment, with settings if a test gives some."""
    binary = program("lance-backfill")
    if not binary.is_file() or not program("bootstrap").is_file():
        cannot_run("the binary is not built: cargo build --release")
    folder = tmp_path / "service"
    folder.mkdir()
    environment = {"all": {"LANCE_BACKFILL_BATCH_ROWS": "10"}}
    settings = {"classes": ["fake"], "environment": environment, **getattr(request, "param", {})}
    with Deployment(folder, **settings) as deployed:
        for name, value in {**deployed.variables, "LANCE_BACKFILL_IMAGE": IMAGE}.items():
            monkeypatch.setenv(name, value)
        yield deployed
