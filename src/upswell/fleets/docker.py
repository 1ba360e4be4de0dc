"""Workers as Docker containers.

In: worker specs. Out: containers named `upswell-{worker_id}`, whose labels hold all the fleet's state. It
does not know why a worker is needed, and touches no container without its installation's label.

Containers have no restart policy: the scaler replaces crashed workers, counting crashes and backing off.
Docker `stop` is never used, because it kills after a timeout: draining is SIGTERM alone, however long it
takes. The engine's events say what changes; it is asked for a full list once a minute, and three questions a
worker: create, start, remove. An engine on another machine shares no folder: there a worker reads its secrets
from its input.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from upswell.errors import FleetError
from upswell.fleets.container_options import container_options
from upswell.fleets.docker_settings import DockerSettings, docker_settings
from upswell.fleets.engine import CONFLICT, NOT_THERE, Engine, EngineRefusalError, none_if
from upswell.fleets.engine_logs import LAST_LINES, read_log
from upswell.fleets.environment import identity, parted
from upswell.fleets.known_workers import KnownWorkers
from upswell.fleets.mounts import mounts
from upswell.fleets.secrets_in_memory import IN_CONTAINER, SecretsInMemory
from upswell.fleets.worker_labels import INSTALLATION, labelled, labels, platform_name
from upswell.settings.secret_files import FROM_INPUT, SECRETS_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.fleets.protocol import FleetWorker, LogPart, WorkerSpec
    from upswell.settings import Settings

IMAGE_LABEL = "upswell.image"
"""Label of images built from our Dockerfile: their workers take our arguments, report and obey."""

_ENDED = ("exited", "dead", "removing")
_EXIT_CODE = re.compile(r"\AExited \((-?\d+)\)")
_IMAGE_USER = (10001, 10001)


class WorkerImage(Struct, frozen=True):
    """What an image says of itself: whether it is ours, and its user where that is a number."""

    own: bool
    user: tuple[int, int]


class DockerFleet:
    """Starts and stops containers on the engine of `DOCKER_HOST` (the Docker client's own variables).

    Its containers carry a label with the scaler's state folder, so two installations can share an engine.
    """

    def __init__(self, settings: Settings) -> None:
        """Take network, mounts and images from `settings`; the engine is not contacted yet."""
        self._settings = settings
        own = settings.own("fleets", "docker", DockerSettings)
        self._installation = own.installation or str(settings.state_path)
        self._secrets = SecretsInMemory(own.tmpfs_dir, self._installation)
        self._engine = Engine()
        self._known = KnownWorkers(self._look)
        self._images: dict[str, WorkerImage] = {}
        self._asking = asyncio.Lock()  # a hundred starts ask about their image once

    async def start(self, worker: WorkerSpec) -> None:
        """Create and start a container; its image must already exist on the engine's machine."""
        chosen = docker_settings(self._settings, worker.app_id)
        image = await self._image(worker.app_id, chosen.image)
        if worker.standby and not image.own:
            raise FleetError(
                f"standby workers need an image built from Upswell's Dockerfile, but {chosen.image!r} has no "
                f"label {IMAGE_LABEL}; set standby_workers = 0 for {worker.app_id}"
            )
        told, known = labels(worker, self._installation, self._settings, reports_status=image.own)
        with self._known.starting(known):
            await self._start(worker, chosen, image, told)

    async def list(self) -> list[FleetWorker]:
        """Return the containers with this fleet's label."""
        return await self._known.all()

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Follow the engine's events; where they end, begin anew."""
        filters = {
            "type": ["container"],
            "label": [f"{INSTALLATION}={self._installation}"],
            "event": ["create", "start", "die", "destroy"],
        }
        await self._known.follow(lambda: self._engine.events(filters), self._note, on_change)

    async def drain(self, worker_id: str) -> None:
        """Send SIGTERM."""
        await self._signal(worker_id, "SIGTERM")

    async def kill(self, worker_id: str) -> None:
        """Send SIGKILL."""
        await self._signal(worker_id, "SIGKILL")

    async def forget(self, worker_id: str) -> None:
        """Remove an exited container; the engine refuses to remove a running one without force."""
        name = platform_name(worker_id)
        # First: whoever dies in between, the container is there to be forgotten again. Only a start that
        # another scaler finishes in this very moment would find none, and its worker be replaced.
        await asyncio.to_thread(self._secrets.remove, worker_id)
        with none_if(NOT_THERE):
            await self._engine.ask(lambda docker: docker.containers.container(name).delete(v=True))
        self._known.drop(worker_id)

    async def last_lines(self, worker_id: str) -> str:
        """Return the container's last lines of output."""
        return "\n".join((await self.read_log(worker_id, limit=LAST_LINES)).lines)

    async def read_log(self, worker_id: str, *, after: str | None = None, limit: int = 1000) -> LogPart:
        """Return lines of the container's output, which goes with the container."""
        name = platform_name(worker_id)
        return await read_log(
            self._engine, lambda docker, form: docker.containers.container(name).log(**form), after, limit
        )

    def reload(self, settings: Settings) -> None:
        """Start workers with other images, mounts and limits from now on."""
        self._settings = settings

    async def close(self) -> None:
        """Disconnect from the engine; the containers keep running."""
        await self._engine.close()

    async def check(self) -> str:
        """Check for `upswell doctor` that every application's workers could start."""
        for app_id in self._settings.apps:
            chosen = docker_settings(self._settings, app_id)
            if (await self._image(app_id, chosen.image)).own:
                self._shared(app_id)
        count = len(self._settings.apps)
        return f"{count} image{'' if count == 1 else 's'} found" if count else ""

    async def _start(
        self, worker: WorkerSpec, chosen: DockerSettings, image: WorkerImage, told: dict[str, str]
    ) -> None:
        shared = self._shared(worker.app_id) if image.own else []
        user = self._user(image, shared=bool(shared))
        variables = {**worker.environment, **identity(worker)}
        hidden: dict[str, str] = {}
        folder: Path | None = None
        fed: bytes | None = None
        if image.own:
            variables, hidden = parted(variables)
            if self._engine.address_elsewhere():
                variables[SECRETS_VARIABLE], fed = FROM_INPUT, msgspec.json.encode(hidden)
            else:
                variables[SECRETS_VARIABLE] = IN_CONTAINER
                folder = await asyncio.to_thread(self._secrets.make_folder, worker.worker_id, user)
        options = container_options(
            worker,
            chosen,
            own=image.own,
            environment=variables,
            labels=told,
            mounts=shared,
            secrets_folder=None if folder is None else str(folder),
            user=f"{user[0]}:{user[1]}" if image.own else None,
            state_path=str(self._settings.state_path),
            fed=fed is not None,
        )
        new = await self._create(worker, chosen.image, options)
        name = platform_name(worker.worker_id)
        try:
            if folder is not None:
                await asyncio.to_thread(self._secrets.write, worker.worker_id, hidden, user)
            await self._engine.start_container(name, fed if new else None)
        except FleetError:
            if new:
                await asyncio.to_thread(self._secrets.remove, worker.worker_id)
                await self._engine.ask(lambda docker: docker.containers.container(name).delete(force=True))
            raise

    async def _create(self, worker: WorkerSpec, image: str, options: dict[str, Any]) -> bool:
        """Create a container; False: one of that name is there already, its start was asked for before."""
        try:
            await self._engine.ask(
                lambda docker: docker.containers.create(options, name=platform_name(worker.worker_id))
            )
        except EngineRefusalError as error:
            if error.status == CONFLICT:
                return False
            await asyncio.to_thread(self._secrets.remove, worker.worker_id)  # nobody reads them
            if error.status == NOT_THERE and "image" in error.reason.lower():
                self._images.pop(image, None)
                raise _image_missing(worker.app_id, image) from error
            raise
        return True

    def _user(self, image: WorkerImage, *, shared: bool) -> tuple[int, int]:
        """Return who a worker runs as: who owns what it shares with the host, else the image's user.

        A scaler that is not root can give its secrets to nobody else.
        """
        return (os.getuid(), os.getgid()) if shared or os.getuid() else image.user

    def _shared(self, app_id: str) -> list[Any]:
        """Return the folders that an application's workers share with this machine; make those that miss.

        Raises:
            FleetError: the engine is on another machine, which has none of them.
        """
        shared = mounts(self._settings.for_app(app_id))
        elsewhere = self._engine.address_elsewhere()
        if elsewhere and shared:
            raise FleetError(
                f"the Docker engine is on another machine ({elsewhere}), whose workers cannot share "
                f"{', '.join(mount.path for mount in shared)} of this one: set AMQPURL, a destination "
                f"such as s3://bucket/{app_id}, and source_roots to an empty list"
            )
        for mount in shared:
            if not mount.read_only:
                try:
                    Path(mount.path).mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise FleetError(
                        f"cannot make {mount.path}, which {app_id} stores into: {error}"
                    ) from error
        return shared

    async def _image(self, app_id: str, name: str) -> WorkerImage:
        """Return what an image says of itself, asked once; FleetError where it is missing."""
        async with self._asking:
            image = self._images.get(name)
            if image is None:
                try:
                    found = await self._engine.ask(lambda docker: docker.images.inspect(name))
                except EngineRefusalError as error:
                    if error.status != NOT_THERE:
                        raise
                    raise _image_missing(app_id, name) from error
                image = self._images[name] = _described(found.get("Config") or {})
        return image

    async def _signal(self, worker_id: str, signal: str) -> None:
        name = platform_name(worker_id)
        with none_if(NOT_THERE, CONFLICT):
            await self._engine.ask(lambda docker: docker.containers.container(name).kill(signal=signal))

    async def _look(self) -> list[FleetWorker]:
        filters = {"label": [f"{INSTALLATION}={self._installation}"]}
        found = await self._engine.ask(lambda docker: docker.containers.list(all=True, filters=filters))
        workers = [worker for container in found if (worker := self._listed(container))]
        known = {worker.worker_id for worker in workers}
        await asyncio.to_thread(self._secrets.prune, known)
        return workers

    def _listed(self, summary: Any) -> FleetWorker | None:
        worker = labelled(summary["Labels"])
        if worker is None:
            return None
        state = summary["State"]
        # Created but not being started: its scaler died in between.
        if state in _ENDED or (state == "created" and not self._known.is_starting(worker.worker_id)):
            code = _EXIT_CODE.match(summary["Status"])
            return replace(worker, state="exited", exit_code=int(code[1]) if code else None)
        return worker

    def _note(self, event: dict[str, Any]) -> None:
        """Take in what an event says: its attributes hold the container's labels."""
        told: dict[str, str] = event["Actor"]["Attributes"]
        worker = labelled(told)
        if worker is None:
            return
        if event["Action"] == "destroy":
            self._known.drop(worker.worker_id)
        elif event["Action"] == "die":
            self._known.put(replace(worker, state="exited", exit_code=int(told["exitCode"])))
        else:
            self._known.put(worker)


async def check_engine(settings: Settings) -> str:
    """Check that the engine has every application's image; a FleetError names a missing one."""
    fleet = DockerFleet(settings)
    try:
        return await fleet.check()
    finally:
        await fleet.close()


def _described(config: dict[str, Any]) -> WorkerImage:
    user, _, group = str(config.get("User") or "").partition(":")
    numbers = (int(user), int(group or user)) if user.isdecimal() and (group or user).isdecimal() else None
    return WorkerImage(IMAGE_LABEL in (config.get("Labels") or {}), numbers or _IMAGE_USER)


def _image_missing(app_id: str, image: str) -> FleetError:
    return FleetError(
        f"image {image!r} of {app_id}'s workers not found on the Docker engine; "
        f"build it: docker build -t {image} ."
    )
