"""Workers on a Docker Swarm: one service a worker, on whichever node Swarm chooses.

In: worker specs. Out: services named `upswell-{worker_id}`, whose labels hold all the fleet's state. It does
not know why a worker is needed, and touches no service or secret without its installation's label.

A service is a replicated job of one task. It is never updated: that would end running tasks, and Swarm lets
nobody choose which. A worker is drained by message and exits with 0; its exit is read, then its service is
removed. Removing the service of a running one is the only signal that reaches another node: SIGTERM, a long
grace, SIGKILL. Two questions a worker: create and remove. Swarm tells no events of tasks, so one list of all
tasks is asked for every few seconds while there are workers.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from upswell.errors import FleetError
from upswell.fleets.docker_settings import SwarmSettings, swarm_settings
from upswell.fleets.engine import CONFLICT, NOT_THERE, Engine, EngineRefusalError, T, none_if
from upswell.fleets.engine_logs import LAST_LINES, read_log
from upswell.fleets.environment import identity, parted
from upswell.fleets.known_workers import KnownWorkers
from upswell.fleets.mounts import mounts
from upswell.fleets.registry_auth import registry_auth
from upswell.fleets.service_spec import ENDPOINT, MODE, task_template
from upswell.fleets.swarm_secrets import SwarmSecrets
from upswell.fleets.swarm_tasks import SwarmNode, read_node, read_worker
from upswell.fleets.worker_labels import INSTALLATION, WORKER, labels, platform_name
from upswell.safe import masked_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from upswell.fleets.protocol import FleetWorker, LogPart, WorkerSpec
    from upswell.settings import Settings

RELIST_SECONDS = 2.0
"""Between two lists of tasks at least: what becomes of one on another node is no event. With many workers
they come less often, so that they take no more than a hundredth of a core (known_workers.py)."""

NODES_SECONDS = 30.0
SERVICES_SECONDS = 30.0
"""Between two lists of nodes or services, whose changes are events."""

_NO_MANAGER = 503
_GONE = "rpc error: code = InvalidArgument desc = secret"


class SwarmFleet:
    """Starts and stops services on the Swarm whose manager `DOCKER_HOST` names, or the local engine."""

    def __init__(self, settings: Settings) -> None:
        """Take images, networks and constraints from `settings`; the manager is not contacted yet."""
        self._settings = settings
        self._installation = installation(settings)
        self._engine = Engine()
        self._secrets = SwarmSecrets(self._engine, self._installation)
        self._known = KnownWorkers(self._look, relist_seconds=RELIST_SECONDS)
        self._nodes: dict[str, SwarmNode] = {}
        self._nodes_at: float | None = None
        self._self_node = ""
        self._services = KnownServices()
        self._tasks: dict[str, dict[str, Any]] = {}
        self._removed: dict[str, FleetWorker] = {}  # their services were removed while they ran

    async def start(self, worker: WorkerSpec) -> None:
        """Create a service; whether a node has its image shows later."""
        chosen = swarm_settings(self._settings, worker.app_id)
        self._check_shared(worker.app_id)
        told, known = labels(worker, self._installation, self._settings, reports_status=True)
        shown, hidden = parted({**worker.environment, **identity(worker)})

        async def create() -> None:
            template = task_template(
                worker,
                chosen,
                environment=shown,
                labels=told,
                secrets=await self._secrets.references(hidden),
                state_path=str(self._settings.state_path),
            )
            await self._create(platform_name(worker.worker_id), template, told, chosen.image)

        with self._known.starting(known):
            try:
                await create()
            except EngineRefusalError as error:
                if not error.reason.startswith(_GONE):
                    raise
                # Another scaler of this installation removed one, which no service needed yet.
                await self._secrets.forget()
                await create()

    async def list(self) -> list[FleetWorker]:
        """Return the workers of this installation's services, and those whose service was removed."""
        return await self._known.all()

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Follow the manager's events of services, nodes and its own containers; a task elsewhere has none.

        So something may have changed after every list's time, too.
        """
        filters = {"type": ["service", "node", "container"], "event": ["create", "remove", "update", "die"]}
        await self._known.follow(lambda: self._engine.events(filters), self._note, on_change)

    def _note(self, event: dict[str, Any]) -> None:
        """Take in what an event is about; what it says is asked."""
        about = event["Type"]
        if about == "node":
            self._nodes_at = None
        if about in ("node", "service"):
            self._services.doubt()
        self._known.doubt()

    async def drain(self, worker_id: str) -> None:
        """Send SIGTERM: on this node at once; on another by removing the service, with its long grace."""
        await self._end(worker_id, "SIGTERM")

    async def kill(self, worker_id: str) -> None:
        """Send SIGKILL on this node; Swarm kills on another only after the grace."""
        await self._end(worker_id, "SIGKILL")

    async def forget(self, worker_id: str) -> None:
        """Remove an exited worker's service."""
        self._removed.pop(worker_id, None)
        await self._delete(platform_name(worker_id))
        self._tasks.pop(worker_id, None)
        self._known.drop(worker_id)

    async def last_lines(self, worker_id: str) -> str:
        """Return the task's last lines of output, and why Swarm refused it where it did."""
        lines = (await self.read_log(worker_id, limit=LAST_LINES)).lines
        said = self._tasks.get(worker_id, {}).get("Status", {}).get("Err")
        return "\n".join([*lines, *([said] if said else [])])

    async def read_log(self, worker_id: str, *, after: str | None = None, limit: int = 1000) -> LogPart:
        """Return lines of the service's output, which goes with the service."""
        name = platform_name(worker_id)
        return await read_log(
            self._engine, lambda docker, form: docker.services.logs(name, **form), after, limit
        )

    def reload(self, settings: Settings) -> None:
        """Start workers with other images, mounts and limits from now on."""
        self._settings = settings

    async def close(self) -> None:
        """Disconnect from the manager; the services keep running."""
        await self._engine.close()

    async def check(self) -> str:
        """Check for `upswell doctor` that this is a Swarm's manager, and that every application fits it."""
        for app_id in self._settings.apps:
            self._check_shared(app_id)
        nodes = await self._list_nodes()
        up = sum(not node.down and not node.drained for node in nodes.values())
        return f"{up} of {len(nodes)} node{'' if len(nodes) == 1 else 's'} take workers"

    def _check_shared(self, app_id: str) -> None:
        """Raise a FleetError where an application's workers would need this machine's folders."""
        shared = mounts(self._settings.for_app(app_id))
        if shared:
            raise FleetError(
                "workers on a Swarm run on other machines, which cannot share "
                f"{', '.join(mount.path for mount in shared)} of this one: set AMQPURL, a destination "
                f"such as s3://bucket/{app_id}, and source_roots to an empty list"
            )

    async def _create(self, name: str, template: dict[str, Any], told: dict[str, str], image: str) -> None:
        with none_if(CONFLICT):  # its start was asked for before
            await self._ask(
                lambda docker: docker.services.create(
                    template,
                    name=name,
                    labels=told,
                    mode=MODE,
                    endpoint_spec=ENDPOINT,
                    **registry_auth(image),
                )
            )
            self._services.doubt()

    async def _ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """Return a manager's answer; say so where the engine is none."""
        try:
            return await self._engine.ask(question)
        except EngineRefusalError as error:
            if error.status != _NO_MANAGER:
                raise
            raise FleetError(
                "the Docker engine is no manager of a Swarm (docker swarm init, or run the scaler on a "
                f"manager, or set DOCKER_HOST to one): {error.reason}"
            ) from error

    async def _look(self) -> list[FleetWorker]:
        """Return all workers, by their services, and those tasks that outlive theirs."""
        filters = {"label": f"{INSTALLATION}={self._installation}"}
        if self._services.is_due():
            self._services.take(await self._ask(lambda docker: docker.services.list(filters=filters)))
            await self._secrets.prune(self._services.secrets)
        tasks = await self._ask(lambda docker: docker.tasks.list(filters=filters))
        nodes = await self._list_nodes() if tasks else {}
        by_worker = {task["Spec"]["ContainerSpec"].get("Labels", {}).get(WORKER, ""): task for task in tasks}
        self._tasks = by_worker
        found = [
            worker
            for worker_id, its in self._services.labels.items()
            if (worker := read_worker(its, by_worker.get(worker_id), nodes)) is not None
        ]
        return found + self._leaving(nodes)

    def _leaving(self, nodes: dict[str, SwarmNode]) -> list[FleetWorker]:
        """Return the workers without a service: those that run still, and those that this fleet had removed.

        The exit code of the latter went with their service.
        """
        alone: list[FleetWorker] = []
        for worker_id, task in self._tasks.items():
            if worker_id not in self._services.labels:
                worker = read_worker(task["Spec"]["ContainerSpec"].get("Labels", {}), task, nodes)
                if worker is not None and worker.state == "running":
                    alone.append(worker)
        there = {worker.worker_id for worker in alone} | self._services.labels.keys()
        ended = [worker for worker_id, worker in self._removed.items() if worker_id not in there]
        return alone + [replace(worker, state="exited", pending="") for worker in ended]

    async def _list_nodes(self) -> dict[str, SwarmNode]:
        now = time.monotonic()
        if self._nodes_at is None or now - self._nodes_at > NODES_SECONDS:
            found: list[dict[str, Any]] = await self._ask(lambda docker: docker.nodes.list())
            self._nodes, self._nodes_at = {node["ID"]: read_node(node) for node in found}, now
        return self._nodes

    async def _signal_here(self, worker_id: str, signal: str) -> bool:
        """Send a signal to a task on this very node; return False where it is on another, or on none."""
        if not _container(self._tasks.get(worker_id)):
            self._known.doubt()  # it may have begun to run since
        await self._known.all()
        task = self._tasks.get(worker_id)
        if task is None:
            return worker_id not in self._services.labels
        if not self._self_node:
            info: dict[str, Any] = await self._engine.ask(lambda docker: docker.system.info())
            self._self_node = info.get("Swarm", {}).get("NodeID") or "none"
        container = _container(task)
        if task.get("NodeID") != self._self_node or not container:
            return False
        with none_if(NOT_THERE, CONFLICT):
            await self._engine.ask(lambda docker: docker.containers.container(container).kill(signal=signal))
        self._known.doubt()
        return True

    async def _end(self, worker_id: str, signal: str) -> None:
        if await self._signal_here(worker_id, signal):
            return
        worker = self._known.get(worker_id)
        if worker is not None and worker.state == "running":
            self._removed[worker_id] = worker
        await self._delete(platform_name(worker_id))

    async def _delete(self, name: str) -> None:
        with none_if(NOT_THERE):
            await self._engine.ask(lambda docker: docker.services.delete(name))
        self._services.doubt()


