"""The monitor's round: what it hears, what it tells the scaler, and what must not stop it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.memory_broker import MemoryBroker
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import worked_out
from upswell.broker import heartbeat, topology
from upswell.broker.protocol import Delivery, Message, QueueDepth
from upswell.errors import BrokerError, JournalError, SettingsError
from upswell.events import capture
from upswell.journal import Journal, JournalReader, KeptByApp
from upswell.messages import (
    ByHand,
    OperatorAnswer,
    OperatorOrder,
    PartState,
    PartStatus,
    PlatformLimit,
    ScaleRequest,
    UploadReport,
    WorkerCrash,
    WorkerStatus,
    decode,
    encode,
)
from upswell.monitor.loop import Monitor, steady_clock
from upswell.policies.constant import ConstantPolicy
from upswell.policies.registry import guarded
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path

    from upswell.analysis.snapshot import Snapshot
    from upswell.journal import JournalEntry
    from upswell.messages import OrderName


class House:
    """A monitor between a broker in memory and a clock that stands still unless it is told to go."""

    def __init__(
        self, journal: Journal | None = None, by_hand: KeptByApp[ByHand] | None = None, **settings: Any
    ) -> None:
        self.now = 10_000.0
        self.broker = MemoryBroker()
        self.settings = Settings(**{"apps": {"e123456": {}}, "decision_interval": 0.2, **settings})
        self.decided = asyncio.Event()
        self.observed: list[tuple[Snapshot, Decision]] = []
        self.monitor = Monitor(
            broker=self.broker,
            settings=self.settings,
            journal=journal,
            name="m1",
            on_decision=self._observe,
            clock=lambda: self.now,
            by_hand=by_hand,
        )

    def _observe(self, snapshot: Snapshot, decision: Decision) -> None:
        self.observed.append((snapshot, decision))
        self.decided.set()

    async def start(self) -> House:
        """Let the monitor listen."""
        await self.monitor.start()
        await self.monitor.begin_term()
        return self

    async def upload_queue(self, waiting: int, app_id: str = "e123456") -> None:
        """Make an application's queue, with so many uploads in it."""
        name = f"{app_id}_upload"
        await self.broker.declare(topology.upload_queue(name, delivery_limit=5))
        for _ in range(waiting):
            self.broker.publish(Message(body=b"{}", routing_key=name))

    async def report(self, app_id: str = "e123456", **fields: Any) -> None:
        """Send a report as a worker does."""
        await self.send(encode(UploadReport(**{"app_id": app_id, "response_time": 3.0, **fields})))

    async def send(self, body: bytes) -> None:
        """Send anything at all as a report."""
        await self._deliver(Message(body=body, routing_key=self.settings.report_queue))

    async def status(self, worker_id: str, **fields: Any) -> None:
        """Send a status as a worker does."""
        told = {
            "app_id": "e123456",
            "worker_id": worker_id,
            "state": "ready",
            "busy": 0,
            "slots": 4,
            "at": self.now,
        }
        status = WorkerStatus(**{**told, **fields})
        await self._deliver(Message(body=encode(status), routing_key="upswell.status.monitor.m1"))

    async def part(self, state: PartState, limits: tuple[PlatformLimit, ...] = (), **fields: Any) -> None:
        """Send a heartbeat as the scaler does."""
        queue = self.settings.report_queue
        beat = PartStatus(part="scaler", name="s1", report_queue=queue, state=state, limits=limits, **fields)
        await self._deliver(Message(body=encode(beat), routing_key=topology.parts_queue("monitor.m1").name))

    async def _deliver(self, message: Message) -> None:
        self.broker.publish(message)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def round(self, after: float = 2.0) -> JournalEntry:
        """Let time pass, make a round, and return the decision for e123456."""
        self.now += after
        (entry,) = [e for e in await self.monitor.run_once(self.now) if e.app_id == "e123456"]
        return entry

    def order(self, order: OrderName, workers: int | None = None, **fields: Any) -> OperatorAnswer:
        """Give an order of an operator, and return its answer."""
        told = {"app_id": "e123456", "until": None, **fields}
        by_hand = (
            None if workers is None else ByHand(workers=workers, by="anna@host", until=told.pop("until"))
        )
        told.pop("until", None)
        return self.monitor._by_hand.obey(OperatorOrder(order=order, by_hand=by_hand, **told))

    @property
    def requests(self) -> list[ScaleRequest]:
        """What the scaler was told."""
        exchange = topology.scaling_exchange(self.settings.report_queue)
        return [
            decode(ScaleRequest, message.body)
            for message in self.broker.published
            if message.exchange == exchange
        ]


