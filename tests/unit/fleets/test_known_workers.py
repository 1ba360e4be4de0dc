# ruff: noqa: D102 - the stage's methods do what their names say
"""What is known of workers between two lists: events and starts are newer than a list on its way."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from upswell.errors import FleetError
from upswell.fleets import known_workers
from upswell.fleets.known_workers import Event, KnownWorkers
from upswell.fleets.protocol import FleetWorker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


def worker(worker_id: str) -> FleetWorker:
    return FleetWorker(worker_id=worker_id, app_id="a1", state="running", requested_at=1.0)


class Stage:
    """A platform's answer, counted, and a clock."""

    def __init__(self, *listed: str, relist_seconds: float = 60.0) -> None:
        self.now = 0.0
        self.asked = 0
        self.listed = [worker(name) for name in listed]
        self.used = self.cost = 0.0
        self.known = KnownWorkers(
            self.look, relist_seconds=relist_seconds, clock=lambda: self.now, processor=lambda: self.used
        )

    async def look(self) -> list[FleetWorker]:
        self.asked += 1
        self.used += self.cost
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


def test_lists_that_cost_much_come_less_often_and_at_least_once_a_minute() -> None:
    stage = Stage("w1", relist_seconds=2.0)
    with stage.known.watched():
        for cost, seconds in ((0.0, 2.0), (0.05, 5.0), (9.0, 60.0), (0.0, 2.0)):
            stage.cost = cost
            stage.known.doubt()
            stage.names()
            assert stage.known.relist_seconds == pytest.approx(seconds)
        asked = stage.asked
        stage.now += 1.9
        stage.names()
        assert stage.asked == asked
        stage.now += 0.2
        stage.names()
        assert stage.asked == asked + 1


def test_events_are_noted_a_quiet_time_is_told_and_a_stream_that_ends_begins_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage("w1", relist_seconds=0.01)
    opened: list[int] = []
    noted: list[Event] = []
    calls: list[int] = []
    monkeypatch.setattr(known_workers, "WATCH_AGAIN_SECONDS", 0.0)

    @contextlib.asynccontextmanager
    async def events() -> AsyncGenerator[Callable[[], Awaitable[Event | None]]]:
        opened.append(len(calls))
        if len(opened) == 1:
            raise FleetError("the engine is away")
        coming: list[Event | None] = [{"n": 1}, {"n": 2}, None]

        async def next_event() -> Event | None:
            if len(opened) == 3:
                await asyncio.get_running_loop().create_future()
            return coming.pop(0)

        yield next_event

    async def scenario() -> None:
        following = asyncio.create_task(stage.known.follow(events, noted.append, lambda: calls.append(1)))
        async with asyncio.timeout(60):
            while len(opened) < 3 or len(calls) < opened[2] + 3:  # noqa: ASYNC110 - told twice
                await asyncio.sleep(0.001)
        following.cancel()

    asyncio.run(scenario())
    assert noted == [{"n": 1}, {"n": 2}]


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


def test_a_worker_that_is_gone_stays_gone_when_events_are_told_once_more() -> None:
    stage = Stage()
    with stage.known.watched():
        assert stage.names() == []
        stage.known.put(worker("w1"))
        assert stage.names() == ["w1 running"]
        stage.known.drop("w1")
        stage.known.put(replace(worker("w1"), state="exited"))
        assert stage.names() == []
        with stage.known.starting(worker("w1")):  # only a start brings it back
            pass
        assert stage.names() == ["w1 running"]


def test_the_end_of_one_whose_removal_failed_is_believed() -> None:
    """The engine did start it, and neither its answer nor the clean-up came through."""
    stage = Stage("w1")
    with stage.known.watched():
        stage.known.drop("w1")
        assert stage.names() == ["w1 running"]
        stage.known.put(replace(worker("w1"), state="exited"))
        assert stage.names() == ["w1 exited"]


def test_a_list_that_was_made_during_a_start_does_not_end_it() -> None:
    """The engine answered while the container was made, and the answer comes when it runs."""
    starting = contextlib.ExitStack()

    async def look() -> list[FleetWorker]:
        starting.close()  # the start returns while the list is on its way
        return [replace(worker("w1"), state="exited")]

    async def scenario() -> list[str]:
        known = KnownWorkers(look)
        starting.enter_context(known.starting(worker("w1")))
        return [w.state for w in await known.all()]

    assert asyncio.run(scenario()) == ["running"]
