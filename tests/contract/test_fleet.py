"""What every fleet promises: processes and Docker containers alike."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import pytest

from upswell.fleets.docker import DockerFleet
from upswell.fleets.process import ProcessFleet
from upswell.settings import Settings
from upswell.testing.fleets import STAND_IN, FleetContract, OpenFleet, clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from upswell.fleets.protocol import Fleet

IMAGE = "upswell-stand-in:test"

# The first Docker test of a machine makes an image from Debian's packages.
DOCKER_MARKS = (pytest.mark.docker, pytest.mark.timeout(900))


class TestFleets(FleetContract):
    """The fleets that come with Upswell."""

    @pytest.fixture(params=["process", pytest.param("docker", marks=DOCKER_MARKS)])
    def open_fleet(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenFleet]:
        """Open the same fleet anew, as a scaler does that was started again."""
        if request.param == "process":
            yield lambda: ProcessFleet(tmp_path, command=(sys.executable, str(STAND_IN)))
            opened: Fleet = ProcessFleet(tmp_path)
        else:
            request.getfixturevalue("docker_host")
            request.getfixturevalue("engine").script_image(IMAGE, STAND_IN, "upswell.image=test")
            # A broker elsewhere and a remote store: nothing of this machine is mounted.
            settings = Settings(
                state_dir=str(tmp_path),
                broker_url="amqp://u:p@127.0.0.1",
                destination="s3://bucket",
                fleets={"docker": {"image": IMAGE}},
            )
            yield lambda: DockerFleet(settings)
            opened = DockerFleet(settings)
        asyncio.run(clean(opened))
