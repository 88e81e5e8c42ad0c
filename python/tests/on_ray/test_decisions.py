"""What is wanted of which node, and what is done about it: functions without a cluster."""

import dataclasses
import json

import pytest

from lance_backfill.ray.command import Orders, command, next_pause, variables
from lance_backfill.ray.decisions import DRAINED, DRAINING, SILENT, STARTING, Seen, decide
from lance_backfill.ray.names import ActorName, parse_name
from lance_backfill.ray.placement import Node, place
from lance_backfill.ray.pool import BadPool, Group, Pool, parse_pool
from lance_backfill.ray.process import in_words

GROUP = Group("a10g", "a10g", gpus=1, workers_per_gpu=1, cpus=4, at_once=2, grace_s=120)
POOL = Pool("embeddings", "s3://lake/backfill", "0" * 8, (GROUP,))
HEAD = Node("n0", "headgroup", gpus=0, cpus=0)


def pool_of(*groups, revision="0" * 8):
    return dataclasses.replace(POOL, groups=groups, revision=revision)


def group_of(name="a10g", **fields):
    return dataclasses.replace(GROUP, name=name, **fields)


def gpu_nodes(count, group="a10g", gpus=1.0):
    return [Node(f"n{index}", group, gpus, 4) for index in range(1, count + 1)]


def test_one_share_for_each_part_of_each_device():
    placed = place(pool_of(group_of(gpus=2, workers_per_gpu=3)), [HEAD, *gpu_nodes(2, gpus=2)])
    assert len(placed.shares) == 12
    assert {share.gpus for share in placed.shares} == {0.3333}
    assert {share.cpus for share in placed.shares} == {0.6666}
    assert len({share.name for share in placed.shares}) == 12
    assert placed.refused == {}


def test_workers_without_devices_have_a_node_each():
    group = group_of("cpus", worker_class="ray-cpu", gpus=0, cpus=6)
    placed = place(pool_of(group), [HEAD, *gpu_nodes(2, "cpus", gpus=0)])
    assert [(share.gpus, share.cpus) for share in placed.shares] == [(0, 4), (0, 4)]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([HEAD], "no node of group 'a10g' is up; there are nodes of: headgroup"),
        (gpu_nodes(1, "l4"), "no node of group 'a10g' is up; there are nodes of: l4"),
        (gpu_nodes(1, None, gpus=0), "asks for 1 GPUs, and no node has more than 0"),
        ([], "asks for 1 GPUs, and no node has more than 0"),
        (gpu_nodes(1, gpus=0), "its node n1 has 0: is the device plugin running"),
    ],
)
def test_what_does_not_fit_has_a_reason(nodes, reason):
    placed = place(POOL, nodes)
    assert placed.shares == ()
    assert reason in placed.refused["a10g"]


def test_nodes_without_labels_serve_whatever_fits():
    small, large = Node("n1", None, 0, 4), Node("n2", None, 1, 4)
    placed = place(pool_of(GROUP, group_of("second")), [small, large])
    assert [(share.name.group, share.name.node) for share in placed.shares] == [("a10g", "n2")]
    assert "other groups leave 0 of the 1 of node n2" in placed.refused["second"]


def test_names_are_read_as_they_are_written():
    name = ActorName("a10g", "0a1b2c3d", "f" * 56, 3)
    assert parse_name(str(name)) == name
    assert name.worker == "a10g-0a1b2c3d-ffffffffffff-3"
    for other in ("a10g", "a/b/c", "a/b/c/d", "a/b/c/1/2", "a//c/1", "a/b/c/-1", "a/b/c/²"):
        assert parse_name(other) is None


def seen(shares, state):
    return [Seen(share.name, state) for share in shares]


def test_missing_actors_are_made_and_others_left_alone():
    nodes = gpu_nodes(2)
    first, second = place(POOL, nodes).shares
    steps = decide((first, second), seen([first], "working"), {"n1", "n2"})
    assert (steps.remove, steps.drain, steps.create) == ((), (), (second,))
    for state in ("working", "waiting", "leaving", STARTING, SILENT, DRAINING):
        steps = decide((first,), seen([first], state), {"n1"})
        assert (steps.remove, steps.drain, steps.create) == ((), (), ())