@pytest.fixture
def log() -> Iterator[list[Any]]:
    with capture() as captured:
        yield captured


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def events(log: list[Any], name: str) -> list[Any]:
    return [event for event in log if event["event"] == name]


def test_a_backlog_becomes_a_scale_request_with_an_absolute_number_and_its_reason() -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.upload_queue(100)
        for number in range(10):
            await house.report(
                request_id=f"r{number}", service_time=2.0, waiting_time=1.0, finished_at=house.now
            )
        entry = await house.round()
        (request,) = house.requests
        assert request.desired_workers == entry.decision.desired_workers > 1
        assert (request.app_id, request.epoch, request.decided_at) == ("e123456", 10_000_000, house.now)
        assert request.reason == entry.decision.reason
        assert "100 uploads queued, 2 s each; to start all within" in request.reason
        assert house.observed == [(entry.snapshot, entry.decision)]

    run(scenario())


def test_every_report_is_acknowledged_once_it_counts() -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.report(request_id="a")
        await house.report(request_id="b")
        assert len(house.broker.acked) == 2
        assert (await house.round()).snapshot.response_time is not None

    run(scenario())


def test_two_applications_may_give_their_requests_the_same_ids() -> None:
    async def scenario() -> None:
        house = await House(apps={"e123456": {}, "b": {}}).start()
        for app_id in ("e123456", "b"):
            await house.report(app_id, request_id="1", finished_at=house.now)
        house.now += 2.0
        entries = await house.monitor.run_once(house.now)
        assert [entry.snapshot.totals.stored for entry in entries] == [1, 1]

    run(scenario())


def test_an_upload_that_is_retried_from_the_dead_letters_counts_again() -> None:
    """`upswell dead retry` publishes it under its own id, and its first attempt is attempt 1 again."""

    async def scenario() -> None:
        house = await House().start()
        for outcome in ("dead", "dead", "stored"):
            house.now += 1.0
            await house.report(request_id="1", outcome=outcome, attempt=1, finished_at=house.now)
        totals = (await house.round()).snapshot.totals
        assert (totals.dead, totals.stored) == (2, 1)

    run(scenario())


def test_a_report_of_an_invalid_application_is_put_aside() -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.report("../x")
        assert len(house.broker.bodies(f"{house.settings.report_queue}.dead")) == 1
        assert len(house.monitor.applications) == 1

    run(scenario())


def test_a_report_that_comes_twice_counts_once() -> None:
    async def scenario() -> None:
        house = await House().start()
        told = {"request_id": "a", "worker_id": "w1", "finished_at": 9_999.0}
        for _ in range(3):
            await house.report(**told, attempt=1)
        await house.report(**told, attempt=2)
        times = (await house.round()).snapshot.response_time
        assert times is not None
        assert times.count == 2
        assert len(house.broker.acked) == 4

    run(scenario())


def test_a_forged_report_of_a_known_id_does_not_hide_the_true_one() -> None:
    """Who may send reports, and knows which ids come, blinded the monitor to them."""

    async def scenario() -> None:
        house = await House().start()
        await house.report(request_id="a", worker_id="w1", finished_at=9_998.0)
        await house.report(request_id="a", worker_id="w1", finished_at=9_999.0)
        await house.report(request_id="a")
        assert ended(await house.round()) == 3

    run(scenario())


