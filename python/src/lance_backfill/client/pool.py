"""Workers on Ray for as long as a block of code runs, or for longer: `ray_cluster`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lance_backfill.ray.command import PROGRAM_VARIABLE
from lance_backfill.ray.head import HeadFailed, LocalHead

from .binary import INTERPRETER_VARIABLE, Binary, find_binary, options
from .errors import BackfillError, BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LOOK_S = 2.0
_SETTLE_S = 20.0
# Longer than any worker takes to finish what it has.
_DRAIN_S = 600.0
_ON_DEMAND = "on-demand"


class RayCluster:
    """A pool of workers; `ray_cluster` makes it."""

    def __init__(self, name: str, file: Path, binary: Binary) -> None:
        self.name = name
        self._file = file
        self._binary = binary

    def __repr__(self) -> str:
        return f"<RayCluster {self.name!r}>"

    def plan(self) -> dict[str, Any]:
        """What `apply` would change; nothing is."""
        return self._call("plan")

    def apply(self) -> dict[str, Any]:
        """Makes the cluster what the pool says; who keeps it so is `pool run`."""
        return self._call("apply")

    def status(self) -> dict[str, Any]:
        """Groups, workers and queues as they are, and why something does not work."""
        try:
            return self._call("status")
        except BackfillError as error:
            # It exits with 1 where something is wrong, and tells what.
            if isinstance(error.result, dict) and "causes" in error.result:
                return error.result
            raise

    def drain(self) -> dict[str, Any]:
        """Lets the workers finish what they have at work, and take no more."""
        return self._call("drain")

    def delete(self) -> dict[str, Any]:
        """Drains it, and takes the cluster away; work that is left stays in the queues."""
        return self._call("delete")

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps it as its pool says, and as large as its work, while the block runs."""
        listen = options(listen="127.0.0.1:0")
        child = self._binary.start(["pool", "run"], [str(self._file)], listen)
        try:
            yield
        finally:
            child.interrupt()

    def wait_until_ready(self, timeout: float) -> dict[str, Any]:
        """Waits until the head and its supervisor work, and returns the status then.

        Pods are not waited for: they come with the work, where the pool has none without.

        Raises:
            BackfillError: there is a reason that waiting does not help, or it took longer.
        """
        give_up = time.monotonic() + timeout
        wrong_since: float | None = None
        while True:
            status = self.status()
            if is_ready(status):
                return status
            errors, waits = causes(status, errors=True), causes(status, errors=False)
            # One look may fall between two turns of the controller.
            wrong_since = (wrong_since or time.monotonic()) if errors else None
            if wrong_since is not None and time.monotonic() - wrong_since > _SETTLE_S:
                raise BackfillError(f"the pool '{self.name}': {errors}", result=status)
            if time.monotonic() > give_up:
                raise BackfillError(
                    f"the pool '{self.name}' is not ready after {timeout:g} s: "
                    f"{errors or waits or 'its head does not answer'}; timeout= waits longer",
                    result=status,
                )
            time.sleep(_LOOK_S)

    def _call(self, command: str) -> dict[str, Any]:
        return cast("dict[str, Any]", self._binary.call(["pool", command], [str(self._file)]))


def is_ready(status: Mapping[str, Any]) -> bool:
    """Whether batches can be done as soon as there are workers."""
    supervisor = status.get("supervisor") or {}
    works = bool(status.get("head")) and supervisor.get("state") == "RUNNING"
    return works and not causes(status, errors=True)


def causes(status: Mapping[str, Any], *, errors: bool) -> str:
    """Why something does not work, or is waited for."""
    told = [one for one in status.get("causes", ()) if bool(one.get("is_error")) == errors]
    return "; ".join(f"{one.get('about')}: {one.get('text')}" for one in told)


