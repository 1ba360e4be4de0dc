"""Workers as bare pods: name = worker id, never restarted, owned by one ConfigMap an application.

In: worker specs. Out: pods, whose labels and annotations hold all the fleet's state. It does not know why a
worker is needed. Two requests a worker: one creates its pod, one deletes it.

SIGTERM is a deletion here, with the grace of the settings; a drain by message needs none, and takes as long
as the uploads do.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from upswell.errors import FleetError, SettingsError
from upswell.fleets.environment import parted
from upswell.fleets.kubernetes.api import AlreadyThereError, ConflictError, KubernetesApi, UnansweredError
from upswell.fleets.kubernetes.belongings import Belongings
from upswell.fleets.kubernetes.cache import PodCache
from upswell.fleets.kubernetes.manifest import CONTAINER, check_mounts, selector, worker_pod
from upswell.fleets.kubernetes.reflector import WATCH_SECONDS, Reflector
from upswell.fleets.kubernetes.settings import dns_name, kubernetes_settings
from upswell.fleets.kubernetes.template import load_template
from upswell.fleets.protocol import FleetWorker, LogPart, WorkerSpec
from upswell.fleets.worker_settings import settings_hash, worker_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.fleets.kubernetes.pods import SeenPod
    from upswell.fleets.kubernetes.template import Tree
    from upswell.settings import Settings

_CONNECTIONS = 8
"""Concurrent requests: the API server queues more."""

_LOG_LINES = 5
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\S+ ")
_KILL_SECONDS = 1
"""The shortest grace with which the kubelet still reports how the worker ended; 0 only removes the pod."""


class KubernetesFleet:
    """Starts and stops pods in one namespace; its scaler sees those with its installation's label."""

    def __init__(self, settings: Settings, *, watch_seconds: float = WATCH_SECONDS) -> None:
        """Contact nothing yet; `watch_seconds` is the longest time between two lists of all pods."""
        self._settings = settings
        own = kubernetes_settings(settings)
        self._installation = own.installation
        self.api = KubernetesApi(own)
        self._belongings = Belongings(self.api, self._installation)
        self._cache = PodCache()
        self._watch_seconds = watch_seconds
        self._callbacks: list[Callable[[], None]] = []
        self._connections = asyncio.Semaphore(_CONNECTIONS)
        self._reflector: Reflector | None = None
        self._reflecting: asyncio.Task[None] | None = None

    async def start(self, worker: WorkerSpec) -> None:
        """Create a worker's pod, and before the first one of an application what its pods share.

        Asked for twice, the pod is there once. Whether an answer that was lost meant yes, the second try
        tells.
        """
        settings = self._settings.for_app(worker.app_id)
        try:
            chosen = kubernetes_settings(self._settings, worker.app_id)
            template = load_template(chosen.pod_template)
            check_mounts(settings, template)
        except SettingsError as error:
            raise FleetError(str(error)) from error
        _, hidden = parted(worker.environment)
        async with self._connections:
            owner = await self._belongings.ensure(worker.app_id, hidden)
            pod = worker_pod(
                worker,
                chosen,
                template,
                owner,
                state_dir=str(settings.state_path),
                hashed=settings_hash(worker_settings(settings, worker.app_id)),
            )
            self._cache.add(await self._create(pod))

    async def list(self) -> list[FleetWorker]:
        """Return the workers from the cache; the first call starts what keeps it true."""
        await self._reflect().known()
        workers = self._cache.workers(time.monotonic(), patience=self._settings.start_timeout)
        for worker in workers:
            if worker.evicted:
                self._belongings.doubt(worker.app_id)
        return workers

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Call back after each change of a pod, until cancelled."""
        self._reflect()
        self._callbacks.append(on_change)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._callbacks.remove(on_change)

    async def drain(self, worker_id: str) -> None:
        """Delete the pod with its own grace: SIGTERM now, SIGKILL when the grace is over."""
        await self._end(worker_id, None)

    async def kill(self, worker_id: str) -> None:
        """Delete the pod with the shortest grace: SIGTERM, and SIGKILL a second later."""
        await self._end(worker_id, _KILL_SECONDS)

    async def forget(self, worker_id: str) -> None:
        """Delete the pod of a worker that has ended; one that is being deleted goes by itself."""
        await self._reflect().known()
        pod = self._cache.forget(worker_id)
        if pod is None:
            return
        try:
            async with self._connections:
                await self.api.delete_pod(pod)
        except FleetError:
            self._cache.remember(pod)
            raise

    async def last_lines(self, worker_id: str) -> str:
        """Return the container's last lines, and what the platform says on its end.

        A worker that failed left them in its pod's status: no request is made.
        """
        await self._reflect().known()
        pod = self._cache.last_seen(worker_id)
        if pod is None:
            return ""
        lines = pod.last_lines.splitlines()[-_LOG_LINES:]
        if not lines:
            lines = (await self.read_log(worker_id, limit=_LOG_LINES)).lines
        return "\n".join([*lines, *(text for text in (pod.waits, pod.why) if text)])

    async def read_log(self, worker_id: str, *, after: str | None = None, limit: int = 1000) -> LogPart:
        """Return lines of the container's output, which goes with the pod."""
        since = _rfc3339(after) if after else None
        tail = max(1, limit) if after is None else None
        async with self._connections:
            printed = await self.api.read_log(dns_name(worker_id), CONTAINER, since=since, tail=tail)
        # The kubelet writes an excuse in place of a log that is gone, without a time.
        stamped = [line.partition(" ") for line in printed if _STAMP.match(line)]
        new = [(at, line) for at, _, line in stamped if _order(at) > _order(after or "")]
        newest = new[max(0, len(new) - limit) :]
        return LogPart([line for _, line in newest], new[-1][0] if new else after or "")

    def reload(self, settings: Settings) -> None:
        """Start workers with other images, templates and destinations from now on."""
        self._settings = settings

    async def close(self) -> None:
        """Disconnect; the pods keep running."""
        reflecting, self._reflecting, self._reflector = self._reflecting, None, None
        if reflecting is not None:
            reflecting.cancel()
            with suppress(asyncio.CancelledError):
                await reflecting
        await self.api.close()

    def _reflect(self) -> Reflector:
        if self._reflector is None or self._reflecting is None or self._reflecting.done():
            self._reflector = Reflector(
                self.api,
                selector(self._installation),
                self._cache,
                self._changed,
                watch_seconds=self._watch_seconds,
            )
            self._reflecting = asyncio.create_task(self._reflector.run())
        return self._reflector

    def _changed(self) -> None:
        for callback in self._callbacks:
            callback()

    async def _create(self, pod: Tree) -> SeenPod:
        try:
            with suppress(UnansweredError, ConflictError):
                return await self.api.create_pod(pod)
            return await self.api.create_pod(pod)
        except AlreadyThereError:
            return await self._found(pod["metadata"]["name"])

    async def _found(self, name: str) -> SeenPod:
        """Return the pod of a name that is taken: ours, asked for before."""
        pods, _ = await self.api.list_pods(selector(self._installation), name=name)
        if not pods:
            raise FleetError(f"a pod {name} that is not of installation {self._installation} is in the way")
        return pods[0]

    async def _end(self, worker_id: str, grace_seconds: int | None) -> None:
        await self._reflect().known()
        pod = self._cache.find(worker_id)
        if pod is None or (pod.leaving and grace_seconds is None):
            return
        self._cache.tell(pod)
        async with self._connections:
            await self.api.delete_pod(pod, grace_seconds=grace_seconds)