def test_reports_without_worker_and_instant_are_never_taken_for_one() -> None:
    """A worker written by others rounds its times and sends the id of a bare request, made of its body."""

    async def scenario() -> None:
        house = await House().start()
        for _ in range(60):
            await house.report(request_id="a", response_time=1.0)
        for _ in range(60):
            await house.report(request_id="a", response_time=1.0, worker_id="w1")
        assert ended(await house.round()) == 120

    run(scenario())


def test_the_alarm_and_the_snapshot_tell_the_newest_reasons_counted(log: list[Any]) -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.upload_queue(5)
        await house.status("w1")
        for number in range(8):
            await house.report(outcome="failed", attempt=number + 1, reason="NoSuchBucket: s3://x/k")
        await house.report(outcome="dead", reason="it is no file")
        snapshot = (await house.round()).snapshot
        assert list(map(str, snapshot.failure_reasons)) == [
            "1 failed: it is no file",
            "8 failed: NoSuchBucket: s3://x/...",
        ]

    run(scenario())
    (alarm,) = events(log, "monitor.bottleneck_found")
    assert alarm["failures"] == "1 failed: it is no file; 8 failed: NoSuchBucket: s3://x/..."


def ended(entry: JournalEntry) -> int:
    """Return how many uploads the monitor counted as stored."""
    assert entry.snapshot.totals is not None
    return entry.snapshot.totals.stored


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"not json", "not a valid UploadReport"),
        (b"[1, 2]", "Expected `object`"),
        (b'{"app_id": "../x", "response_time": 1}', "app_id"),
        (b'{"app_id": "a;rm -rf", "response_time": 1}', "app_id"),
        (b'{"app_id": "' + b"a" * 300 + b'", "response_time": 1}', "app_id"),
        (b'{"app_id": "e\\u0000", "response_time": 1}', "app_id"),
        (b'{"app_id": "e123456", "response_time": -1}', ">= 0"),
        (b'{"app_id": "e123456", "response_time": NaN}', "not a valid UploadReport"),
        (b'{"app_id": "e123456", "response_time": 1e999}', "not a valid UploadReport"),
        (b'{"app_id": "e123456"}', "missing required field"),
        (b" " * (10 * 1024 * 1024), "at most 1048576 bytes"),
    ],
    ids=["text", "shape", "path", "shell", "long", "nul", "negative", "nan", "infinite", "missing", "10MiB"],
)
def test_a_report_that_is_none_is_put_aside_with_its_reason_and_stops_nothing(
    body: bytes, rule: str, log: list[Any]
) -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.send(body)
        await house.report(request_id="good")
        entry = await house.round()
        assert entry.snapshot.response_time is not None
        (aside,) = house.broker.queues["upswell_report.dead"]
        assert aside[0].body == body[: 64 * 1024]
        assert aside[0].headers is not None
        assert rule in str(aside[0].headers["x-upswell-reason"])
        assert aside[0].headers["x-upswell-bytes"] == len(body)
        await asyncio.sleep(0)
        assert [delivery.queue for delivery in house.broker.acked].count("upswell_report") == 2
        assert not house.broker.queues["upswell_report"]

    run(scenario())
    (event,) = events(log, "monitor.message_refused")
    assert event["count"] == 1


def test_a_status_that_is_none_is_counted_and_let_go(log: list[Any]) -> None:
    async def scenario() -> None:
        house = await House().start()
        await house._deliver(Message(body=b"{}", routing_key="upswell.status.monitor.m1"))
        await house.round()
        assert not house.broker.queues["upswell_report.dead"]
        assert len(house.broker.acked) == 1

    run(scenario())
    assert events(log, "monitor.message_refused")[0]["count"] == 1


def test_an_unknown_application_is_observed_and_never_scaled(log: list[Any]) -> None:
    async def scenario() -> None:
        house = await House().start()
        for _ in range(3):
            await house.report("stranger", response_time=500.0)
        house.now += 100
        entries = {entry.app_id: entry for entry in await house.monitor.run_once(house.now)}
        assert entries["stranger"].decision.held
        assert "never scaled" in entries["stranger"].decision.reason
        assert {request.app_id for request in house.requests} == {"e123456"}

    run(scenario())
    assert [event["app"] for event in events(log, "monitor.application_unknown")] == ["stranger"]


