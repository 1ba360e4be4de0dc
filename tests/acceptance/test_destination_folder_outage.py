"""The destination's folder goes away under running workers and comes back, on either broker: nothing dies."""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

DELIVERY_LIMIT = 2


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    app = f"f{uuid.uuid4().hex[:12]}"
    limits = {"delivery_limit": DELIVERY_LIMIT, "retry_backoff": 0.1, "slots": 2}
    with System(tmp_path / "system", broker_url=url, app_id=app, **limits) as running:
        yield running


def outages(system: System) -> int:
    """Count the attempts that found the folder away."""
    return (system.folder / "worker.log").read_text("utf-8").count(f"the destination {system.store} is not")


def test_a_destination_that_is_removed_and_made_anew_costs_no_upload_and_no_restart(system: System) -> None:
    requests = system.make_requests(6, size=1000)
    system.start("worker", "--app", system.app_id)
    wait_until(system.store.exists, 60, system.logs)
    shutil.rmtree(system.store)
    system.publish(requests)
    # More than would kill every upload, if they counted.
    wait_until(lambda: outages(system) > 6 * DELIVERY_LIMIT, 120, system.logs)
    assert system.dead() == {}
    system.store.mkdir()
    wait_until(lambda: len(system.stored()) == 6, 120, system.logs)
    assert system.dead() == {}
    assert "event=store.folder_reopened" in (system.folder / "worker.log").read_text("utf-8")
