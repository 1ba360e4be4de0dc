"""The destination's folder goes away or fills up under running workers, on either broker: nothing dies."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from typing import TYPE_CHECKING

import pytest

from conftest import fill_disk
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)

DELIVERY_LIMIT = 1
COUNT = 2
LIMITS = {"delivery_limit": DELIVERY_LIMIT, "retry_backoff": 0.1}


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    app = f"f{uuid.uuid4().hex[:12]}"
    with System(tmp_path / "system", broker_url=url, app_id=app, **LIMITS) as running:
        yield running


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path / "system", app_id="f1", **LIMITS) as running:
        yield running


def outages(system: System, words: str = "is not there") -> int:
    """Count the attempts that found the destination as it is in these words."""
    found = (system.folder / "worker.log").read_text("utf-8")
    return found.count(f"destination {system.environment['UPSWELL_DESTINATION']} {words}")


def test_a_destination_that_is_removed_and_made_anew_costs_no_upload_and_no_restart(system: System) -> None:
    requests = system.make_requests(COUNT, size=1000)
    system.start("worker", "--app", system.app_id)
    wait_until(lambda: "event=worker.started" in system.said(), 60, system.logs)
    shutil.rmtree(system.store)
    system.publish(requests)
    # More than would kill every upload, if they counted.
    wait_until(lambda: outages(system) > COUNT * DELIVERY_LIMIT, 120, system.logs)
    assert system.dead() == {}
    system.store.mkdir()
    wait_until(lambda: len(system.stored()) == COUNT, 120, system.logs)
    assert system.dead() == {}
    assert "event=store.folder_reopened" in (system.folder / "worker.log").read_text("utf-8")


def test_a_destination_that_is_unmounted_and_mounted_again_costs_no_upload_and_no_restart(
    embedded: System, small_disk: Path
) -> None:
    """What is stored meanwhile would lie below the mount, where nobody finds it."""
    system = embedded
    kept = small_disk / "kept"
    kept.mkdir()
    system.store.mkdir()
    bind = ["mount", "--bind", str(kept), str(system.store)]
    subprocess.check_call(bind)
    try:
        system.start("worker", "--app", system.app_id)
        wait_until(lambda: "event=worker.started" in system.said(), 60, system.logs)
        assert (kept / ".upswell-tmp").exists()
        subprocess.check_call(["umount", "--lazy", str(system.store)])
        system.publish(system.make_requests(COUNT, size=1000))
        wait_until(
            lambda: outages(system, "is on another file system") > COUNT * DELIVERY_LIMIT, 120, system.logs
        )
        assert not system.stored()
        subprocess.check_call(bind)
        wait_until(lambda: len(system.stored()) == COUNT, 120, system.logs)
        assert system.dead() == {}
    finally:
        subprocess.call(["umount", "--lazy", str(system.store)])


def test_a_disk_without_room_costs_no_upload(embedded: System, small_disk: Path) -> None:
    system = embedded
    system.destination = system.environment["UPSWELL_DESTINATION"] = str(small_disk / "store")
    system.start("worker", "--app", system.app_id)
    wait_until(lambda: "event=worker.started" in system.said(), 60, system.logs)
    fill_disk(small_disk)
    system.publish(system.make_requests(COUNT, size=1000))
    wait_until(lambda: outages(system, "is full: ") > COUNT * DELIVERY_LIMIT, 120, system.logs)
    assert system.dead() == {}
    (small_disk / "ballast").unlink()
    wait_until(lambda: len(system.stored()) == COUNT, 120, system.logs)
    assert system.dead() == {}
