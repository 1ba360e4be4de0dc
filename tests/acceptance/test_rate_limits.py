"""A rate limit of an application, kept by its workers together: real commands, real time."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UPLOADS, SIZE, RATE = 120, 50_000, 250_000


def test_two_workers_keep_the_rate_of_their_application_together(tmp_path: Path) -> None:
    """24 seconds of work at the limit; twelve, were it each worker's own.

    So long that one that has no processor for ten has its part all the same.
    """
    app_id = f"a{uuid.uuid4().hex[:12]}"
    settings = {"app_rate_limit": RATE, "slots": 4, "status_interval": 0.5}
    with System(tmp_path, app_id=app_id, **settings) as system:
        workers = [system.start("worker", "--app", app_id) for _ in range(2)]
        log = tmp_path / "worker.log"
        wait_until(lambda: log.read_text().count("state=ready") == 2, 60, system.logs)
        requests = system.make_requests(UPLOADS, size=SIZE)
        total = sum((system.sources / name).stat().st_size for name in system.checksums)
        time.sleep(6)  # until each has heard of the other
        began = time.monotonic()
        system.publish(requests)
        wait_until(lambda: system.stored_count() == UPLOADS, 90, system.logs)
        took = time.monotonic() - began
        assert took > 0.8 * total / RATE, "both together must keep to it"
        for worker in workers:
            worker.terminate()
            worker.wait(60)
        shares = [int(count) for count in re.findall(r"worker\.stopped .*?\bstored=(\d+)", log.read_text())]
        assert sum(shares) == UPLOADS
        assert min(shares) > UPLOADS / 4, "and each has its part of it"
        assert len(system.stored()) == UPLOADS