def test_unknown_applications_are_limited_and_forgotten_when_silent(log: list[Any]) -> None:
    """Their names come from messages: a million of them must not fill the memory."""

    async def scenario() -> None:
        house = await House().start()
        for number in range(1100):
            await house.report(f"stranger{number}")
        assert len(house.monitor.applications) == 1001
        await house.round(after=601.0)
        assert len(house.monitor.applications) == 1
        await house.report("stranger1")
        assert len(house.monitor.applications) == 2

    run(scenario())
    assert len(events(log, "monitor.application_refused")) == 1


def test_a_policy_that_fails_holds_alarms_and_the_others_go_on(log: list[Any]) -> None:
    class Broken:
        def decide(self, snapshot: Snapshot) -> Decision:
            raise ZeroDivisionError(snapshot.app_id)

    async def scenario() -> None:
        house = await House(apps={"e123456": {}, "broken": {}}).start()
        for _, watched in house.monitor.applications:
            if watched.seen.app_id == "broken":
                watched.policy = Broken()
        await house.upload_queue(100)
        await house.upload_queue(100, "broken")
        for app_id in ("e123456", "broken"):
            await house.report(app_id, service_time=2.0)
        await house.status("w1", app_id="broken")
        entry = await house.round()
        assert entry.decision.desired_workers > 1
        held = {request.app_id: request for request in house.requests}["broken"]
        assert held.desired_workers == 1
        assert "the policy failed: ZeroDivisionError" in held.reason
        await house.round()
        for _, watched in house.monitor.applications:
            watched.policy = ConstantPolicy(2)
        await house.round()

    run(scenario())
    (come,) = events(log, "monitor.policy_failed")
    assert come["app"] == "broken"
    assert "hold 1: the policy failed: ZeroDivisionError: broken" in come["reason"]
    assert len(events(log, "monitor.policy_raised")) == 1, "the traceback, once"
    (gone,) = events(log, "monitor.policy_works")
    assert gone["app"] == "broken"


def test_a_platform_that_refuses_more_limits_the_number_and_is_asked_for_one(
    log: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 3600.0)

    async def scenario() -> None:
        house = await House(status_interval=10.0).start()
        for _, watched in house.monitor.applications:
            watched.policy = guarded(ConstantPolicy(20), Settings(max_workers=40))
        await house.upload_queue(100)
        for number in range(12):
            await house.status(f"w{number}")
        limit = PlatformLimit(app_id="e123456", ceiling=12, reason="exceeded quota: 12 pods")
        await house.part("working", (limit,))
        entry = await house.round()
        assert entry.decision.desired_workers == 12
        assert entry.decision.reason.endswith(
            "limited to 12: the platform refuses more (exceeded quota: 12 pods)"
        )
        assert house.requests[-1].desired_workers == 13
        # Set by hand it is limited likewise, and what runs is never drained.
        answer = house.monitor._by_hand.obey(
            OperatorOrder(order="set", app_id="e123456", by_hand=ByHand(workers=8, by="me"))
        )
        assert answer.accepted, answer.text
        assert (await house.round()).decision.desired_workers == 8
        house.monitor._by_hand.obey(OperatorOrder(order="resume", app_id="e123456"))
        # A scaler that is held up for a moment is no sign that there is room.
        monkeypatch.setattr(heartbeat, "SILENT_SECONDS", -1.0)
        assert (await house.round()).decision.desired_workers == 12
        monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 3600.0)
        for elsewhere in ("starting", "waiting", "stopped"):
            await house.part(elsewhere, ())
            assert (await house.round()).decision.desired_workers == 12
        await house.part("working", ())
        entry = await house.round()
        assert entry.decision.desired_workers == 20
        assert house.requests[-1].desired_workers == 20

    run(scenario())
    assert len(events(log, "monitor.fleet_full")) == 1
    assert len(events(log, "monitor.fleet_has_room")) == 1


