"""`upswell purge` and `upswell cancel`, started as a user does, on both brokers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}") as made:
        yield made


def publish(system: System, *ids: str, wait: bool = False) -> str:
    """Publish one request for each id, or start to and wait; return the requests' file."""
    lines = [json.dumps({"type": "file", "uri": "file:///x", "id": name, "key": name}) for name in ids]
    path = system.folder / "requests.jsonl"
    path.write_text("\n".join(lines))
    if not wait:
        system.run("publish", "--app", system.app_id, str(path))
    return str(path)


def answered(system: System, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command and answer its question."""
    command = [sys.executable, "-m", "upswell", *arguments]
    options = {"env": system.environment, "cwd": system.folder, "input": answer, "timeout": 60}
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_purge_asks_and_then_deletes_all_that_is_queued(system: System) -> None:
    publish(system, "a", "b", "c")
    refused = answered(system, "n\n", "purge", system.app_id)
    assert f"permanently delete 3 queued uploads of {system.app_id}?" in refused.stdout
    assert refused.returncode == 1
    agreed = answered(system, "y\n", "purge", system.app_id)
    assert f"deleted 3 uploads from {system.app_id}_upload" in agreed.stdout
    assert "deleted 0 uploads" in system.run("purge", system.app_id).stdout


def test_purge_of_an_unknown_application_says_that_it_has_no_queue(system: System) -> None:
    done = system.run("purge", "nobody", "--yes", check=False)
    assert done.returncode == 1
    assert "error: there is no queue nobody_upload" in done.stderr


def test_cancel_deletes_one_queued_upload_and_leaves_the_others_their_attempts(system: System) -> None:
    publish(system, "a", "b", "c", "d")
    for _ in range(6):  # more often than there are attempts
        done = system.run("cancel", "--app", system.app_id, "--yes", "nothing", check=False)
        assert "error: not queued, so running, done or unknown: nothing" in done.stderr
    asked = answered(system, "y\n", "cancel", "--app", system.app_id, "b", "d")
    assert f"permanently delete b, d of {system.app_id}?" in asked.stdout
    assert "deleted 2 uploads" in asked.stdout
    assert system.dead() == {}
    assert "deleted 2 uploads" in system.run("purge", system.app_id, "--yes").stdout


def test_a_publisher_that_waits_is_told_that_its_upload_was_cancelled(system: System) -> None:
    path = publish(system, "a", wait=True)
    waiting = system.start("publish", "--app", system.app_id, "--wait", "--json", path)

    def cancelled() -> bool:
        done = system.run("cancel", "--app", system.app_id, "--yes", "a", check=False)
        return done.returncode == 0

    wait_until(cancelled, 60, system.logs)
    assert waiting.wait(60) == 1
    assert "cancelled by an operator" in system.said()
