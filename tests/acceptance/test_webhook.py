"""What a team receives: notices of `upswell up`, posted to a server of its own, on both brokers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from support.http_receiver import receiver
from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "Bearer t0p-s3cret"


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(
        tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", fleet="process", decision_interval=0.5
    ) as made:
        yield made


@pytest.mark.slow
def test_dead_letters_are_posted_though_the_server_fails_at_first(system: System) -> None:
    requests = system.make_requests(3, size=1000)
    for source in system.sources.iterdir():
        source.unlink()
    with receiver(lambda number, _: 500 if number == 1 else 200) as server:
        system.environment["UPSWELL_WEBHOOK_URL"] = server.url
        system.environment["UPSWELL_WEBHOOK_HEADERS"] = f"Authorization: {SECRET}"
        up = system.start("up")
        wait_until(lambda: "worker.started" in system.said(), 60, system.logs)
        system.publish(requests)
        server.wait(lambda: any(b"dead_letters" in body for body in server.accepted))
        up.terminate()
        assert up.wait(60) == 0
        notice = json.loads(next(body for body in server.accepted if b"dead_letters" in body))
        assert (notice["event"], notice["apps"]) == ("dead_letters", [system.app_id])
        assert notice["dead"] >= 1
        assert "failed: the source does not exist" in notice["text"]
        assert server.headers[0]["Authorization"] == SECRET
        shown = system.run("config", "check").stdout
        assert "webhook_headers" in shown
        for text in (system.said(), shown):
            assert not any(secret in text for secret in ("t0p-s3cret", "very-secret", "t0p"))
