"""What the supervisor is told to keep up: the variable `LANCE_BACKFILL_POOL`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

VARIABLE = "LANCE_BACKFILL_POOL"
VERSION = 1

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_REVISION = re.compile(r"[0-9a-f]{8}")
_LONGEST_NAME = 63


class BadPool(ValueError):
    """The variable cannot be used; the message says what to change."""


@dataclass(frozen=True)
class Group:
    """Workers of one kind: nodes of one label, one class of queues.

    Attributes:
        gpus: Devices that a node of the group has for it; 0 for workers that use only CPUs.
        workers_per_gpu: How many workers share a device.
        cpus: What all workers of one node may use.
        at_once: Batches that a worker takes at once.
        grace_s: How long a worker that is told to stop may finish what it has at work.
    """

    name: str
    worker_class: str
    gpus: int
    workers_per_gpu: int
    cpus: float
    at_once: int
    grace_s: float


@dataclass(frozen=True)
class Pool:
    """The groups of one pool in one revision; a pool without groups is one to drain."""

    name: str
    service: str
    revision: str
    groups: tuple[Group, ...]


def parse_pool(text: str | None) -> Pool:
    """The pool that the variable tells.

    Raises:
        BadPool: it is not set, or is not what this version of the package understands.
    """
    if not text:
        raise BadPool(f"{VARIABLE} is not set: 'lance-backfill pool apply' submits the supervisor")
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise BadPool(f"{VARIABLE} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BadPool(f"{VARIABLE} is not a JSON object")
    version = fields.get("version")
    if version != VERSION:
        raise BadPool(
            f"{VARIABLE} has version {version!r}, and the image's lance_backfill reads {VERSION}: "
            "image and 'lance-backfill pool' are to be of one version"
        )
    groups = fields.get("groups")
    if not isinstance(groups, list):
        raise BadPool(f"{VARIABLE} has no list of groups")
    pool = Pool(
        name=_name(fields, "pool"),
        service=_text(fields, "service"),
        revision=_text(fields, "revision"),
        groups=tuple(_group(one) for one in groups),
    )
    if not _REVISION.fullmatch(pool.revision):
        raise BadPool(f"{VARIABLE}: revision {pool.revision!r} is not 8 hexadecimal digits")
    names = [group.name for group in pool.groups]
    for name in names:
        if names.count(name) > 1:
            raise BadPool(f"{VARIABLE} has two groups '{name}'")
    return pool


def _group(fields: Any) -> Group:
    if not isinstance(fields, dict):
        raise BadPool(f"{VARIABLE}: a group is not a JSON object")
    group = Group(
        name=_name(fields, "name"),
        worker_class=_name(fields, "class"),
        gpus=int(_number(fields, "gpus", 0)),
        workers_per_gpu=int(_number(fields, "workers_per_gpu", 1)),
        cpus=_number(fields, "cpus", 1),
        at_once=int(_number(fields, "at_once", 2)),
        grace_s=_number(fields, "grace_s", 120),
    )
    if group.workers_per_gpu < 1 or group.at_once < 1:
        raise BadPool(
            f"{VARIABLE}: group '{group.name}' needs workers_per_gpu and at_once of at least 1"
        )
    return group


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if not isinstance(value, str) or not value:
        raise BadPool(f"{VARIABLE}: {key} is missing, or is no text")
    return value


def _name(fields: dict[str, Any], key: str) -> str:
    value = _text(fields, key)
    if len(value) > _LONGEST_NAME or not _NAME.fullmatch(value):
        raise BadPool(
            f"{VARIABLE}: {key} {value!r} is no name: lower-case letters, digits and '-', "
            f"at most {_LONGEST_NAME}"
        )
    return value


def _number(fields: dict[str, Any], key: str, default: float) -> float:
    value = fields.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise BadPool(f"{VARIABLE}: {key} {value!r} is no number of 0 or more")
    return value
