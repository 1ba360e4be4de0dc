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


def steps(log: Path) -> list[tuple[int, int]]:
    """Return the changes of the slots: from how many to how many."""
    found = re.findall(r"event=worker\.slots .*?\bslots=(\d+) before=(\d+)", log.read_text())
    return [(int(before), int(slots)) for slots, before in found]


@pytest.mark.parametrize("broker", ["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def test_a_worker_takes_more_slots_as_long_as_they_bring_more(
    request: pytest.FixtureRequest, tmp_path: Path, broker: str
) -> None:
    """Uploads that only take time share nothing: each further slot brings all that it can.

    They take so long that a busy machine has the processor for all slots. Where it stood still while six were
    measured, the worker is right to go back to four: it tries again, and more is published until then.
    """
    url = request.getfixturevalue("rabbitmq") if broker == "rabbitmq" else ""
    app_id = f"a{uuid.uuid4().hex[:12]}"
    with System(
        tmp_path, broker_url=url, app_id=app_id, handlers_simulate_seconds="0.4", max_slots=9
    ) as system:
        worker = system.start("worker", "--app", app_id, "--slots", "auto", "--handler", "simulate")
        requests = system.make_requests(UPLOADS, size=2)
        log = tmp_path / "worker.log"
        published = 0

        def nine_are_tried() -> bool:
            nonlocal published
            system.run("publish", "--app", app_id, "--fresh", "--wait", str(requests), timeout=120)
            published += UPLOADS
            return (6, 9) in steps(log)

        wait_until(nine_are_tried, 300, system.logs)
        assert steps(log)[0] == (4, 6)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: worker.poll() is not None, 60, system.logs)
        assert worker.returncode == 0
        assert f"stored={published}" in log.read_text()
        assert system.dead() == {}