class KnownServices:
    """The installation's services as listed last: the workers' labels, and the secrets that they refer to."""

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, str]] = {}
        self.secrets: set[str] = set()
        self._listed_at: float | None = None

    def is_due(self) -> bool:
        """Return whether to list them again."""
        return self._listed_at is None or time.monotonic() - self._listed_at > SERVICES_SECONDS

    def doubt(self) -> None:
        """Have them listed again: one was made or removed."""
        self._listed_at = None

    def take(self, found: Iterable[dict[str, Any]]) -> None:
        """Take in a list of the engine's."""
        self._listed_at = time.monotonic()
        self.labels, self.secrets = {}, set()
        for service in found:
            spec = service["Spec"]
            self.labels[spec["Labels"].get(WORKER, "")] = spec["Labels"]
            needed: list[dict[str, str]] = spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
            self.secrets.update(secret["SecretName"] for secret in needed)


def installation(settings: Settings) -> str:
    """Return the label of an installation's services: the same for each of its scalers, wherever it runs."""
    chosen = settings.own("fleets", "swarm", SwarmSettings).installation
    if chosen:
        return chosen
    place = f"{masked_url(settings.broker_url)} {settings.report_queue}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


async def check_swarm(settings: Settings) -> str:
    """Check that the engine is a Swarm's manager and that workers need no folder of this machine."""
    fleet = SwarmFleet(settings)
    try:
        return await fleet.check()
    finally:
        await fleet.close()


def _container(task: dict[str, Any] | None) -> str:
    return task["Status"].get("ContainerStatus", {}).get("ContainerID", "") if task else ""