@contextlib.contextmanager
def ray_cluster(
    *,
    name: str,
    service: str,
    worker_groups: Sequence[Mapping[str, Any]],
    namespace: str | None = None,
    head_group: Mapping[str, Any] | None = None,
    image: str | None = None,
    ray_version: str | None = None,
    service_account: str | None = None,
    auth: str | None = None,
    lifetime: str = _ON_DEMAND,
    waiting_for_node: str | None = None,
    existing: Mapping[str, Any] | None = None,
    local: bool = False,
    gpus: int | None = None,
    timeout: float = 1800.0,
    binary: str | os.PathLike[str] | None = None,
) -> Iterator[RayCluster]:
    """Workers on Ray that do the batches of a deployed service while the block runs.

    What is given here is what a pool file has, and the same commands are called: `lance-backfill
    pool apply` at the beginning, then `pool run`, which starts workers and scales them; and at the
    end, unless the pool is persistent, `pool delete`, by which workers finish their batches first.

    Args:
        name: The pool's name, which is the RayCluster's.
        service: The deployed service whose queues the workers serve.
        worker_groups: Groups of workers, such as `{"name": "a10g", "class": "a10g", "gpus": 1,
            "cpus": 4, "memory": "16Gi", "max": 4}`.
        namespace: Kubernetes namespace, by default `lance-backfill`.
        head_group: The head: cpus, memory, and what else a group of workers has.
        image: Image of head and workers, unless their groups name another.
        ray_version: Version of Ray in the image.
        service_account: Service account of the pods.
        auth: `"token"`, unless it is said to be `"disabled"`.
        lifetime: `"on-demand"`: gone at the end of the block, or `"persistent"`: it stays.
        waiting_for_node: How long a pod may wait for its node, such as `"30m"`.
        existing: A Ray cluster that is there already, and no Kubernetes: `{"address":
            "http://...:8265", "token": ...}`, or `"token_file"` in place of `"token"`.
        local: To try it: Ray is started on this machine, and stopped at the end.
        gpus: Devices of the local Ray; without it what Ray finds.
        timeout: Seconds to wait until work can be done.
        binary: The program `lance-backfill`, as with `table`.

    Raises:
        BadInput: what is given is no pool; nothing was changed.
        BackfillError: the cluster does not become ready, and why.
    """
    if local and existing is not None:
        raise BadInput("local= starts a Ray of its own, and existing= names another: give one")
    if gpus is not None and not local:
        raise BadInput("gpus= is for local=True; a group of workers has its own gpus")
    program = find_binary(binary)
    with contextlib.ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="lance-backfill-")))
        head = ending.enter_context(_local_head(program, gpus)) if local else None
        if head is not None:
            existing = {"address": head.address, "token_file": str(head.token_file)}
        fields = {
            "name": name,
            "namespace": namespace,
            "service": service,
            "ray_version": ray_version,
            "image": image,
            "service_account": service_account,
            "auth": auth,
            "lifetime": lifetime,
            "waiting_for_node": waiting_for_node,
            "head_group": head_group,
            "worker_groups": [dict(group) for group in worker_groups],
            "existing": None if existing is None else _with_token_file(existing, folder),
        }
        file = folder / "pool.yaml"
        # JSON is YAML.
        file.write_text(
            json.dumps({key: value for key, value in fields.items() if value is not None})
        )
        cluster = RayCluster(name, file, Binary(program))
        cluster.apply()
        if head is not None:
            ending.callback(_drain_local, cluster, head)
        elif lifetime == _ON_DEMAND:
            ending.callback(cluster.delete)
        ending.enter_context(cluster.kept())
        cluster.wait_until_ready(timeout)
        yield cluster


@contextlib.contextmanager
def _local_head(program: str, gpus: int | None) -> Iterator[LocalHead]:
    variables = {
        PROGRAM_VARIABLE: program,
        INTERPRETER_VARIABLE: os.environ.get(INTERPRETER_VARIABLE) or sys.executable,
    }
    try:
        head = LocalHead(gpus=gpus, variables=variables)
        head.start()
    except HeadFailed as error:
        raise BackfillError(str(error)) from None
    try:
        yield head
    finally:
        head.stop()


def _drain_local(cluster: RayCluster, head: LocalHead) -> None:
    """Lets the workers finish before the head goes, which would kill them."""
    job = f"/api/jobs/lance-backfill-{cluster.name}-{cluster.status()['revision']}-drain"
    cluster.drain()
    give_up = time.monotonic() + _DRAIN_S
    while time.monotonic() < give_up:
        _, told = head.ask(job)
        if told.get("status") in {"SUCCEEDED", "FAILED", "STOPPED"}:
            return
        time.sleep(_LOOK_S)


def _with_token_file(existing: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The token in a file that only we can read, as the pool file names no secrets."""
    made = dict(existing)
    token = made.pop("token", None)
    if token is not None:
        file = folder / "token"
        file.touch(mode=0o600)
        file.write_text(str(token))
        made["token_file"] = str(file)
    elif "token_file" in made:
        # The pool file's own folder is where it would be looked for.
        made["token_file"] = str(Path(made["token_file"]).absolute())
    return made