async def check_cluster(settings: Settings) -> str:
    """Check that workers could be started; whether their images can be pulled, only a pod tells.

    Raises:
        UpswellError: they could not.
    """
    if settings.broker == "embedded":
        raise SettingsError(
            "the fleet kubernetes needs RabbitMQ, which pods can reach: set AMQPURL; the embedded broker is "
            "a file of one machine"
        )
    for app_id in settings.apps:
        template = load_template(kubernetes_settings(settings, app_id).pod_template)
        check_mounts(settings.for_app(app_id), template)
    api = KubernetesApi(kubernetes_settings(settings))
    try:
        version, lacking = await api.version(), await api.refused_rights()
        if lacking:
            raise FleetError(
                f"the scaler's account must be allowed to {', '.join(lacking)} in namespace {api.namespace} "
                "(docs/deploy/kubernetes.md, Rights)"
            )
        return f"Kubernetes {version}, namespace {api.namespace}"
    finally:
        await api.close()


def _order(timestamp: str) -> tuple[str, str]:
    """Return what sorts timestamps, whose fractions have different lengths."""
    seconds, _, fraction = timestamp.rstrip("Z").partition(".")
    return seconds, fraction.ljust(9, "0")


def _rfc3339(timestamp: str) -> str | None:
    """Return the second of a timestamp, as `sinceTime` wants it."""
    try:
        at = datetime.fromisoformat(f"{timestamp.partition('.')[0].rstrip('Z')}+00:00")
    except ValueError:
        return None
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
