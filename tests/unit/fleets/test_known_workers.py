# ruff: noqa: D102 - the stage's methods do what their names say
"""What is known of workers between two lists: events and starts are newer than a list on its way."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from upswell.errors import FleetError
from upswell.fleets.known_workers import KnownWorkers
from upswell.fleets.protocol import FleetWorker


def worker(worker_id: str) -> FleetWorker:
    return FleetWorker(worker_id=worker_id, app_id="a1", state="running", requested_at=1.0)


class Stage:
    """A platform's answer, counted, and a clock."""

    def __init__(self, *listed: str) -> None:
        self.now = 0.0
        self.asked = 0
        self.listed = [worker(name) for name in listed]
        self.known = KnownWorkers(self.look, relist_seconds=60.0, clock=lambda: self.now)

    async def look(self) -> list[FleetWorker]:
        self.asked += 1
        return self.listed

    def names(self) -> list[str]:
        return [f"{w.worker_id} {w.state}" for w in asyncio.run(self.known.all())]


def test_while_events_are_watched_the_platform_is_asked_once_a_minute() -> None:
    stage = Stage("w1")
    with stage.known.watched():
        for _ in range(5):
            assert stage.names() == ["w1 running"]
        assert stage.asked == 1
        stage.now = 61.0
        stage.names()
    assert stage.asked == 2
    stage.names()
    stage.names()
    assert stage.asked == 4  # nobody watches any more


def test_an_event_is_believed_at_once() -> None:
    stage = Stage("w1")
    with stage.known.watched():
        stage.names()
        stage.known.put(replace(worker("w1"), state="exited", exit_code=3))
        stage.known.put(worker("w2"))
        assert stage.names() == ["w1 exited", "w2 running"]
        stage.known.drop("w1")
        assert stage.names() == ["w2 running"]
        assert stage.asked == 1


def test_what_happens_while_a_list_is_on_its_way_is_newer_than_the_list() -> None:
    stage = Stage("w1", "w2")

    async def look() -> list[FleetWorker]:
        found = await Stage.look(stage)
        stage.known.put(replace(worker("w1"), state="exited"))
        stage.known.drop("w2")
        return found

    stage.known = KnownWorkers(look, clock=lambda: 0.0)
    assert stage.names() == ["w1 exited"]


def test_a_worker_that_is_being_started_is_known_before_any_list_has_it() -> None:
    stage = Stage()
    with stage.known.starting(worker("w1")):
        assert stage.names() == ["w1 running"]
    assert stage.names() == []  # the platform does not have it after all

    def fails() -> None:
        with stage.known.starting(worker("w2")):
            raise FleetError("no image")

    with pytest.raises(FleetError, match="no image"):
        fails()
    with stage.known.watched():
        assert stage.names() == []
