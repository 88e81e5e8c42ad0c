"""`ray_cluster`: the program's pool on a local Ray, and what it says where that cannot be."""

import pytest

import lance_backfill
from lance_backfill.ray.guard import marked
from lance_backfill.ray.head import RAY_VARIABLE, VERSION
from on_ray.columns import Column
from on_ray.deployment import SERVICE, program
from on_ray.support import eventually

GROUP = {"name": "fake", "class": "fake", "gpus": 1, "cpus": 1, "grace_s": 20}


def pool(**given):
    fields = {
        "name": "trial",
        "service": SERVICE,
        "ray_version": VERSION,
        "worker_groups": [GROUP],
        "binary": program("lance-backfill"),
        "timeout": 180,
    }
    return lance_backfill.ray_cluster(**{**fields, **given})


def test_local_ray_fills_a_column(service, ray_program, tmp_path, monkeypatch):
    monkeypatch.setenv(RAY_VARIABLE, str(ray_program))
    # All that is started from now on has it.
    monkeypatch.setenv("LANCE_BACKFILL_TEST", tmp_path.name)
    mine = f"LANCE_BACKFILL_TEST={tmp_path.name}"
    with pool(local=True, gpus=1) as cluster:
        column = Column(service, tmp_path, program("lance-backfill"), seconds=0.05)
        column.wait_filled()
        assert len(column.noted("load")) == 1
        status = cluster.status()
        (group,) = status["groups"]
        assert (status["supervisor"]["state"], group["workers"]) == ("RUNNING", 1)
        assert len(marked(mine)) > 5
    assert marked(mine) == []
    eventually(lambda: service.waiting("fake-fresh") + service.waiting("fake-bulk") == 0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"ray_version": "2.50.0"}, f"runs Ray {VERSION}, and the pool file says 2.50.0"),
        ({"worker_groups": [{**GROUP, "class": "other"}]}, "has no class 'other'"),
        ({"worker_groups": [{**GROUP, "gpus": 2}]}, "needs 2 GPUs, and the largest node"),
    ],
)
def test_what_cannot_work_is_told(service, head, given, reason):
    existing = {"address": head.address, "token": head.token}
    with (
        pytest.raises(lance_backfill.BackfillError, match=reason),
        pool(existing=existing, **given),
    ):
        pass


def test_wrong_token_is_told(service, head):
    existing = {"address": head.address, "token": "wrong" * 13}
    refused = pytest.raises(lance_backfill.BackfillError, match="token")
    with refused, pool(existing=existing):
        pass
