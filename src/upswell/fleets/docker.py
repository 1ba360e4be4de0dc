"""Workers as Docker containers.

In: worker specs. Out: containers named `upswell-{worker_id}`, whose labels hold all the fleet's state. It
does not know why a worker is needed. The only module that imports the Docker client.

Containers have no restart policy: the scaler replaces crashed workers, counting crashes and backing off.
Docker `stop` is never used, because it kills after a timeout: draining is SIGTERM alone, however long it
takes.
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import docker as _docker
import docker.errors as _docker_errors
import requests
from msgspec import Meta, Struct

from upswell.errors import FleetError
from upswell.fleets.environment import identity
from upswell.fleets.mounts import mounts
from upswell.fleets.protocol import FleetWorker, LogPart, WorkerSpec
from upswell.safe import safe
from upswell.settings import Setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.settings import Settings

# The client has no types: `Any` from here on.
docker: Any = cast("Any", _docker)
errors: Any = cast("Any", _docker_errors)

FLEET, APP, WORKER = "upswell.fleet", "upswell.app", "upswell.worker"
REQUESTED_AT, STANDBY, REPORTS_STATUS = "upswell.requested_at", "upswell.standby", "upswell.reports_status"

IMAGE_LABEL = "upswell.image"
"""Label of images built from our Dockerfile: their workers take our arguments, report and obey."""

_CONNECTIONS = 4
"""Concurrent requests to the engine: starting a container takes 0.2 s, most of which overlaps."""

_LOG_LINES = 5
_LOG_LIMITS = {"max-size": "5m", "max-file": "2"}
_ENDED = ("exited", "dead", "removing")
_NO_SUCH_STATE = 409
"""The engine's answer to a signal for a container that is not running."""

T = TypeVar("T")


class DockerSettings(Struct, frozen=True):
    """The settings `[fleets.docker]`."""

    image: Annotated[
        str, Setting("Image of the workers; {app_id} is replaced by the application's name.")
    ] = "{app_id}_worker_container/dst2018:0.1"
    network: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,200}\Z"),
        Setting("Docker network of the workers.", form="the name of a network"),
    ] = "host"


def settings_of_workers(settings: Settings, app_id: str) -> DockerSettings:
    """Return the settings of one application's workers, with its image's full name."""
    own = settings.for_app(app_id).own("fleets", "docker", DockerSettings)
    return DockerSettings(own.image.replace("{app_id}", app_id), own.network)


class DockerFleet:
    """Starts and stops containers on the engine of `DOCKER_HOST` (the Docker client's own variables).

    Its containers carry a label with the scaler's state folder, so two installations can share an engine.
    """

    def __init__(self, settings: Settings) -> None:
        """Take network, mounts and images from `settings`; the engine is not contacted yet."""
        self._settings = settings
        self._name = str(settings.state_path)
        self._client: Any = None
        self._starting: set[str] = set()
        self._connections = asyncio.Semaphore(_CONNECTIONS)

    async def start(self, worker: WorkerSpec) -> None:
        """Create and start a container; its image must already exist on the engine's machine."""
        self._starting.add(worker.worker_id)
        try:
            await self.ask(lambda client: self._start(client, worker))
        finally:
            self._starting.discard(worker.worker_id)

    async def list(self) -> list[FleetWorker]:
        """Return the containers with this fleet's label."""
        return await self.ask(self._list)

    async def watch(self, on_change: Callable[[], None]) -> None:  # noqa: ARG002
        """Wait."""
        await asyncio.get_running_loop().create_future()

    async def drain(self, worker_id: str) -> None:
        """Send SIGTERM."""
        await self.ask(lambda client: _signal(client, worker_id, "SIGTERM"))

    async def kill(self, worker_id: str) -> None:
        """Send SIGKILL."""
        await self.ask(lambda client: _signal(client, worker_id, "SIGKILL"))

    async def forget(self, worker_id: str) -> None:
        """Remove an exited container; the engine refuses to remove a running one without force."""
        await self.ask(lambda client: _remove(client, worker_id))

    async def last_lines(self, worker_id: str) -> str:
        """Return the container's last lines of output."""
        return await self.ask(lambda client: _last_lines(client, worker_id))

    async def read_log(self, worker_id: str, *, after: str | None = None, limit: int = 1000) -> LogPart:
        """Return lines of the container's output, which goes with the container."""
        return await self.ask(lambda client: _read_log(client, worker_id, after, limit))

    async def close(self) -> None:
        """Disconnect from the engine; the containers keep running."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)
            self._client = None

    async def ask(self, question: Callable[[Any], T]) -> T:
        """Call a function with the client in a thread and return its result."""
        async with self._connections:
            return await asyncio.to_thread(self._answer, question)

    def _answer(self, question: Callable[[Any], T]) -> T:
        try:
            if self._client is None:
                self._client = docker.from_env()
            return question(self._client)
        except errors.APIError as error:
            raise FleetError(f"Docker engine refused: {safe(str(error.explanation or error))}") from error
        except (errors.DockerException, requests.exceptions.RequestException, OSError) as error:
            raise FleetError(
                "cannot reach the Docker engine (is it running? are you in the docker group? "
                f"UPSWELL_FLEET=process does without it): {safe(str(error))}"
            ) from error

    def _start(self, client: Any, worker: WorkerSpec) -> None:
        chosen = settings_of_workers(self._settings, worker.app_id)
        own = _is_ours(client, worker, chosen.image)
        container = client.containers.create(
            chosen.image, network=chosen.network, **self._options(worker, own=own)
        )
        try:
            container.start()
        except errors.APIError:
            container.remove(force=True)
            raise

    def _options(self, worker: WorkerSpec, *, own: bool) -> dict[str, Any]:
        """Return the container's options; an image that is not ours keeps its own command."""
        arguments = ["worker", "--app", worker.app_id, *(["--standby"] if worker.standby else [])]
        shared = mounts(self._settings.for_app(worker.app_id)) if own else []
        for mount in shared:
            if not mount.read_only:
                Path(mount.path).mkdir(parents=True, exist_ok=True)
        return {
            "name": _container(worker.worker_id),
            "command": arguments if own else None,
            "environment": {**worker.environment, **identity(worker)},
            "labels": {
                FLEET: self._name,
                APP: worker.app_id,
                WORKER: worker.worker_id,
                REQUESTED_AT: repr(worker.requested_at),
                STANDBY: str(worker.standby),
                REPORTS_STATUS: str(own),
            },
            "mounts": [
                docker.types.Mount(mount.path, mount.path, type="bind", read_only=mount.read_only)
                for mount in shared
            ],
            # Shared files belong to the scaler's user; without them the image's own unprivileged user is
            # enough.
            "user": f"{os.getuid()}:{os.getgid()}" if shared else None,
            "init": True,
            "security_opt": ["no-new-privileges"],
            "restart_policy": {"Name": "no"},
            "log_config": docker.types.LogConfig(type="json-file", config=_LOG_LIMITS),
        }

    def _list(self, client: Any) -> list[FleetWorker]:
        found = client.api.containers(all=True, filters={"label": f"{FLEET}={self._name}"})
        return [self._worker(client, summary) for summary in found]

    def _worker(self, client: Any, summary: dict[str, Any]) -> FleetWorker:
        labels: dict[str, str] = summary["Labels"]
        worker_id = labels[WORKER]
        # Created but not being started: its scaler died in between.
        exited = summary["State"] in _ENDED or (
            summary["State"] == "created" and worker_id not in self._starting
        )
        return FleetWorker(
            worker_id=worker_id,
            app_id=labels[APP],
            state="exited" if exited else "running",
            requested_at=float(labels[REQUESTED_AT]),
            exit_code=_exit_code(client, summary["Id"]) if exited else None,
            standby=labels[STANDBY] == "True",
            reports_status=labels[REPORTS_STATUS] == "True",
        )


