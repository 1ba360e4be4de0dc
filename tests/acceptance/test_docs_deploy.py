"""The pages on deploying to Docker and Swarm: their settings are loaded, and their engines asked."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from upswell.fleets.registry import check_fleet
from upswell.settings import load_settings

if TYPE_CHECKING:
    from support.docker_engine import DockerEngine

ROOT = Path(__file__).parents[2]
FENCES = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]


@pytest.mark.parametrize(
    ("fleet", "expected"), [("docker", "1 image found"), ("swarm", "1 of 1 node take workers")]
)
def test_the_settings_of_a_page_are_taken_and_its_fleet_answers(
    fleet: str, expected: str, engine: DockerEngine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("swarm_host")
    (text,) = FENCES.findall((ROOT / f"docs/deploy/{fleet}.md").read_text("utf-8"))
    engine.docker("tag", engine.worker_image("upswell-worker:test"), "upswell-worker:1")
    file = tmp_path / "upswell.toml"
    file.write_text(text)
    flags = {"state_dir": str(tmp_path), "broker_url": "amqp://me:hunter2@127.0.0.1", "source_roots": []}
    settings, _ = load_settings(str(file), flags)
    assert settings.fleet == fleet
    assert f"{fleet} answers, 0 workers, {expected}" in asyncio.run(check_fleet(settings))


def test_the_stack_is_one_that_docker_takes(engine: DockerEngine) -> None:
    shown = engine.docker("stack", "config", "--compose-file", "deploy/swarm/stack.yml")
    assert "/run/upswell/secrets/AMQPURL" in shown
    assert "s3://uploads/{app_id}" in shown
    assert "node.role == manager" in shown
