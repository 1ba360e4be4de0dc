"""What the monitor adds around its policies: the limit over all, alarms that come and go, the bill."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.memory_broker import MemoryBroker
from upswell.analysis.billing import Bill
from upswell.events import capture
from upswell.journal import Journal, JournalReader
from upswell.messages import ScaleRequest, UploadReport, WorkerStatus, decode
from upswell.monitor import Monitor
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from upswell.analysis.decision import Decision


class Room:
    """A monitor whose applications a test fills by hand; its clock stands still unless it is told to go."""

    def __init__(self, journal: Journal | None = None, now: float = 10_000.0, **settings: Any) -> None:
        self.now = now
        self.broker = MemoryBroker()
        self.settings = Settings(**settings)
        self.monitor = Monitor(
            broker=self.broker,
            settings=self.settings,
            journal=journal,
            name="m1",
            clock=lambda: self.now,
        )

    def status(self, app_id: str, worker_id: str, **fields: Any) -> None:
        """Let a worker speak."""
        told: dict[str, Any] = {"state": "ready", "busy": 0, "slots": 4, "at": self.now, **fields}
        seen = self.monitor.applications.get(app_id, self.now)
        assert seen is not None
        seen.status(WorkerStatus(app_id=app_id, worker_id=worker_id, **told), self.now)

    def depth(self, app_id: str, ready: int, in_flight: int = 0) -> None:
        """Let the broker tell a queue's depth."""
        seen = self.monitor.applications.get(app_id, self.now)
        assert seen is not None
        seen.depth(ready, in_flight, 0, self.now)

    def round(self, after: float = 2.0) -> dict[str, Decision]:
        """Let time pass and decide."""
        self.now += after
        return {entry.app_id: entry.decision for entry in self.monitor.decide(self.now)}


@pytest.fixture
def log() -> Iterator[list[Any]]:
    with capture() as captured:
        yield captured


def names(log: list[Any]) -> list[str]:
    return [event["event"] for event in log if event["log_level"] in ("info", "warning")]


def constant(workers: int, **own: Any) -> dict[str, Any]:
    return {"policy": "constant", "min_workers": workers, "max_workers": 100, **own}


def test_all_applications_together_get_no_more_than_max_workers_total() -> None:
    async def scenario() -> None:
        apps = {"a": constant(8, priority=1), "b": constant(8), "c": constant(8)}
        room = Room(apps=apps, max_workers_total=20)
        for app in apps:
            room.depth(app, 10)
        decisions = room.round()
        assert sum(decision.desired_workers for decision in decisions.values()) == 20
        assert decisions["a"].desired_workers == 8
        assert "max_workers_total is 20" in decisions["b"].reason
        requests = [decode(ScaleRequest, message.body) for message in room.broker.published]
        assert {r.app_id: r.desired_workers for r in requests} == {
            app: decision.desired_workers for app, decision in decisions.items()
        }
        assert all(r.reason == decisions[r.app_id].reason for r in requests)

    asyncio.run(scenario())


def test_an_observed_application_takes_no_part_in_the_limit() -> None:
    async def scenario() -> None:
        room = Room(apps={"a": constant(5)}, max_workers_total=3)
        room.depth("a", 10)
        room.status("stranger", "w1")
        decisions = room.round()
        assert decisions["a"].desired_workers == 3
        assert "observed, never scaled" in decisions["stranger"].reason

    asyncio.run(scenario())


def test_minimums_that_cannot_be_kept_are_told_once(log: list[Any]) -> None:
    async def scenario() -> None:
        room = Room(apps={"a": constant(5), "b": constant(5)}, max_workers_total=4)
        for _ in range(3):
            for app in "ab":
                room.depth(app, 10)
            room.round()
        (told,) = [event for event in log if event["event"] == "monitor.minimums_not_kept"]
        assert (told["max_workers_total"], told["short_by"]) == (4, 6)

    asyncio.run(scenario())


def test_an_outage_of_signals_is_one_line_when_it_begins_and_one_when_it_ends(log: list[Any]) -> None:
    async def scenario() -> None:
        room = Room(apps={"a": {}, "b": {}})
        for _ in range(40):
            room.depth("a", 0)
            room.depth("b", 0)
            room.round()
        log.clear()
        held = [room.round() for _ in range(20)]
        assert all(decision.held for decision in held[-1].values())
        assert names(log) == ["monitor.signals_lost"]
        (lost,) = [event for event in log if event["event"] == "monitor.signals_lost"]
        assert (lost["apps"], lost["app"]) == (2, "a")
        assert "the queue's depth is" in lost["reason"]
        log.clear()
        for _ in range(3):
            room.depth("a", 0)
            room.depth("b", 0)
            room.round()
        (back,) = [event for event in log if event["event"] == "monitor.signals_back"]
        assert back["apps"] == 2
        assert back["after_seconds"] == pytest.approx(26.0, abs=2.0)

    asyncio.run(scenario())


