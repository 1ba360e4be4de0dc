"""What every fleet promises: processes, Docker containers and Swarm services alike."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import pytest

from support.docker_engine import DockerEngine
from upswell.fleets.docker import DockerFleet
from upswell.fleets.process import ProcessFleet
from upswell.fleets.swarm import SwarmFleet
from upswell.settings import Settings
from upswell.testing.fleets import (
    STAND_IN,
    AbsentPlatformContract,
    FleetContract,
    MissingImageContract,
    OpenFleet,
    Platform,
    clean,
    until_answered,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from upswell.fleets.protocol import Fleet

IMAGE = "upswell-stand-in:test"

# The first Docker test of a machine makes an image from Debian's packages.
DOCKER_MARKS = (pytest.mark.docker, pytest.mark.timeout(900))
FLEETS = {"docker": DockerFleet, "swarm": SwarmFleet}
ON_AN_ENGINE = [pytest.param(name, marks=DOCKER_MARKS) for name in FLEETS]


def settings_for(fleet: str, folder: Path, image: str = IMAGE) -> Settings:
    """Return settings with a broker elsewhere and a remote store: nothing of this machine is mounted."""
    return Settings(
        state_dir=str(folder),
        broker_url="amqp://u:p@127.0.0.1",
        destination="s3://bucket",
        fleets={fleet: {"image": image, "installation": str(folder)}},
    )


class TestFleets(FleetContract):
    """The fleets that come with Upswell; UPSWELL_FLEET_WORKERS=200 asks for so many at once."""

    many = int(os.environ.get("UPSWELL_FLEET_WORKERS", str(FleetContract.many)))

    @pytest.fixture(params=["process", *ON_AN_ENGINE])
    def open_fleet(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenFleet]:
        """Open the same fleet anew, as a scaler does that was started again."""
        if request.param == "process":
            yield lambda: ProcessFleet(tmp_path, command=(sys.executable, str(STAND_IN)))
            opened: Fleet = ProcessFleet(tmp_path)
        else:
            request.getfixturevalue("swarm_host" if request.param == "swarm" else "docker_host")
            request.getfixturevalue("engine").script_image(IMAGE, STAND_IN, "upswell.image=test")
            settings = settings_for(request.param, tmp_path)
            yield lambda: FLEETS[request.param](settings)
            opened = FLEETS[request.param](settings)
        asyncio.run(clean(opened))


class TestMissingImages(MissingImageContract):
    """An image that nobody has built, or that somebody has removed."""

    @pytest.fixture(params=ON_AN_ENGINE)
    def open_without_image(self, request: pytest.FixtureRequest, tmp_path: Path) -> OpenFleet:
        """Open a fleet whose image is nowhere."""
        request.getfixturevalue("swarm_host" if request.param == "swarm" else "docker_host")
        settings = settings_for(request.param, tmp_path, "no-such-image:1")
        return lambda: FLEETS[request.param](settings)


@pytest.fixture(scope="module")
def own_engine(engine: DockerEngine) -> Iterator[DockerEngine]:
    """An engine that no other test uses; its data outlives its stops."""
    engine.base_image()  # into the cache, if it is not there yet
    with DockerEngine(private=True) as own:
        own.script_image(IMAGE, STAND_IN, "upswell.image=test")
        own.init_swarm()
        yield own


class TestAbsentEngines(AbsentPlatformContract):
    """An engine of its own, stopped and started."""

    @pytest.fixture
    def platform(self, own_engine: DockerEngine) -> Platform:
        """Return what stops and starts the engine."""
        return own_engine.pausing()

    @pytest.fixture(params=ON_AN_ENGINE)
    def open_fleet(
        self,
        request: pytest.FixtureRequest,
        own_engine: DockerEngine,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Iterator[OpenFleet]:
        """Open the same fleet anew."""
        assert own_engine.host
        monkeypatch.setenv("DOCKER_HOST", own_engine.host)
        settings = settings_for(request.param, tmp_path)
        yield lambda: FLEETS[request.param](settings)
        opened = FLEETS[request.param](settings)

        async def end() -> None:
            await until_answered(opened)
            await clean(opened)

        asyncio.run(end())