async def check_images(settings: Settings) -> str:
    """Check that the engine has every application's image; a FleetError names a missing one."""
    fleet = DockerFleet(settings)
    try:
        for app_id in settings.apps:
            image = settings_of_workers(settings, app_id).image
            await fleet.ask(lambda client, app_id=app_id, image=image: _labels(client, app_id, image))
    finally:
        await fleet.close()
    count = len(settings.apps)
    return f"{count} image{'' if count == 1 else 's'} found" if count else ""


def _is_ours(client: Any, worker: WorkerSpec, image: str) -> bool:
    """Return whether a worker's image was built from our Dockerfile; FleetError if it must be but is not."""
    own = IMAGE_LABEL in _labels(client, worker.app_id, image)
    if worker.standby and not own:
        raise FleetError(
            f"standby workers need an image built from Upswell's Dockerfile, but {image!r} has no label "
            f"{IMAGE_LABEL}; set standby_workers = 0 for {worker.app_id}"
        )
    return own


def _labels(client: Any, app_id: str, image: str) -> dict[str, str]:
    try:
        return client.images.get(image).labels or {}
    except errors.ImageNotFound as error:
        raise FleetError(
            f"image {image!r} of {app_id}'s workers not found on the Docker engine; "
            f"build it: docker build -t {image} ."
        ) from error


def _container(worker_id: str) -> str:
    return f"upswell-{worker_id}"


def _signal(client: Any, worker_id: str, name: str) -> None:
    try:
        client.api.kill(_container(worker_id), name)
    except errors.NotFound:
        return
    except errors.APIError as error:
        if error.status_code != _NO_SUCH_STATE:
            raise


def _remove(client: Any, worker_id: str) -> None:
    try:
        client.api.remove_container(_container(worker_id), v=True)
    except errors.NotFound:
        return


def _exit_code(client: Any, container_id: str) -> int | None:
    try:
        state: dict[str, Any] = client.api.inspect_container(container_id)["State"]
    except errors.NotFound:
        return None
    return int(state["ExitCode"]) if state["StartedAt"][:4] != "0001" else None


def _last_lines(client: Any, worker_id: str) -> str:
    return "\n".join(_read_log(client, worker_id, None, _LOG_LINES).lines)


def _read_log(client: Any, worker_id: str, after: str | None, limit: int) -> LogPart:
    """Return lines with the newest one's timestamp as the position; timestamps have equal lengths."""
    options: dict[str, Any] = (
        {"tail": max(1, limit)} if after is None else {} if not after else {"since": _seconds(after)}
    )
    try:
        printed: bytes = client.api.logs(_container(worker_id), timestamps=True, **options)
    except errors.NotFound:
        return LogPart([], after or "")
    stamped = [line.partition(" ") for line in printed.decode("utf-8", "replace").splitlines()]
    new = [(at, line) for at, _, line in stamped if at > (after or "")]
    newest = new[max(0, len(new) - limit) :]
    return LogPart([line for _, line in newest], new[-1][0] if new else after or "")


def _seconds(timestamp: str) -> float:
    """Return a moment before a timestamp: the engine's clock has more digits than a float."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() - 0.001
    except ValueError:
        return 0.0