def test_an_alarm_that_is_not_known_while_signals_are_lost_is_not_told_as_gone(log: list[Any]) -> None:
    async def scenario() -> None:
        room = Room(apps={"a": {}})

        def alarms(*, heard: bool) -> tuple[str, ...]:
            room.depth("a", 5)
            if heard:
                room.status("a", "w1")
                seen = room.monitor.applications.get("a", room.now)
                assert seen is not None
                seen.report(UploadReport(app_id="a", response_time=1.0, outcome="failed"), room.now)
            return room.round()["a"].alarms

        assert [alarms(heard=True) for _ in range(10)][-1] == ("bottleneck",)
        assert [alarms(heard=False) for _ in range(10)][-1] == ("signals_lost",)
        assert [alarms(heard=True) for _ in range(10)][-1] == ("bottleneck",)
        changes = [name for name in names(log) if name.startswith("monitor.")]
        assert changes == ["monitor.bottleneck_found", "monitor.signals_lost", "monitor.signals_back"]

    asyncio.run(scenario())


def test_the_bill_is_recorded_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    """Cumulative: what a monitor before this one saw is not billed again, and not forgotten."""
    path = tmp_path / "journal.sqlite"

    async def life(begin: float) -> None:
        journal = Journal(path, 10_000_000)
        room = Room(journal, now=begin, apps={"a": {}})
        for _ in range(10):
            room.status("a", "w1", busy=1)
            room.status("a", "w2")
            room.depth("a", 0, 1)
            room.round()
        journal.close()

    asyncio.run(life(10_000.0))
    first = JournalReader(path).bills()["a"]
    assert first.worker_seconds == pytest.approx(36.0)
    assert (first.busy, first.idle) == (18.0, 18.0)
    asyncio.run(life(10_100.0))
    second = JournalReader(path).bills()["a"]
    assert second.since == first.since
    assert second.worker_seconds == pytest.approx(72.0)
    assert second.unobserved == pytest.approx(82.0)


def test_a_worker_is_billed_from_when_it_was_asked_for() -> None:
    async def scenario() -> None:
        room = Room(apps={"a": {}})
        room.round()
        room.now += 5.0
        room.status("a", "w1", requested_at=room.now - 3.0, ready_at=room.now)
        room.round(0.0)
        room.status("a", "w1", requested_at=room.now - 3.0, ready_at=room.now)
        bill = room.monitor.decide(room.now)[0].bill
        assert bill is not None
        assert bill.starting == pytest.approx(3.0)

    asyncio.run(scenario())


def test_a_worker_that_was_silent_for_long_is_not_billed_a_second_start() -> None:
    async def scenario() -> None:
        room = Room(apps={"a": {}})
        asked = room.now + 1.0
        room.now += 2.0
        room.status("a", "w1", requested_at=asked)
        room.round(100.0)  # forgotten
        room.status("a", "w1", requested_at=asked)
        bill = room.monitor.decide(room.now)[0].bill
        assert bill is not None
        assert bill.starting == pytest.approx(1.0)

    asyncio.run(scenario())


def test_a_bill_goes_on_when_the_observation_begins_anew_with_another_status_interval() -> None:
    async def scenario() -> None:
        room = Room(apps={"a": {}})

        def stored(count: int) -> None:
            seen = room.monitor.applications.get("a", room.now)
            assert seen is not None
            for _ in range(count):
                seen.report(UploadReport(app_id="a", response_time=1.0), room.now)

        stored(50)
        room.round()
        room.monitor.reload(replace(room.settings, status_interval=2.0))
        stored(1)
        bill = room.monitor.decide(room.now)[0].bill
        assert bill is not None
        assert (bill.stored, bill.in_time) == (51, 51)

    asyncio.run(scenario())


def test_one_that_takes_over_bills_no_start_that_it_heard_while_another_led() -> None:
    async def scenario() -> None:
        room = Room(apps={"a": {}})
        room.now += 20.0
        room.status("a", "w1", requested_at=room.now - 10.0)
        room.monitor.applications.begin(room.now, {"a": Bill(since=0.0, at=room.now, starting=10.0)})
        room.now += 2.0
        room.status("a", "w2", requested_at=room.now - 5.0)  # asked for before, and heard of by nobody yet
        bill = room.monitor.decide(room.now)[0].bill
        assert bill is not None
        assert bill.starting == pytest.approx(15.0)

    asyncio.run(scenario())


def test_a_journal_that_is_not_there_yet_has_no_bills(tmp_path: Path) -> None:
    assert JournalReader(tmp_path / "none.sqlite").bills() == {}
