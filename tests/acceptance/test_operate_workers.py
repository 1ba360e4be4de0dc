"""`upswell workers` beside the real loop, on both brokers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from support.system import System, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def system(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[System]:
    url = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else ""
    with System(tmp_path, broker_url=url, app_id=f"e{uuid4().hex[:8]}", status_interval=0.5) as made:
        yield made


def workers(system: System) -> list[dict[str, Any]]:
    return json.loads(system.run("workers", "--app", system.app_id, "--json").stdout)["workers"]


@pytest.mark.slow
def test_workers_lists_who_runs_with_each_upload_in_hand_and_how_far_it_is(system: System) -> None:
    system.make_requests(8, size=1_000_000)  # none ends before the second look
    system.start("worker", "--slots", "4", "--upload-rate-limit", "20000")
    system.run("publish", "--app", system.app_id, str(system.sources))
    found: list[dict[str, Any]] = []

    def all_move() -> bool:
        found[:] = workers(system)
        moves = len(found) == 1 and sum(u["bytes"] > 0 for u in found[0]["uploads"] or ()) == 4
        return moves and bool(found[0]["bytes_per_second"])  # between two statuses

    wait_until(all_move, 60, lambda: f"{found}{system.logs()}")
    (worker,) = found
    assert (worker["state"], worker["busy"], worker["slots"]) == ("ready", 4, 4)
    assert {upload["key"] for upload in worker["uploads"]} <= set(system.checksums)
    assert all(0 < upload["bytes"] <= upload["size_bytes"] for upload in worker["uploads"])
    assert worker["bytes_per_second"] > 0
    shown: list[str] = []

    def all_listed() -> bool:
        """It listens for a moment only, and a status may be late."""
        shown[:] = system.run("workers", "--app", system.app_id).stdout.splitlines()
        return shown[0].startswith(f"{system.app_id}: 1 worker, 4 of 4 slots busy, ")

    wait_until(all_listed, 60, lambda: f"{shown}{system.logs()}")
    assert all(len(line) <= 80 for line in shown), shown
    assert "\x1b" not in "".join(shown)


def test_workers_says_that_none_is_heard(system: System) -> None:
    said = system.run("workers", "--app", system.app_id).stdout
    assert said.startswith(f"no worker of {system.app_id} sends a status")