def test_a_crash_is_kept_once_however_often_and_by_how_many_monitors_it_is_heard(tmp_path: Path) -> None:
    async def scenario() -> None:
        crash = WorkerCrash(app_id="e123456", worker_id="w1", at=9000.0, exit_code=1, last_lines="no\nmemory")
        for _ in range(2):
            journal = Journal(tmp_path / "journal.sqlite", 1_000_000)
            house = await House(journal).start()
            for _ in range(2):
                await house.part("working", crashes=(crash,))
                await house.round()
            journal.close()
        assert JournalReader(tmp_path / "journal.sqlite").crashes("e123456") == [crash]

    run(scenario())


def test_before_anything_is_heard_nothing_is_requested() -> None:
    """The scaler keeps what runs; a number made from nothing would only be an excuse to drain."""

    async def scenario() -> None:
        house = await House().start()
        await house.broker.delete("e123456_upload")  # its depth is not known
        entry = await house.round()
        assert entry.decision.held
        assert house.requests == []
        await house.round(after=60.0)
        assert [request.desired_workers for request in house.requests] == [1]

    run(scenario())


def test_a_restarted_monitor_starts_from_the_workers_that_run() -> None:
    async def scenario() -> None:
        house = await House(min_workers=1, max_workers=10).start()
        await house.upload_queue(0)
        for number in range(6):
            await house.status(f"w{number}")
        for _ in range(29):
            entry = await house.round()
            assert entry.decision.desired_workers == 6
            for number in range(6):
                await house.status(f"w{number}")
        await house.round(after=70.0)
        assert (await house.round(after=70.0)).decision.desired_workers == 1

    run(scenario())


def test_a_broker_that_cannot_tell_depths_gives_holds_and_never_zero(log: list[Any]) -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.upload_queue(100)
        await house.report(service_time=2.0)
        wanted = (await house.round()).decision.desired_workers
        assert wanted > 1

        async def refuses(queue: str) -> QueueDepth | None:
            raise BrokerError(f"no answer about {queue}")

        house.broker.depth = refuses  # type: ignore[method-assign]
        for _ in range(100):
            entry = await house.round()
            assert entry.decision.desired_workers >= wanted
        assert entry.decision.held
        assert entry.snapshot.stale[0] == "messages_ready"

    run(scenario())
    assert len(events(log, "monitor.depth_unknown")) == 1


def test_a_broker_that_does_not_answer_delays_no_decision() -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.upload_queue(5)
        await house.round()

        async def hangs(_: str) -> QueueDepth | None:
            await asyncio.Event().wait()

        house.broker.depth = hangs  # type: ignore[method-assign]
        async with asyncio.timeout(60):
            entry = await house.round()
        assert entry.snapshot.messages_ready == 5
        await house.monitor.stop()

    run(scenario())


def test_a_round_is_repeated_even_if_nothing_changed_and_logged_only_if_it_did(log: list[Any]) -> None:
    """A lost request is made good by the next one."""

    async def scenario() -> None:
        house = await House().start()
        await house.upload_queue(0)
        for _ in range(3):
            await house.round()
        assert [request.desired_workers for request in house.requests] == [1, 1, 1]

    run(scenario())
    assert [event["log_level"] for event in events(log, "decision.made")] == ["info", "debug", "debug"]


