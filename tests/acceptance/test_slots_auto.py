"""`upswell worker --slots auto` as a user starts it: the slots grow under load, and nothing is lost."""

from __future__ import annotations

import re
import signal
import uuid
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UPLOADS = 450


@pytest.mark.parametrize("broker", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_a_worker_takes_more_slots_as_long_as_they_bring_more(
    request: pytest.FixtureRequest, tmp_path: Path, broker: str
) -> None:
    """Uploads that only take time share nothing: each further slot brings all that it can.

    They take so long that a busy machine has the processor for all slots.
    """
    url = request.getfixturevalue("rabbitmq") if broker == "rabbitmq" else ""
    app_id = f"a{uuid.uuid4().hex[:12]}"
    with System(
        tmp_path, broker_url=url, app_id=app_id, handlers_simulate_seconds="0.4", max_slots=9
    ) as system:
        worker = system.start("worker", "--app", app_id, "--slots", "auto", "--handler", "simulate")
        requests = system.make_requests(UPLOADS, size=2)
        done = system.run("publish", "--app", app_id, "--wait", str(requests), timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        log = (tmp_path / "worker.log").read_text()
        assert [int(slots) for slots in re.findall(r"event=worker\.slots .*?\bslots=(\d+)", log)][:2] == [
            6,
            9,
        ]
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: worker.poll() is not None, 60, system.logs)
        assert worker.returncode == 0
        assert f"stored={UPLOADS}" in (tmp_path / "worker.log").read_text()
        assert system.dead() == {}
