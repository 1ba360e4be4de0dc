"""Whenever a scaler dies: a secret lies only where there is a container to be removed, and goes first."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiodocker.containers import DockerContainer, DockerContainers

from upswell.errors import FleetError
from upswell.fleets.docker import DockerFleet
from upswell.fleets.protocol import WorkerSpec
from upswell.settings import Settings
from upswell.testing.fleets import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.docker_engine import DockerEngine

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]

APP, IMAGE = "secretive", "upswell-worker:test"


@pytest.fixture
def memory() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="upswell-secrets.", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


def test_a_start_that_is_cut_off_and_a_removed_container_leave_no_secret(
    engine: DockerEngine, memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.worker_image(IMAGE)
    if engine.host:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
    settings = Settings(
        state_dir=str(tmp_path / "state"),
        apps={APP: {}},
        fleets={"docker": {"image": IMAGE, "tmpfs_dir": str(memory)}},
    )
    worker = WorkerSpec(
        worker_id="s1",
        app_id=APP,
        standby=False,
        requested_at=time.time(),
        environment={"AMQPURL": "amqp://x:y@z"},
    )
    seen: list[tuple[str, list[str]]] = []
    create, delete = DockerContainers.create, DockerContainer.delete

    def secrets() -> list[str]:
        return [path.name for path in memory.rglob("*") if path.is_file()]

    async def cut_off(*_: object, **__: object) -> None:
        raise aiohttp.ServerDisconnectedError

    async def look_and_create(self: Any, *given: Any, **more: Any) -> Any:
        seen.append(("create", secrets()))
        return await create(self, *given, **more)

    async def look_and_delete(self: Any, **more: Any) -> Any:
        seen.append(("delete", secrets()))
        return await delete(self, **more)

    async def scenario() -> None:
        fleet = DockerFleet(settings)
        monkeypatch.setattr(DockerContainers, "create", cut_off)
        with pytest.raises(FleetError, match="cannot reach the Docker engine"):
            await fleet.start(worker)
        assert secrets() == []
        monkeypatch.setattr(DockerContainers, "create", look_and_create)
        monkeypatch.setattr(DockerContainer, "delete", look_and_delete)
        await fleet.start(worker)
        assert secrets() == ["AMQPURL"]
        await fleet.start(worker)  # asked for twice: what a running worker has mounted stays
        assert secrets() == ["AMQPURL"]
        await fleet.kill("s1")
        await until(fleet, "s1", "exited")
        await fleet.forget("s1")
        await fleet.close()

    asyncio.run(scenario())
    assert seen == [("create", []), ("create", ["AMQPURL"]), ("delete", [])]
