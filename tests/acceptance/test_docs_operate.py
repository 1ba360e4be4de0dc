"""The sections of docs/operate.md about a service, walked through as far as one machine allows.

`systemctl start`, `stop` and `restart` are played by the command of the unit and SIGTERM.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy/compose.yaml"
SECRETS = {"RABBITMQ_PASSWORD": "secret1", "S3_SECRET_KEY": "secret2"}


def block(section: str) -> str:
    """Return the first block of shell lines of a section of the page."""
    page = (ROOT / "docs/operate.md").read_text()
    return page.split(f"# {section}\n")[1].split("```sh\n")[1].split("```")[0]


def shell(script: str, system: System, **variables: str) -> str:
    """Run lines of the page as an operator would; return what they print."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=system.folder,
        env={**system.environment, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "one", app_id="operated", slots=1) as made:
        yield made


def start(system: System) -> subprocess.Popen[bytes]:
    started = system.start("up")
    wait_until(lambda: bool(system.workers()), 60, system.logs)
    return started


def stop(started: subprocess.Popen[bytes], system: System) -> None:
    started.send_signal(signal.SIGTERM)
    assert started.wait(100) == 0, system.logs()
    assert not system.workers()


def test_stop_and_start_keep_what_waits_in_the_queue(system: System) -> None:
    assert block("Start and stop") == "systemctl start upswell\nsystemctl stop upswell\n"
    stop(start(system), system)
    system.publish(system.make_requests(5, size=1000))
    assert system.stored_count() == 0
    started = start(system)
    wait_until(lambda: len(system.stored()) == 5, 60, system.logs)
    stop(started, system)


def test_restarted_workers_have_the_new_version_and_the_new_keys(system: System) -> None:
    system.environment["AWS_ACCESS_KEY_ID"] = "OLD"
    stop(start(system), system)
    system.environment["AWS_ACCESS_KEY_ID"] = "NEW"
    started = start(system)
    for worker in system.workers():
        assert b"AWS_ACCESS_KEY_ID=NEW" in Path(f"/proc/{worker}/environ").read_bytes()
    version = shell("upswell --version", system).split()[-1]
    shown: list[str] = []

    def is_ready() -> bool:  # one that the machine holds up is not heard
        shown[:] = [shell(block("Upgrade").splitlines()[-1], system)]
        return "ready" in shown[0]

    wait_until(is_ready, 60, system.logs)
    assert version in shown[0]
    stop(started, system)


def test_the_journals_copy_made_while_it_runs_can_be_read(system: System) -> None:
    started = start(system)
    wait_until(lambda: "hold 1" in system.run("status").stdout, 60, system.logs)
    assert "hold 1" in shell(block("Back up"), system)
    stop(started, system)


def test_the_moved_state_folder_is_the_queue(system: System, tmp_path: Path) -> None:
    system.publish(system.make_requests(5, size=1000))
    shell(block("Move to another machine"), system)
    with System(tmp_path / "two", app_id="operated") as other:
        state = Path(other.environment["UPSWELL_STATE_DIR"])
        state.mkdir()
        shell(f"tar -C {state} -xf {system.folder}/upswell-state.tar", other)
        other.environment["UPSWELL_SOURCE_ROOTS"] = str(system.sources)
        other.checksums = system.checksums
        started = start(other)
        wait_until(lambda: len(other.stored()) == 5, 60, other.logs)
        stop(started, other)
    assert system.stored_count() == 0


def test_what_to_watch_answers_by_its_exit_status(system: System) -> None:
    assert system.run("doctor", check=False).returncode == 1  # neither monitor nor scaler runs
    started = start(system)
    wait_until(lambda: system.run("doctor", check=False).returncode == 0, 60, system.logs)
    assert system.run("status", "--json").stdout.startswith(("{", "["))
    assert system.run("dead", "list", "--app", system.app_id).returncode == 0
    stop(started, system)


def test_compose_takes_the_file_and_refuses_to_start_without_passwords(tmp_path: Path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed (apt-get install docker-compose)")

    def config(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker-compose", "--file", COMPOSE, "--project-directory", COMPOSE.parent, "config"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **variables},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    without = config()
    assert without.returncode != 0
    assert "in .env" in without.stderr
    shown = config(**SECRETS, UPSWELL_IMAGE="mine:1", RABBITMQ_IMAGE="rabbit:1", S3_IMAGE="s3:1")
    assert shown.returncode == 0, shown.stderr
    assert set(re.findall(r"image: (\S+)", shown.stdout)) == {"mine:1", "rabbit:1", "s3:1"}
    assert "stop_grace_period: 1h0m0s" in shown.stdout
    assert "amqp://upswell:secret1@rabbitmq:5672/" in shown.stdout
