"""A Ray head of one's own starts, says why it does not, and leaves nothing behind."""

import subprocess
import sys
import textwrap

import pytest

import lance_backfill
from lance_backfill.ray.head import RAY_VARIABLE, HeadFailed, LocalHead, find_ray
from on_ray.support import REPOSITORY, eventually, is_alive, kill


def test_head_ends_with_its_owner(ray_program):
    """Also with one that is killed, and can stop nothing any more."""
    code = """
        import time
        from lance_backfill.ray.head import LocalHead

        head = LocalHead(gpus=0, cpus=1)
        head.start()
        print(*head.processes(), flush=True)
        time.sleep(600)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY / "python/src")}
        | {RAY_VARIABLE: str(ray_program)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        processes = [int(word) for word in owner.stdout.readline().split()]
        assert len(processes) > 5
        kill(owner.pid)
    eventually(lambda: not any(is_alive(one) for one in processes), 30)


def test_no_ray_says_what_to_install(monkeypatch):
    monkeypatch.setenv(RAY_VARIABLE, "no-such-ray")
    with pytest.raises(HeadFailed, match=r"no program no-such-ray: pip install 'ray\[default\]=="):
        find_ray()


def test_head_that_cannot_start_says_why(ray_program, monkeypatch):
    monkeypatch.setenv(RAY_VARIABLE, str(ray_program))
    head = LocalHead(cpus=1, gpus=-1)
    with pytest.raises(HeadFailed, match="ended as it started"), head:
        pass
    assert head.processes() == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"local": True, "existing": {}}, "local= starts a Ray of its own"),
        ({"gpus": 1}, "gpus= is for local=True"),
    ],
)
def test_contradictions_are_refused(given, reason):
    pool = lance_backfill.ray_cluster(name="p", service="s3://a/b", worker_groups=[], **given)
    with pytest.raises(lance_backfill.BadInput, match=reason), pool:
        pass
