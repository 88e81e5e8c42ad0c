"""The Ray cluster as the supervisor uses it: nodes, actors, and a few words that all jobs read."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorDiedError, RayActorError, RayError
from ray.experimental import internal_kv
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from .actor import WorkerActor
from .command import Orders
from .decisions import FAILED, SILENT, STARTING, Seen
from .names import NAMESPACE, ActorName, parse_name
from .placement import NODE_GROUP, Node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .placement import Share
    from .pool import Pool

# An actor answers within milliseconds; to start takes seconds, on a busy machine many.
PATIENCE_S = 60.0
_ANSWER_S = 0.5
# What could not be made is tried again after so long.
_RETRY_S = 10.0


@dataclass
class _Known:
    """An actor, when it answered last, and the question that it has not answered yet."""

    handle: Any
    heard: float
    question: Any = None
    report: dict[str, Any] | None = None
    told: bool = False


class Cluster:
    """Actors of one pool.  Whose an actor is, is written down before it is made."""

    def __init__(self, pool: Pool) -> None:
        ray.init(address="auto", namespace=NAMESPACE, log_to_driver=False, logging_level="warning")
        self._pool = pool
        self._actors: dict[ActorName, _Known] = {}
        self._failed: dict[ActorName, tuple[float, str]] = {}
        self.me: str = ray.get_runtime_context().get_job_id()
        _write("supervisor", pool.name, self.me)

    def is_ours(self) -> bool:
        """Whether no later supervisor of the pool has begun."""
        return self.me == _read("supervisor", self._pool.name)

    def nodes(self) -> list[Node]:
        """Nodes that are alive."""
        return [
            Node(
                id=node["NodeID"],
                group=(node.get("Labels") or {}).get(NODE_GROUP),
                gpus=node["Resources"].get("GPU", 0.0),
                cpus=node["Resources"].get("CPU", 0.0),
            )
            for node in ray.nodes()
            if node["Alive"]
        ]

    def look(self) -> list[Seen]:
        """The pool's actors, each in the state that it told last."""
        self._find()
        for known in self._actors.values():
            if known.question is None:
                known.question = known.handle.report.remote()
        questions = {known.question: name for name, known in self._actors.items()}
        if questions:
            answered, _ = ray.wait(
                list(questions), num_returns=len(questions), timeout=_ANSWER_S, fetch_local=True
            )
            for question in answered:
                self._hear(questions[question])
        return [Seen(name, self._state(known)) for name, known in sorted(self._actors.items())]

    def reports(self) -> dict[str, dict[str, Any]]:
        """What each actor told last, and why those that could not be made are missing."""
        failed = {
            str(name): {"state": FAILED, "last_error": cause}
            for name, (_, cause) in self._failed.items()
        }
        told = {
            str(name): {**(known.report or {}), "state": self._state(known)}
            for name, known in sorted(self._actors.items())
        }
        return failed | told

    def forget_failures(self, wanted: Collection[ActorName]) -> None:
        """Those of nodes that are gone, and of what nobody wants any more."""
        for name in self._failed.keys() - wanted:
            del self._failed[name]

    def create(self, shares: Iterable[Share]) -> None:
        """Makes actors that outlive this job."""
        for share in shares:
            failed_at, _ = self._failed.get(share.name, (None, ""))
            if failed_at is not None and time.monotonic() - failed_at < _RETRY_S:
                continue
            orders = Orders(
                name=share.name.worker,
                service=self._pool.service,
                worker_class=share.group.worker_class,
                gpus=share.gpus,
                at_once=share.group.at_once,
                grace_s=share.group.grace_s,
            )
            _write("owner", str(share.name), self._pool.name)
            ray.remote(WorkerActor).options(
                name=str(share.name),
                namespace=NAMESPACE,
                get_if_exists=True,
                lifetime="detached",
                num_gpus=share.gpus,
                num_cpus=share.cpus,
                max_restarts=-1,
                # The queue is what tries again.
                max_task_retries=0,
                max_concurrency=4,
                scheduling_strategy=NodeAffinitySchedulingStrategy(share.name.node, soft=False),
            ).remote(orders)

    def drain(self, names: Iterable[ActorName]) -> None:
        """Tells actors to finish."""
        for name in names:
            known = self._actors[name]
            if not known.told:
                known.told = True
                known.handle.drain.remote()

    def remove(self, names: Iterable[ActorName]) -> None:
        """Takes actors away, and with them their shares."""
        for name in names:
            ray.kill(self._actors.pop(name).handle, no_restart=True)
            _delete("owner", str(name))

    def _find(self) -> None:
        listed = ray.util.list_named_actors(all_namespaces=True)
        names = {
            name
            for one in listed
            if one["namespace"] == NAMESPACE and (name := parse_name(one["name"])) is not None
        }
        for name in self._actors.keys() - names:
            del self._actors[name]
        for name in names - self._actors.keys():
            if _read("owner", str(name)) == self._pool.name:
                try:
                    handle = ray.get_actor(str(name), namespace=NAMESPACE)
                except ValueError:
                    # It ended since it was listed.
                    continue
                self._actors[name] = _Known(handle, heard=time.monotonic())

    def _hear(self, name: ActorName) -> None:
        known = self._actors[name]
        try:
            known.report = ray.get(known.question)
            known.heard = time.monotonic()
            self._failed.pop(name, None)
        except ActorDiedError as error:
            # It could not be made, or its node is gone: it will not be listed any more.
            self._failed[name] = (time.monotonic(), _cause(error))
            known.report = None
        except RayActorError:
            # It is started again, and is told again what it was told.
            known.report, known.told = None, False
        except RayError as error:
            known.report = {"last_error": str(error)}
        known.question = None

    @staticmethod
    def _state(known: _Known) -> str:
        waited = time.monotonic() - known.heard
        if waited > PATIENCE_S:
            return SILENT
        return str(known.report["state"]) if known.report and "state" in known.report else STARTING


def _cause(error: Exception) -> str:
    """The last line of an error of Ray's that says something: what was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _key(kind: str, name: str) -> bytes:
    return f"{NAMESPACE}/{kind}/{name}".encode()


def _write(kind: str, name: str, value: str) -> None:
    internal_kv._internal_kv_put(_key(kind, name), value.encode(), overwrite=True)


def _read(kind: str, name: str) -> str | None:
    value = internal_kv._internal_kv_get(_key(kind, name))
    return None if value is None else value.decode()


def _delete(kind: str, name: str) -> None:
    internal_kv._internal_kv_del(_key(kind, name))
