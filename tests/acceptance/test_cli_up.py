"""`upswell up`, `status`, `worker` and `doctor`, started as a user does."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from support.holder import open_broker
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", status_interval=0.5) as made:
        yield made


def status(system: System) -> dict[str, Any]:
    return json.loads(system.run("status", "--json").stdout)["apps"][0]


def queued(system: System) -> set[str]:
    """Return the keys of the requests in the queue."""

    async def look() -> set[str]:
        kind, where = "sqlite", str(system.folder / "state" / "broker.sqlite")
        if system.broker_url:
            kind, where = "rabbitmq", system.broker_url
        broker = open_broker(kind, where, "looker")
        await broker.connect()
        try:
            return {json.loads(one.body)["key"] for one in await broker.look(f"{system.app_id}_upload")}
        finally:
            await broker.close()

    return asyncio.run(look())


@pytest.mark.slow
def test_up_scales_out_shows_it_in_status_and_drains_at_ctrl_c(system: System) -> None:
    """Ctrl-C lets every worker finish what it has: nothing is left running, nothing is lost."""
    requests = system.make_requests(200, size=20_000)  # 40 s of work for one worker
    slow = ("--slots", "1", "--upload-rate-limit", "100000", "--decision-interval", "0.5")
    up = system.start("up", "--slo", "95% < 2s", *slow)
    system.publish(requests)
    wait_until(lambda: len(system.workers()) >= 3, 60, system.logs)
    # Those that have just been started are not heard yet, and one that the machine holds up is not either.
    seen: dict[str, Any] = {}

    def two_are_heard() -> bool:
        seen.update(status(system))
        return sum(seen["workers"].values()) >= 2

    wait_until(two_are_heard, 60, system.logs)
    assert seen["slo"] == "95% < 2s"
    assert seen["depth"]["messages_ready"] is not None
    assert seen["decisions"][-1]["reason"]
    shown = system.run("status").stdout
    assert system.app_id in shown
    assert "95% < 2s" in shown
    wait_until(lambda: system.stored_count() == 200, 120, system.logs)
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0
    assert not system.workers()
    assert len(system.stored()) == 200


@pytest.mark.slow
def test_a_long_drain_shows_its_progress(system: System) -> None:
    requests = system.make_requests(4, size=100_000)
    up = system.start("up", "--upload-rate-limit", "8000", "--max-workers", "1", "--decision-interval", "0.5")
    system.publish(requests)
    wait_until(lambda: status(system)["busy_slots"] >= 1, 60, system.logs)
    up.send_signal(signal.SIGINT)
    # The first line may come before a worker that the machine holds up has answered.
    line = re.compile(r"^draining: 1 worker and \d uploads? left, .* moved$", re.MULTILINE)
    wait_until(lambda: line.search(system.said()) is not None, 60, system.logs)
    assert up.wait(120) == 0
    assert len(system.stored()) + status(system)["depth"]["messages_ready"] == 4


@pytest.mark.slow
def test_a_second_ctrl_c_has_workers_put_their_uploads_back(system: System) -> None:
    """Who cannot wait for uploads that take long may leave at once: the queue still has them."""
    requests = system.make_requests(8, size=100_000)
    up = system.start("up", "--upload-rate-limit", "2000", "--decision-interval", "0.5")
    system.publish(requests)
    wait_until(lambda: status(system)["busy_slots"] >= 1, 60, system.logs)
    up.send_signal(signal.SIGINT)
    wait_until(lambda: "draining" in system.said(), 60, system.logs)
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0
    assert not system.workers()

    def all_are_there() -> bool:
        """One whose copy RabbitMQ took and did not confirm in time is there twice, as is promised."""
        return queued(system) | system.stored() == set(system.checksums)

    wait_until(all_are_there, 60, lambda: f"{queued(system)} {system.stored()} {system.logs()}")


@pytest.mark.slow
def test_an_upload_queue_of_another_name_is_what_every_part_uses(system: System) -> None:
    """With no worker there to begin with, only a monitor that looks at that very queue starts one."""
    system.environment["UPSWELL_UPLOAD_QUEUE"] = "requests.of.{app_id}"
    requests = system.make_requests(5, size=1000)
    system.publish(requests)
    up = system.start("up", "--min-workers", "0", "--decision-interval", "0.5")
    wait_until(lambda: system.stored_count() == 5, 60, system.logs)
    seen = status(system)
    assert seen["upload_queue"] == f"requests.of.{system.app_id}"
    assert seen["depth"]["messages_ready"] == 0
    assert f"requests.of.{system.app_id}.dead" in system.run("dead", "list", "--app", system.app_id).stderr
    assert "queues: 3 declared, 0 not yet" in system.run_until_well("doctor")
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0


def test_up_without_an_application_says_how_to_name_one(tmp_path: Path) -> None:
    with System(tmp_path, app_id="e1") as system:
        del system.environment["UPSWELL_APPS"]
        done = system.run("up", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no application to scale: give --app X")


@pytest.mark.parametrize("name", ["numpy", "rich"])
def test_a_running_worker_has_not_imported(name: str, tmp_path: Path) -> None:
    """It must start in a moment and stay small: neither is of use to it."""
    code = (
        "import sys\n"
        "import upswell.cli\n"
        "try: upswell.cli.main(['worker', '--app', 'e1'])\n"
        "except SystemExit as end: assert not end.code, end\n"
        f"print([m for m in sys.modules if m.split('.')[0] == {name!r}])"
    )
    with System(tmp_path, app_id="e1") as system:
        log = system.folder / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-c", code],
                env=system.environment,
                cwd=tmp_path,
                stdout=output,
                stderr=output,
            )
        system.commands.append(worker)
        wait_until(lambda: "event=worker.started" in log.read_text(), 90, log.read_text)
        worker.terminate()
        assert worker.wait(60) == 0, log.read_text()
    assert log.read_text().splitlines()[-1] == "[]"
