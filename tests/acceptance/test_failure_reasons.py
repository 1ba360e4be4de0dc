"""Why nothing is stored stands where the user looks: in `upswell status`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support import s3_server
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, endpoint: str, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(
        tmp_path / "system",
        broker_url=url,
        app_id=f"e{uuid4().hex[:8]}",
        fleet="process",
        store_endpoint=endpoint,
        destination="s3://no-such-bucket/out",
        decision_interval=0.5,
    ) as made:
        made.environment |= s3_server.environment()
        yield made


def problems(system: System) -> list[str]:
    return json.loads(system.run("status", "--json").stdout)["apps"][0]["problems"]


@pytest.mark.slow
def test_status_says_that_the_bucket_is_missing_and_how_often_it_was_found_missing(system: System) -> None:
    requests = system.make_requests(5, size=2000)
    up = system.start("up")
    wait_until(lambda: "worker.started" in system.said(), 60, system.logs)
    system.publish(requests)
    seen: list[str] = []

    def told() -> bool:
        seen[:] = [words for words in problems(system) if "NoSuchBucket" in words]
        return bool(seen)

    # A monitor that had no processor for some seconds has old figures, of which none is shown.
    wait_until(told, 60, system.logs)
    assert " failed: " in seen[0]
    assert "no-such-bucket" in seen[0]
    wait_until(lambda: "NoSuchBucket" in system.run("status").stdout, 60, system.logs)
    up.kill()