def test_no_sentence_is_made_for_a_log_that_does_not_want_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At `info` a round that changes nothing costs no words: they were a twentieth of its time."""
    made: list[Decision] = []

    def reason(decision: Decision) -> str:
        made.append(decision)
        return "because"

    monkeypatch.setattr(Decision, "reason", property(reason))
    caplog.set_level("INFO", logger="upswell")

    async def scenario() -> None:
        house = await House().start()
        await house.upload_queue(0)
        for _ in range(3):
            await house.round()

    run(scenario())
    assert len(made) == 1
    assert [line for line in caplog.messages if line.startswith("decision.made")] == [
        "decision.made app=e123456 current=0 desired=1 reason=because"
    ]


def test_a_round_is_recorded_with_its_reports(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path / "journal.sqlite", 1_000_000)
        house = await House(journal).start()
        await house.upload_queue(3)
        await house.report(
            request_id="a", waiting_time=1.0, service_time=2.0, finished_at=9999.0, worker_id="w1"
        )
        await house.report()
        entry = await house.round()
        journal.close()
        reader = JournalReader(tmp_path / "journal.sqlite")
        latest = reader.latest("e123456")
        assert latest is not None
        assert latest.decision == entry.decision
        seen = entry.snapshot
        assert latest.snapshot == replace(
            seen,
            recent_response_times=(),
            response_time=worked_out(seen.response_time),
            waiting_time=worked_out(seen.waiting_time),
            service_time=worked_out(seen.service_time),
        )
        full, bare = reader.reports()
        assert (full.arrived_at, full.finished_at, full.waiting_time, full.service_time) == (
            9996.0,
            9999.0,
            1.0,
            2.0,
        )
        assert (bare.arrived_at, bare.finished_at, bare.waiting_time) == (9997.0, 10_000.0, None)

    run(scenario())


def test_a_journal_that_fails_is_told_once_and_stops_no_decision(log: list[Any], tmp_path: Path) -> None:
    class FullDisk(Journal):
        def record(self, *_: Any) -> None:
            raise JournalError("the journal must be writable: /full: no space")

    async def scenario() -> None:
        journal = FullDisk(tmp_path / "journal.sqlite", 1_000_000)
        house = await House(journal).start()
        await house.upload_queue(3)
        await house.round()
        await house.round()
        assert len(house.requests) == 2
        journal.close()

    run(scenario())
    assert len(events(log, "monitor.journal_failed")) == 1


def test_a_live_view_that_fails_stops_no_decision(log: list[Any]) -> None:
    async def scenario() -> None:
        house = await House().start()
        house.monitor._on_decision = lambda *_: 1 / 0
        await house.upload_queue(3)
        assert (await house.round()).decision.desired_workers == 1

    run(scenario())
    assert len(events(log, "monitor.observer_failed")) == 1


def test_reports_that_waited_for_a_monitor_are_not_taken_for_new_ones() -> None:
    """An hour of reports read within a second is no burst of arrivals."""

    async def scenario() -> None:
        house = await House().start()
        await house.upload_queue(0)
        for number in range(100):
            await house.report(request_id=f"r{number}", worker_id="gone", finished_at=6000.0 + number)
        entry = await house.round()
        assert entry.snapshot.response_time is None
        assert entry.snapshot.arrival_rate == 0.0

    run(scenario())


def test_a_worker_with_a_wrong_clock_is_heard_all_the_same() -> None:
    async def scenario() -> None:
        house = await House().start()
        await house.status("w1", at=house.now + 7200)
        await house.report(request_id="a", worker_id="w1", finished_at=house.now + 7200)
        await house.status("w2", at=house.now - 7200)
        await house.report(request_id="b", worker_id="w2", finished_at=house.now - 7200)
        times = (await house.round()).snapshot.response_time
        assert times is not None
        assert times.count == 2

    run(scenario())


def test_a_policy_that_there_is_not_stops_the_monitor_before_it_starts() -> None:
    with pytest.raises(SettingsError, match="policy must be one of"):
        House(policy="magic")


def test_the_monitor_runs_until_cancelled_and_then_listens_no_more(log: list[Any]) -> None:
    async def scenario() -> None:
        house = House(decision_interval=0.01, status_interval=0.003)
        running = asyncio.create_task(house.monitor.run())
        await house.decided.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert all(consumer.cancelled for consumer in house.broker.consumers)
        assert house.broker.declared.keys() == {
            "upswell_report", "upswell_report.dead", "upswell.status.monitor.m1",
            "upswell.parts.monitor.m1",
            "upswell.scaling.monitor.m1",
            "upswell.orders.monitor.m1",
            "e123456_upload", "e123456_upload.dead",
        }  # fmt: skip

    run(scenario())
    assert [event["event"] for event in log][0 :: len(log) - 1] == ["monitor.started", "monitor.stopped"]


def test_a_round_that_fails_as_a_whole_is_followed_by_another(log: list[Any]) -> None:
    async def scenario() -> None:
        house = House(decision_interval=0.01, status_interval=0.003)
        again = asyncio.Event()

        async def fails(_: float) -> list[JournalEntry]:
            if events(log, "monitor.round_failed"):
                again.set()
            raise ZeroDivisionError

        house.monitor.run_once = fails  # type: ignore[method-assign]
        running = asyncio.create_task(house.monitor.run())
        await again.wait()
        running.cancel()
        await asyncio.wait({running})

    run(scenario())
    assert len(events(log, "monitor.round_failed")) >= 2


def test_the_steady_clock_does_not_follow_a_wall_clock_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    before = clock()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert 0 <= clock() - before < 60


def test_a_refused_report_is_acknowledged_only_when_it_is_safe_elsewhere() -> None:
    async def scenario() -> None:
        house = await House().start()
        house.broker.hold_confirms = True
        await house.send(b"not json")
        assert house.broker.acked == []
        house.broker.confirm_all()
        await asyncio.sleep(0)
        assert [d.body for d in house.broker.acked if isinstance(d, Delivery)] == [b"not json"]

    run(scenario())


def test_reloaded_settings_decide_from_the_next_round_on_and_what_was_seen_stays() -> None:
    async def scenario() -> None:
        house = await House(apps={"e123456": {"policy": "constant", "min_workers": 2}, "b": {}}).start()
        await house.upload_queue(0)
        await house.report()
        assert (await house.round()).decision.desired_workers == 2
        apps = {"e123456": {"policy": "constant", "min_workers": 3, "slo": "90% < 1s"}}
        house.monitor.reload(replace(house.settings, apps=apps))
        entry = await house.round()
        assert entry.decision.desired_workers == 3
        assert ended(entry) == 1
        assert str(entry.snapshot.slo) == "90% < 1s"
        assert {request.app_id: request.desired_workers for request in house.requests}["e123456"] == 3
        await house.report("b")
        (observed,) = [e for e in await house.monitor.run_once(house.now) if e.app_id == "b"]
        assert "not in the settings" in observed.decision.reason

    run(scenario())


def test_settings_that_name_no_policy_change_nothing() -> None:
    async def scenario() -> None:
        house = await House(apps={"e123456": {"policy": "constant", "min_workers": 2}}).start()
        await house.upload_queue(0)
        with pytest.raises(SettingsError):
            house.monitor.reload(
                replace(house.settings, apps={"a1": {}, "e123456": {"policy": "no.such:One"}})
            )
        assert (await house.round()).decision.desired_workers == 2
        assert len(house.monitor.applications) == 1

    run(scenario())


def test_what_is_set_by_hand_holds_whatever_the_policy_decides_and_is_told_in_the_decision() -> None:
    async def scenario() -> None:
        house = await House(min_workers=2, max_workers=9).start()
        await house.upload_queue(100)
        answer = house.order("set", 1, until=house.now + 60)
        assert answer == OperatorAnswer(
            accepted=True, text="e123456 is set to 1 by hand, until 1970-01-01 02:47:40 UTC"
        )
        entry = await house.round()
        assert entry.decision.desired_workers == 1
        assert entry.decision.reason.endswith(
            "; set by hand to 1 worker until 1970-01-01 02:47:40 UTC by anna@host"
        )
        assert (house.requests[-1].desired_workers, house.requests[-1].by_hand) == (1, True)
        entry = await house.round(after=60.0)
        assert entry.decision.desired_workers >= 2
        assert "by hand" not in entry.decision.reason
        assert not house.requests[-1].by_hand

    run(scenario())


def test_a_paused_application_runs_nothing_although_uploads_wait_until_it_is_resumed() -> None:
    async def scenario() -> None:
        house = await House(min_workers=2).start()
        await house.upload_queue(100)
        assert house.order("set", 0).text == (
            "e123456 is paused: nothing consumes, all is kept, until `upswell resume`"
        )
        for _ in range(3):
            assert (await house.round(after=3600.0)).decision.desired_workers == 0
        assert "paused by hand by anna@host" in house.requests[-1].reason
        assert house.order("resume").text == "e123456: the policy decides again (was paused by anna@host)"
        assert (await house.round()).decision.desired_workers >= 2
        assert house.order("resume").text == "e123456: nothing is set by hand, the policy decides"

    run(scenario())


def test_what_is_set_by_hand_is_told_the_scaler_before_anything_was_heard() -> None:
    """A monitor that restarts while an application is paused must say so with its first decision."""

    async def scenario() -> None:
        house = await House().start()
        house.order("set", 0)
        await house.round()
        assert [request.desired_workers for request in house.requests] == [0]

    run(scenario())


def test_what_is_set_by_hand_outlives_the_monitor_and_ends_at_its_time_all_the_same(tmp_path: Path) -> None:
    def kept() -> KeptByApp[ByHand]:
        return KeptByApp(tmp_path / "by_hand.json", ByHand)

    async def scenario() -> None:
        first = await House(by_hand=kept()).start()
        first.order("set", 3, until=first.now + 60)
        second = await House(by_hand=kept()).start()
        assert (await second.round()).decision.desired_workers == 3
        assert "by hand" not in (await second.round(after=60.0)).decision.reason
        assert dict(kept()) == {}

    run(scenario())


def test_an_order_that_cannot_be_kept_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    class FullDisk(KeptByApp[ByHand]):
        def keep(self, app_id: str, value: ByHand | None) -> None:
            raise JournalError(f"no space for {app_id}, {value}")

    async def scenario() -> None:
        house = await House(by_hand=FullDisk(tmp_path / "by_hand.json", ByHand)).start()
        await house.upload_queue(3)
        assert not house.order("set", 0).accepted
        assert (await house.round()).decision.desired_workers == 1

    run(scenario())


@pytest.mark.parametrize(
    ("workers", "fields", "why"),
    [
        (11, {}, "workers must be <= max_workers of e123456 (10), got 11"),
        (1, {"app_id": "e9"}, "e9 is not in the monitor's settings, which have e123456"),
        (1, {"app_id": None}, "None is not in the monitor's settings"),
        (1, {"until": 9_999.0}, "the time must end after the monitor's now"),
        (None, {}, "the monitor does not know what to do with set"),
    ],
    ids=str,
)
def test_an_order_that_cannot_be_obeyed_is_refused_with_the_rule(
    workers: int | None, fields: dict[str, Any], why: str
) -> None:
    async def scenario() -> None:
        house = await House().start()
        answer = house.order("set", workers, **fields)
        assert not answer.accepted
        assert answer.text.startswith(why)
        assert "by hand" not in (await house.round()).decision.reason

    run(scenario())


def test_max_workers_holds_over_what_was_set_by_hand_before_it_was_lowered(tmp_path: Path) -> None:
    async def scenario() -> None:
        kept = KeptByApp(tmp_path / "by_hand.json", ByHand)
        kept.keep("e123456", ByHand(workers=8, by="anna@host"))
        house = await House(by_hand=kept, max_workers=5).start()
        assert (await house.round()).decision.reason.endswith(
            "set by hand to 8 workers by anna@host; limited to max_workers 5"
        )

    run(scenario())


def test_a_monitor_told_to_stop_ends_by_itself() -> None:
    async def scenario() -> None:
        house = House()
        running = asyncio.create_task(house.monitor.run())
        await asyncio.sleep(0)
        assert house.order("stop").accepted
        await asyncio.wait_for(running, 60)

    run(scenario())
