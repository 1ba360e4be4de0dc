# ruff: noqa: D102 - the stage's methods do what their names say
"""A monitor among others: it listens while it waits, leads, and begins anew when another led meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from support.memory_broker import MemoryBroker, MemoryLeadership
from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.events import capture
from upswell.messages import ByHand, OperatorOrder, ScaleRequest, UploadReport, WorkerStatus, decode, encode
from upswell.monitor import Monitor, MonitorCandidate, loop
from upswell.monitor.epochs import Epochs
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

OTHER = ScaleRequest(app_id="a1", desired_workers=3, decided_at=10_000.0, reason="", epoch=9_999_000)


class Stage:
    """A candidate, its broker, and a clock that stands still until it is told to go on."""

    def __init__(self, folder: Path) -> None:
        self.now = 10_000.0
        self.broker = MemoryBroker()
        self.leadership = MemoryLeadership(leads=False)
        self.settings = Settings(
            state_dir=str(folder), apps={"a1": {}}, decision_interval=0.01, status_interval=0.003
        )
        self.made: list[Monitor] = []
        self.epochs = Epochs()
        self.candidate = MonitorCandidate(self._monitor, self.settings)

    def _monitor(self, settings: Settings) -> Monitor:
        monitor = Monitor(
            broker=self.broker,
            settings=settings,
            journal=None,
            name="m1",
            leadership=self.leadership,
            epochs=self.epochs,
            clock=lambda: self.now,
        )
        self.made.append(monitor)
        return monitor

    def state(self) -> str:
        return self.candidate.part_status().state

    def requests(self) -> list[ScaleRequest]:
        exchange = topology.scaling_exchange(self.settings.report_queue)
        bodies = [message.body for message in self.broker.published if message.exchange == exchange]
        return [decode(ScaleRequest, body) for body in bodies]

    def other_asks(self, request: ScaleRequest) -> None:
        exchange = topology.scaling_exchange(self.settings.report_queue)
        self.broker.publish(Message(body=encode(request), exchange=exchange))

    def status(self, worker_id: str) -> None:
        status = WorkerStatus(app_id="a1", worker_id=worker_id, state="ready", busy=0, slots=4, at=self.now)
        self.broker.publish(Message(body=encode(status), exchange=topology.STATUS_EXCHANGE))

    def order(self, order: OperatorOrder) -> None:
        exchange = topology.orders_exchange("monitor", self.settings.report_queue)
        self.broker.publish(Message(body=encode(order), exchange=exchange))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(loop, "STANDBY_ROUND_SECONDS", 0.01)
    return Stage(tmp_path)


def play(stage: Stage, story: Callable[[Stage], Awaitable[None]]) -> list[str]:
    """Run the candidate beside the story; return the names of the events that were logged."""

    async def scenario() -> None:
        running = asyncio.create_task(stage.candidate.run())
        await story(stage)
        running.cancel()
        await asyncio.wait([running])

    with capture() as logs:
        asyncio.run(scenario())
    return [log["event"] for log in logs]


def test_one_that_waits_takes_no_report_and_asks_for_nothing(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        await until(lambda: stage.state() == "waiting")
        report = UploadReport(app_id="a1", response_time=1.0)
        stage.broker.publish(Message(body=encode(report), routing_key=stage.settings.report_queue))
        await asyncio.sleep(0.05)
        assert len(stage.broker.bodies(stage.settings.report_queue)) == 1
        assert not stage.requests()

    assert play(stage, story).count("monitor.waiting") == 1


def test_one_that_takes_over_starts_from_the_workers_it_heard_and_outranks_the_leader_before(
    stage: Stage,
) -> None:
    async def story(stage: Stage) -> None:
        await until(lambda: stage.state() == "waiting")
        for number in range(3):
            stage.status(f"w{number}")
        ahead = replace(OTHER, epoch=10_004_000)  # its clock was four seconds ahead
        stage.other_asks(ahead)
        await asyncio.sleep(0.01)
        stage.leadership.give()
        await until(lambda: len(stage.requests()) > 1)
        request = stage.requests()[1]
        assert (request.desired_workers, request.epoch) == (3, 10_004_001)

    play(stage, story)


def test_a_leader_that_lost_the_broker_for_a_moment_goes_on_where_it_stopped(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.leadership.give()
        await until(lambda: stage.state() == "working")
        stage.leadership.take()
        await until(lambda: stage.state() == "waiting")
        stage.now += 5
        stage.leadership.give()
        await until(lambda: stage.state() == "working")
        assert len(stage.made) == 1
        assert {request.epoch for request in stage.requests()} == {10_000_000}

    play(stage, story)


def test_one_that_begins_anew_tells_that_nothing_is_observed(stage: Stage) -> None:
    rounds: list[int] = []
    stage.candidate.on_round = lambda entries: rounds.append(len(entries))

    async def story(stage: Stage) -> None:
        stage.leadership.give()
        await until(lambda: 1 in rounds)
        stage.leadership.take()
        await until(lambda: stage.state() == "waiting")
        stage.now += 11
        await until(lambda: len(stage.made) == 2)
        assert rounds[-1] == 0

    play(stage, story)


@pytest.mark.parametrize("why", ["another was heard", "it took long"])
def test_a_leader_that_may_have_missed_reports_begins_anew(stage: Stage, why: str) -> None:
    async def story(stage: Stage) -> None:
        stage.leadership.give()
        await until(lambda: stage.state() == "working")
        stage.leadership.take()
        await until(lambda: stage.state() == "waiting")
        if why == "it took long":
            stage.now += 11
        else:
            stage.other_asks(replace(OTHER, epoch=10_000_500))
        await until(lambda: len(stage.made) == 2)
        stage.now += 1
        count = len(stage.requests())
        stage.leadership.give()
        await until(lambda: stage.state() == "working" and len(stage.requests()) > count)
        assert stage.requests()[-1].epoch == 10_000_000 + (12_000 if why == "it took long" else 1_000)

    play(stage, story)


def test_a_leader_that_hears_a_greater_epoch_says_its_own_again_at_once_under_a_greater_one(
    stage: Stage,
) -> None:
    async def story(stage: Stage) -> None:
        stage.leadership.give()
        await until(lambda: stage.state() == "working" and len(stage.requests()) > 0)
        stage.other_asks(replace(OTHER, epoch=10_009_000))
        await until(lambda: stage.requests()[-1].epoch == 10_009_001)

    assert "monitor.epoch_raised" in play(stage, story)


def test_what_operators_set_is_known_to_whoever_takes_over(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        await until(lambda: stage.state() == "waiting")
        order = ByHand(workers=0, by="anna@host")
        stage.other_asks(replace(OTHER, by_hand=True, desired_workers=0, order=order))
        await asyncio.sleep(0.01)
        stage.leadership.give()
        await until(lambda: len(stage.requests()) > 1)
        request = stage.requests()[1]
        assert (request.by_hand, request.desired_workers, request.order) == (True, 0, order)

    play(stage, story)


def test_one_that_waits_for_long_ends_when_monitors_are_ordered_to_stop(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        await until(lambda: stage.state() == "waiting")
        stage.order(OperatorOrder(order="stop"))
        await asyncio.sleep(0.05)
        assert stage.state() == "waiting", "it may be a leader that has lost the broker for a moment"
        stage.now += 11
        stage.order(OperatorOrder(order="stop"))
        await until(lambda: stage.state() == "stopped")

    play(stage, story)
