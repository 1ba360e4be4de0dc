"""The pages on deploying to Docker and Swarm: their settings are used, from doctor to the last drain.

What a page takes for granted is put under it: an image of the name it builds, a bucket of the name it stores
in, RabbitMQ. The tests' containers use the host's network, and the Swarm is one node, its own manager.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import s3_server
from support.system import System, wait_until
from upswell.fleets.registry import check_fleet
from upswell.settings import load_settings

if TYPE_CHECKING:
    from support.docker_engine import DockerEngine

ROOT = Path(__file__).parents[2]
FENCES = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.fixture
def text(fleet: str, engine: DockerEngine, swarm_host: None) -> str:
    """Return a page's settings; its image and a Swarm are there."""
    del swarm_host
    engine.docker("tag", engine.worker_image("upswell-worker:test"), "upswell-worker:1")
    (found,) = FENCES.findall((ROOT / f"docs/deploy/{fleet}.md").read_text("utf-8"))
    return found


@pytest.mark.parametrize(
    ("fleet", "expected"), [("docker", "1 image found"), ("swarm", "1 of 1 node take workers")]
)
def test_the_settings_of_a_page_are_taken_and_its_fleet_answers(
    fleet: str, expected: str, text: str, tmp_path: Path
) -> None:
    file = tmp_path / "upswell.toml"
    file.write_text(text)
    flags = {"state_dir": str(tmp_path), "broker_url": "amqp://me:hunter2@127.0.0.1", "source_roots": []}
    settings, _ = load_settings(str(file), flags)
    assert settings.fleet == fleet
    assert f"{fleet} answers, 0 workers, {expected}" in asyncio.run(check_fleet(settings))


@pytest.mark.slow
@pytest.mark.rabbitmq
@pytest.mark.parametrize("fleet", ["docker", "swarm"])
def test_uploads_run_as_the_page_says(
    fleet: str, text: str, engine: DockerEngine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker_url, endpoint = request.getfixturevalue("rabbitmq"), request.getfixturevalue("endpoint")
    app_id = f"photos{uuid.uuid4().hex[:8]}"
    store = s3_server.client(endpoint)
    store.create_bucket(Bucket="uploads")
    for number in range(12):
        store.put_object(Bucket=s3_server.BUCKET, Key=f"in/{number}.jpg", Body=b"photo %d" % number)
    with System(
        tmp_path / "system", broker_url=broker_url, app_id=app_id, store_endpoint=endpoint,
        source_stores=f"s3://{s3_server.BUCKET}/in", start_timeout=120,
    ) as system:  # fmt: skip
        for told_by_the_page in ("FLEET", "DESTINATION", "SOURCE_ROOTS", "APPS", "MAX_WORKERS", "SLOTS"):
            system.environment.pop(f"UPSWELL_{told_by_the_page}", None)
        system.environment.update(s3_server.environment())
        if fleet == "docker":
            text = text.replace("[fleets.docker]", '[fleets.docker]\nnetwork = "host"')
            text = "source_roots = []\n" + text
        text = text.replace("node.role==worker", "node.role==manager").replace(
            "[apps.photos]", f"[apps.{app_id}]"
        )
        (system.folder / "upswell.toml").write_text(text)
        system.environment["DOCKER_HOST"] = engine.host or ""

        system.start("up")
        told: list[str] = []

        def well() -> bool:
            done = system.run("doctor", check=False)
            told[:] = [done.stdout]
            return done.returncode == 0

        wait_until(well, 300, lambda: f"{told}{system.logs()}")
        (doctor,) = told
        assert f"{fleet} answers" in doctor
        assert "wrote, read and deleted an object" in doctor
        uris = [f"s3://{s3_server.BUCKET}/in/{number}.jpg" for number in range(12)]
        system.run("publish", "--app", app_id, "--wait", *uris, timeout=300)
        stored = store.list_objects_v2(Bucket="uploads", Prefix=f"{app_id}/")["Contents"]
        assert len(stored) == 12
        # One that the machine holds up is not heard.
        wait_until(lambda: app_id in system.run("workers").stdout, 60, system.logs)
        system.run("down", timeout=300)
        mine = ("--quiet", "--filter", f"label=upswell.app={app_id}")
        assert engine.docker("service", "ls", *mine) == ""
        # Swarm removes the containers of a service that is gone in its own time.
        wait_until(lambda: engine.docker("ps", "--all", *mine) == "", 120, system.logs)


def test_the_stack_is_one_that_docker_takes(engine: DockerEngine) -> None:
    shown = engine.docker("stack", "config", "--compose-file", "deploy/swarm/stack.yml")
    assert "/run/upswell/secrets/AMQPURL" in shown
    assert "s3://uploads/{app_id}" in shown
    assert "node.role == manager" in shown