def test_old_revision_makes_room_one_by_one():
    nodes = gpu_nodes(1)
    old = place(pool_of(group_of(workers_per_gpu=2)), nodes).shares
    new = place(pool_of(group_of(workers_per_gpu=2), revision="1" * 8), nodes).shares
    there = seen(old, "working")
    assert decide(new, there, {"n1"}).drain == (old[0].name,)
    there[0] = Seen(old[0].name, DRAINING)
    steps = decide(new, there, {"n1"})
    assert (steps.remove, steps.drain, steps.create) == ((), (), ())
    there[0] = Seen(old[0].name, DRAINED)
    steps = decide(new, there, {"n1"})
    assert steps.remove == (old[0].name,)
    assert steps.create == ()
    assert decide(new, there[1:], {"n1"}).create == (new[0],)
    there[0] = Seen(new[0].name, STARTING)
    assert decide(new, there, {"n1"}).drain == ()
    there[0] = Seen(new[0].name, "working")
    assert decide(new, there, {"n1"}).drain == (old[1].name,)


def test_what_nobody_wants_drains_at_once():
    nodes = gpu_nodes(1)
    old = place(pool_of(group_of(workers_per_gpu=4)), nodes).shares
    assert decide((), seen(old, "working"), {"n1"}).drain == tuple(share.name for share in old)
    # It may only not have been asked yet; one that waits for a device for ever has nothing at work.
    steps = decide((), seen(old, STARTING), {"n1"})
    assert (steps.remove, steps.drain) == ((), ())
    assert decide((), seen(old, SILENT), {"n1"}).remove == tuple(share.name for share in old)


def test_actor_whose_node_is_gone_is_removed():
    (share,) = place(POOL, gpu_nodes(1)).shares
    assert decide((), seen([share], "working"), set()).remove == (share.name,)


def test_worker_is_started_as_its_contract_says():
    orders = Orders("a10g-0-n1-0", "s3://lake/backfill", "a10g", 0.5, 2, 120.0)
    around = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "RAY_AUTH_TOKEN": "secret",
        "LANCE_BACKFILL_POOL": "{}",
    }
    assert command(orders, around, "/run/drain") == [
        "lance-backfill",
        "worker",
        "--service=s3://lake/backfill",
        "--class=a10g",
        "--name=a10g-0-n1-0",
        "--at-once=2",
        "--grace=120",
        "--drain=/run/drain",
    ]
    assert command(orders, {"LANCE_BACKFILL_PROGRAM": "/opt/it"}, None)[0] == "/opt/it"
    assert variables(orders, around) == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "LANCE_BACKFILL_GPUS": "0.5",
    }
    assert "LANCE_BACKFILL_GPUS" not in variables(dataclasses.replace(orders, gpus=0.0), around)


def test_pauses_grow_while_it_dies_at_once():
    pauses, pause = [], 0.0
    for _ in range(9):
        pause = next_pause(pause, lasted=0.1)
        pauses.append(pause)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert next_pause(60.0, lasted=61.0) == 0.5


POOL_FIELDS = {
    "version": 1,
    "pool": "embeddings",
    "service": "s3://lake/backfill",
    "revision": "0" * 8,
    "groups": [
        {
            "name": "a10g",
            "class": "a10g",
            "gpus": 1,
            "workers_per_gpu": 1,
            "cpus": 4,
            "at_once": 2,
            "grace_s": 120,
        }
    ],
}


def test_pool_is_read():
    assert parse_pool(json.dumps(POOL_FIELDS)) == POOL


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 2}, "has version 2, and the image's lance_backfill reads 1"),
        ({"pool": "Not A Name"}, "pool 'Not A Name' is no name"),
        ({"service": ""}, "service is missing"),
        ({"revision": "xyz"}, "revision 'xyz' is not 8 hexadecimal digits"),
        ({"groups": None}, "no list of groups"),
        ({"groups": ["a10g"]}, "a group is not a JSON object"),
        ({"groups": POOL_FIELDS["groups"] * 2}, "two groups 'a10g'"),
        ({"groups": [{**POOL_FIELDS["groups"][0], "gpus": -1}]}, "gpus -1 is no number of 0"),
        ({"groups": [{**POOL_FIELDS["groups"][0], "workers_per_gpu": 0}]}, "at least 1"),
        ({"groups": [{**POOL_FIELDS["groups"][0], "class": "a/b"}]}, "class 'a/b' is no name"),
    ],
)
def test_bad_pool_says_what_is_wrong(changed, reason):
    with pytest.raises(BadPool, match=reason):
        parse_pool(json.dumps(POOL_FIELDS | changed))


@pytest.mark.parametrize(("text", "reason"), [(None, "is not set"), ("{", "not JSON"), ("1", "no")])
def test_no_pool_says_so(text, reason):
    with pytest.raises(BadPool, match=reason):
        parse_pool(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("error: there is no service", "there is no service"),
        ('{"level":"ERROR","message":"cannot pull","error":"denied"}', "cannot pull: denied"),
        ('{"level":"ERROR"}', '{"level":"ERROR"}'),
        ("12", "12"),
    ],
)
def test_last_words_of_a_worker(line, words):
    assert in_words(line) == words
