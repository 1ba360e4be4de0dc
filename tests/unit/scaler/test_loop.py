# ruff: noqa: D102 - the stage's methods do what their names say
"""The scaler against a broker and a fleet in memory: rounds at instants that the test chooses."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from support.memory_broker import MemoryBroker, MemoryLeadership
from support.memory_fleet import MemoryFleet
from upswell.broker import orders, topology
from upswell.broker.orders import Orders
from upswell.broker.protocol import Message
from upswell.events import capture
from upswell.journal import KeptByApp
from upswell.messages import (
    OperatorAnswer,
    OperatorOrder,
    PlatformLimit,
    ScaleRequest,
    WorkerCommand,
    WorkerState,
    WorkerStatus,
    decode,
    encode,
)
from upswell.scaler import Scaler, loop
from upswell.scaler.ceilings import ASK_AGAIN_SECONDS
from upswell.scaler.exits import TOLD_SECONDS
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from upswell.fleets.protocol import FleetWorker, WorkerSpec
    from upswell.messages import OrderName


class Stage:
    """A scaler, what is around it, and a clock that stands still until it is told to go on."""

    def __init__(self, state_path: Path, **settings: object) -> None:
        self.now = 1000.0
        self.broker = MemoryBroker()
        self.fleet = MemoryFleet()
        own = {"min_workers": 0, "max_workers": 5, **settings}
        self.settings = Settings(state_dir=str(state_path), apps={"a1": own})
        self.scaler = self.new_scaler()

    def new_scaler(self, leadership: MemoryLeadership | None = None, name: str = "test") -> Scaler:
        return Scaler(
            leadership=leadership,
            broker=self.broker,
            fleet=self.fleet,
            settings=self.settings,
            name=name,
            clock=lambda: self.now,
            by_hand=KeptByApp(self.settings.state_path / "scaler.by_hand.json", ScaleRequest),
        )

    async def round(self, after: float = 1.0) -> None:
        self.now += after
        await asyncio.sleep(0)
        await self.scaler.run_once(self.now)

    def request(self, workers: int, *, app_id: str = "a1", by_hand: bool = False) -> None:
        request = ScaleRequest(
            app_id=app_id,
            desired_workers=workers,
            decided_at=self.now,
            reason="because",
            epoch=1,
            by_hand=by_hand,
        )
        exchange = topology.scaling_exchange(self.settings.report_queue)
        self.broker.publish(Message(body=encode(request), exchange=exchange))

    def reports(self, worker_id: str, state: WorkerState = "ready", *, busy: int = 0) -> None:
        """Have a worker report; from its first report on it reads its control queue."""
        control = topology.control_queue(worker_id)
        self.broker.declared[control.name] = control
        status = WorkerStatus(app_id="a1", worker_id=worker_id, state=state, busy=busy, slots=4, at=self.now)
        self.send("upswell.status.scaler.test", encode(status))

    def all_report(self) -> None:
        for worker in self.fleet.workers.values():
            if worker.state == "running":
                self.reports(worker.worker_id)

    def commands(self, worker_id: str) -> list[str]:
        bodies = self.broker.bodies(topology.control_queue(worker_id).name)
        return [decode(WorkerCommand, body).command for body in bodies]

    async def order(self, order: OrderName, **fields: Any) -> OperatorAnswer:
        """Give an order of an operator, and return the answer."""
        own = Orders(self.broker, self.settings.report_queue, secrets.token_hex(4))
        await own.listen()
        return await own.give("scaler", OperatorOrder(order=order, **fields))

    def send(self, queue: str, body: bytes) -> None:
        self.broker.publish(Message(body=body, routing_key=queue))


def play(stage: Stage, story: Callable[[Stage], Awaitable[None]]) -> list[str]:
    """Start the scaler, play the story; return the names of the events that were logged."""

    async def scenario() -> None:
        await stage.scaler.start()
        await story(stage)

    with capture() as logs:
        asyncio.run(scenario())
    return [log["event"] for log in logs]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_workers_are_started_until_as_many_run_as_were_asked_for(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(3)
        await stage.round()
        await stage.round()
        assert len(stage.fleet.started) == 3
        spec = stage.fleet.started[0]
        assert (spec.app_id, spec.standby, spec.requested_at) == ("a1", False, 1001.0)
        assert spec.environment["UPSWELL_APPS"] == "a1"

    play(stage, story)


def test_the_scaler_makes_the_queues_of_its_applications_before_their_first_worker(stage: Stage) -> None:
    """RabbitMQ drops what another's publisher sends to a queue that is not there."""

    async def story(stage: Stage) -> None:
        assert {"a1_upload", "a1_upload.dead"} <= stage.broker.declared.keys()

    play(stage, story)


def test_the_bounds_hold_whatever_a_request_says(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1_000_000)
        await stage.round()
        assert len(stage.fleet.started) == 5

    play(stage, story)


def test_min_workers_run_before_any_request_has_come(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.round()
        assert len(stage.fleet.started) == 2

    play(Stage(tmp_path, min_workers=2), story)


def test_a_paused_application_stays_so_while_the_scaler_restarts_without_a_monitor(tmp_path: Path) -> None:
    """Nothing else would keep it from starting min_workers, which consume."""

    async def story(stage: Stage) -> None:
        stage.request(0, by_hand=True)
        await stage.round()
        stage.broker.consumers.clear()
        stage.scaler = stage.new_scaler()
        await stage.scaler.start()
        await stage.round()
        await stage.round(after=60.0)
        assert stage.fleet.started == []
        stage.request(1)
        await stage.round()
        assert len(stage.fleet.started) == 2
        stage.scaler = stage.new_scaler()
        assert dict(stage.scaler._by_hand or ()) == {}

    play(Stage(tmp_path, min_workers=2), story)


def test_a_restart_replaces_every_worker_and_says_how_far_it_is(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        old = set(stage.fleet.workers)
        stage.all_report()
        await stage.round()
        answer = await stage.order("restart", app_id="a1")
        assert (set(answer.workers), answer.workers_left) == (old, 2)
        for _ in range(20):
            await stage.round()
            for worker_id in old & set(stage.fleet.workers):
                if "drain" in stage.commands(worker_id):
                    stage.fleet.exits(worker_id)
            stage.all_report()
            assert len([w for w in stage.fleet.workers.values() if w.state == "running"]) >= 2
            # Repeated with the same workers, as the command does, an order never means the new ones.
            answer = await stage.order("restart", app_id="a1", workers=answer.workers)
        assert answer.workers_left == 0
        assert len(stage.fleet.started) == 4
        assert len(stage.fleet.workers) == 2
        assert not old & set(stage.fleet.workers)

    assert play(stage, story).count("scaler.restart") == 1


def test_a_scaler_that_was_restarted_meanwhile_goes_on_with_a_restart_told_again(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1)
        await stage.round()
        stage.all_report()
        await stage.round()
        answer = await stage.order("restart")
        stage.broker.consumers.clear()
        stage.scaler = stage.new_scaler()
        await stage.scaler.start()
        stage.request(1)
        stage.all_report()
        await stage.round()
        await stage.order("restart", workers=answer.workers)
        await stage.round()
        assert len(stage.fleet.started) == 2

    play(stage, story)


def test_ordered_down_the_scaler_drains_all_starts_none_and_ends(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        for worker_id in stage.fleet.workers:
            stage.reports(worker_id, busy=3)
        await stage.round()
        answer = await stage.order("down")
        assert (answer.workers_left, answer.uploads_left) == (2, 6)
        await stage.round()
        for worker_id in list(stage.fleet.workers):
            assert stage.commands(worker_id) == ["drain"]
            stage.fleet.exits(worker_id)
        await asyncio.wait_for(stage.scaler.run(), 60)
        assert len(stage.fleet.started) == 2

    assert play(stage, story)[-1] == "scaler.down"


def test_an_order_is_refused_while_the_fleet_cannot_be_seen(stage: Stage) -> None:
    """Else "no worker runs" would be said of workers that do."""

    async def story(stage: Stage) -> None:
        stage.fleet.broken = True
        await stage.round()
        assert not (await stage.order("restart")).accepted
        stage.fleet.broken = False
        stage.fleet.add("w1")
        await stage.round()
        assert (await stage.order("restart")).workers == ("w1",)
        stage.fleet.broken = True
        await stage.round()
        assert not (await stage.order("down")).accepted

    play(stage, story)


@pytest.mark.usefixtures("quick")
async def amid_a_loss(stage: Stage) -> tuple[Scaler, MemoryLeadership, asyncio.Task[None]]:
    """Return a scaler of one worker, `w1`, that has lost its leadership, and what runs it."""
    leadership = MemoryLeadership()
    scaler = stage.new_scaler(leadership)
    stage.fleet.add("w1")
    running = asyncio.create_task(scaler.run())
    await until(lambda: bool(scaler.workers()))
    leadership.take()
    await until(lambda: scaler.part_status().state == "waiting")
    return scaler, leadership, running


def test_an_order_amid_a_short_loss_is_given_again_and_obeyed_once_the_fleet_is_seen(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part or its broker that stood still for longer than a term: nobody else would answer."""
    monkeypatch.setattr(orders, "REPEAT_SECONDS", 0.01)
    monkeypatch.setattr(orders, "ANSWER_SECONDS", 60.0)

    async def story(stage: Stage) -> None:
        stage.broker.consumers.clear()  # those of the scaler that the stage began with
        _, leadership, running = await amid_a_loss(stage)
        ordered = asyncio.create_task(stage.order("restart"))
        await asyncio.sleep(0.05)
        assert not ordered.done()
        listing, fleet_list = asyncio.Event(), stage.fleet.list

        async def slowly() -> list[FleetWorker]:
            await listing.wait()
            return await fleet_list()

        monkeypatch.setattr(stage.fleet, "list", slowly)
        leadership.give()
        await asyncio.sleep(0.05)
        assert not ordered.done()  # "no worker runs" would be said of workers that do
        listing.set()
        assert (await ordered).workers == ("w1",)
        running.cancel()

    play(stage, story)


def test_an_order_that_is_none_of_the_scalers_is_refused(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        await stage.round()
        assert (
            "a9 is not in the scaler's settings, which have a1"
            in (await stage.order("restart", app_id="a9")).text
        )
        assert not (await stage.order("stop")).accepted

    play(stage, story)


def test_nothing_is_started_for_an_application_that_is_not_in_the_settings(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        for _ in range(3):
            stage.request(3, app_id="stranger")
            await stage.round()
        assert stage.fleet.started == []

    assert play(stage, story).count("scaler.unknown_app") == 1


def test_hostile_messages_are_dropped(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        for body in (b"", b"\x00", b"[]", b'{"app_id": "../x", "desired_workers": 3}', b"1" * 2_000_000):
            stage.send(topology.scaling_queue("scaler", "test", stage.settings.report_queue).name, body)
            stage.send("upswell.status.scaler.test", body)
        await stage.round()
        assert stage.fleet.started == []

    assert play(stage, story).count("scaler.bad_message") == 10


def test_scale_in_drains_the_idlest_by_message_and_only_once(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(3)
        await stage.round()
        ids = [spec.worker_id for spec in stage.fleet.started]
        for worker_id, busy in zip(ids, (3, 1, 2), strict=True):
            stage.reports(worker_id, busy=busy)
        stage.request(2)
        for _ in range(3):
            await stage.round()
        assert [stage.commands(worker_id) for worker_id in ids] == [[], ["drain"], []]
        assert stage.fleet.drained == []
        assert stage.scaler.costs.drains == 1

    play(stage, story)


def test_a_worker_that_goes_on_after_the_drain_command_gets_one_sigterm(stage: Stage) -> None:
    """A second one would mean: put the uploads back."""

    async def story(stage: Stage) -> None:
        stage.fleet.add("w1")
        stage.reports("w1", busy=1)
        stage.request(0)
        for _ in range(12):
            await stage.round()
            stage.reports("w1", busy=1)
        assert stage.fleet.drained == ["w1"]
        assert stage.fleet.killed == []

    play(stage, story)


def test_a_worker_that_takes_long_to_drain_is_left_to_finish(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.add("w1")
        stage.reports("w1", busy=1)
        stage.request(0)
        for _ in range(600):
            await stage.round()
            stage.reports("w1", "draining", busy=1)
        assert (stage.fleet.drained, stage.fleet.killed) == ([], [])
        stage.fleet.exits("w1")
        await stage.round()
        await stage.round()
        assert stage.fleet.forgotten == ["w1"]
        assert stage.fleet.started == []

    assert "scaler.worker_crashed" not in play(stage, story)


def test_standby_workers_are_kept_and_activated_before_any_is_started(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        await stage.round()
        assert [spec.standby for spec in stage.fleet.started] == [True]
        first = stage.fleet.started[0].worker_id
        stage.reports(first, "standby")
        stage.request(1)
        await stage.round()
        assert stage.commands(first) == ["activate"]
        stage.reports(first)
        await stage.round()
        # Another one takes its place in standby.
        assert [spec.standby for spec in stage.fleet.started] == [True, True]

    play(Stage(tmp_path, standby_workers=1), story)


def test_who_stands_by_is_activated_as_the_request_comes_in(tmp_path: Path) -> None:
    """Without a look at the fleet, which may take long or be under way."""

    async def story(stage: Stage) -> None:
        for name in ("w1", "w2"):
            stage.fleet.add(name)
            stage.reports(name, "standby")
        stage.request(0)
        await stage.round()
        stage.fleet.broken = True
        for workers in (1, 1, 2):
            stage.now += 0.1
            stage.request(workers)
            await asyncio.sleep(0)
        assert (stage.commands("w1"), stage.commands("w2")) == (["activate"], ["activate"])
        stage.fleet.broken = False
        await stage.round()
        assert (stage.commands("w1"), stage.commands("w2")) == (["activate"], ["activate"])
        assert stage.fleet.started == []

    play(Stage(tmp_path, standby_workers=2, max_workers=2), story)


def test_one_that_does_not_lead_activates_nobody(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        leadership = MemoryLeadership()
        scaler = stage.scaler = stage.new_scaler(leadership, "test")
        stage.fleet.add("w1")
        await scaler.start()
        stage.reports("w1", "standby")
        stage.request(0)
        await stage.round()
        leadership.take()
        for leads in (False, True):  # the last shows that it would
            stage.now += 0.1
            stage.request(1)
            await asyncio.sleep(0)
            assert stage.commands("w1") == ["activate"] * leads
            leadership.give()

    stage = Stage(tmp_path, standby_workers=1)
    asyncio.run(story(stage))


def test_an_activation_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.add("w1")
        stage.reports("w1", "standby")
        stage.request(1)
        for _ in range(8):
            await stage.round()
            stage.reports("w1", "standby")
        assert stage.commands("w1") == ["activate", "activate"]
        assert stage.fleet.started == []

    play(Stage(tmp_path, max_workers=1), story)


def test_a_crashed_worker_is_replaced_at_once_and_its_last_lines_are_logged(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1)
        await stage.round()
        stage.all_report()
        await stage.round()
        stage.fleet.exits(stage.fleet.started[0].worker_id, -9)
        await stage.round()
        assert len(stage.fleet.started) == 2
        assert stage.scaler.costs.crashes == 1

    with capture() as logs:
        asyncio.run(_with_scaler(stage, story))
    crash = next(log for log in logs if log["event"] == "scaler.worker_crashed")
    assert crash["exit_code"] == -9
    assert "the last words of" in crash["last_lines"]
    (told,) = stage.scaler.part_status().crashes
    assert (told.worker_id, told.exit_code) == (crash["worker_id"], -9)
    assert "the last words of" in told.last_lines
    stage.now += TOLD_SECONDS
    assert stage.scaler.part_status().crashes == ()


async def _with_scaler(stage: Stage, story: Callable[[Stage], Awaitable[None]]) -> None:
    await stage.scaler.start()
    await story(stage)


def test_a_crash_loop_is_slowed_down_and_says_so(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1)
        for _ in range(600):
            await stage.round()
            for worker in list(stage.fleet.workers.values()):
                stage.fleet.exits(worker.worker_id, 1)
        # 0, 1, 2, 4 ... 256, 300 s between them, rounded up to whole rounds.
        assert 9 <= len(stage.fleet.started) <= 12

    assert play(stage, story).count("scaler.crash_loop") >= 8


def test_a_start_that_fails_is_tried_again_later_and_later(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.refuses = True
        stage.request(2)
        for _ in range(60):
            await stage.round()
        stage.fleet.refuses = False
        for _ in range(60):
            await stage.round()
        assert len(stage.fleet.started) == 2

    assert 5 <= play(stage, story).count("scaler.start_failed") <= 9


def test_a_started_worker_that_never_reports_is_asked_to_leave_and_replaced(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1)
        for _ in range(62):
            await stage.round()
        first = stage.fleet.started[0].worker_id
        assert stage.fleet.drained == [first]
        assert len(stage.fleet.started) == 2

    assert "scaler.worker_silent" in play(stage, story)


def test_a_restarted_scaler_adopts_what_runs_and_waits_for_its_statuses(stage: Stage) -> None:
    """A standby worker that has not reported yet must not be taken for one that works."""

    async def story(stage: Stage) -> None:
        for number in range(3):
            stage.fleet.add(f"w{number}")
        stage.broker.consumers.clear()  # of the one that was killed
        stage.scaler = stage.new_scaler()
        await stage.scaler.start()
        stage.request(3)
        await stage.round()
        assert stage.fleet.started == []
        stage.reports("w0")
        stage.reports("w1")
        stage.reports("w2", "standby")
        await stage.round()
        assert stage.commands("w2") == ["activate"]
        assert (stage.fleet.started, stage.fleet.drained) == ([], [])

    play(stage, story)


def test_without_a_request_what_was_found_running_goes_on_and_is_replaced(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.add("w0")
        stage.fleet.add("w1")
        for _ in range(5):
            stage.all_report()
            await stage.round()
        assert (stage.fleet.started, stage.fleet.drained) == ([], [])
        stage.fleet.exits("w0", -11)
        await stage.round()
        assert len(stage.fleet.started) == 1

    play(stage, story)


def test_a_fleet_that_cannot_be_seen_is_left_as_it_is(stage: Stage) -> None:
    """Nobody listed is not nobody running."""

    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        stage.fleet.broken = True
        for _ in range(5):
            await stage.round()
        stage.fleet.broken = False
        await stage.round()
        assert len(stage.fleet.started) == 2

    events = play(stage, story)
    assert [event for event in events if "reachable" in event] == [
        "scaler.fleet_unreachable",
        "scaler.fleet_reachable",
    ]


def test_a_fleet_that_was_never_reached_is_not_waited_for_at_the_end(stage: Stage) -> None:
    """Docker is not installed: Ctrl-C would otherwise do nothing."""

    async def story(stage: Stage) -> None:
        stage.fleet.broken = True
        await stage.round()
        await stage.scaler.drain_all()

    assert play(stage, story).count("scaler.fleet_unreachable") == 1


def test_a_clock_that_jumps_neither_loses_nor_drains_a_worker(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        stage.all_report()
        for jump in (3600.0, 1.0, -7200.0, 1.0, 1.0):
            await stage.round(after=jump)
        assert len(stage.fleet.started) == 2
        assert stage.fleet.drained == []

    assert play(stage, story).count("scaler.clock_jumped") == 2


def test_drain_all_returns_when_the_last_worker_has_left(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        stage.all_report()
        await stage.round()
        draining = asyncio.create_task(stage.scaler.drain_all())
        await asyncio.sleep(0.01)
        ids = list(stage.fleet.workers)
        assert [stage.commands(worker_id) for worker_id in ids] == [["drain"], ["drain"]]
        assert not draining.done()
        for worker_id in ids:
            stage.fleet.exits(worker_id)
            stage.reports(worker_id, "stopped")
        await draining
        assert stage.scaler.workers() == []
        assert len(stage.fleet.started) == 2

    play(stage, story)


async def until(condition: Callable[[], bool]) -> None:
    """Let a running scaler go on until something is so."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a scaler that waits look a hundred times a second."""
    monkeypatch.setattr(loop, "ROUND_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
def test_a_worker_that_is_being_started_when_all_shall_leave_leaves_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C amid a start: the platform starts it all the same, so it must be waited for and drained."""
    begun, go_on, start = asyncio.Event(), asyncio.Event(), stage.fleet.start

    async def slowly(worker: WorkerSpec) -> None:
        begun.set()
        await go_on.wait()
        await start(worker)

    monkeypatch.setattr(stage.fleet, "start", slowly)

    async def story(stage: Stage) -> None:
        stage.request(1)
        running = asyncio.create_task(stage.scaler.run())
        await begun.wait()
        running.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()
        draining = asyncio.create_task(stage.scaler.drain_all())
        await until(lambda: bool(stage.fleet.workers))
        (worker_id,) = stage.fleet.workers
        await until(lambda: stage.commands(worker_id) == ["drain"] or bool(stage.fleet.drained))
        stage.fleet.exits(worker_id)
        await draining
        assert stage.scaler.workers() == []

    play(stage, story)


def test_whatever_keeps_a_worker_from_starting_stops_no_other_application(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fleet may raise what it did not foresee: a folder that it may not make, a template without a name."""
    start = stage.fleet.start

    async def refuses_a1(worker: WorkerSpec) -> None:
        if worker.app_id == "a1":
            raise KeyError("name")
        await start(worker)

    monkeypatch.setattr(stage.fleet, "start", refuses_a1)

    async def story(stage: Stage) -> None:
        stage.scaler.reload(replace(stage.settings, apps={"a1": {}, "b2": {}}))
        stage.request(1)
        stage.request(1, app_id="b2")
        await stage.round()
        assert [spec.app_id for spec in stage.fleet.started] == ["b2"]

    assert play(stage, story).count("scaler.start_failed") == 1


def test_a_worker_is_told_to_leave_before_the_platform_is_asked_for_anything(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform may take a minute, and by then the newest request may want that worker."""
    gate, forget = asyncio.Event(), stage.fleet.forget

    async def slowly(worker_id: str) -> None:
        await gate.wait()
        await forget(worker_id)

    monkeypatch.setattr(stage.fleet, "forget", slowly)

    async def story(stage: Stage) -> None:
        stage.request(3)
        await stage.round()
        stage.all_report()
        first, *others = stage.fleet.workers
        stage.fleet.exits(first)
        stage.request(1)
        round_ = asyncio.create_task(stage.round())
        await until(lambda: any(map(stage.commands, others)))
        stage.request(2)
        gate.set()
        await round_
        assert sorted(map(stage.commands, others)) == [[], ["drain"]]

    play(stage, story)


def test_a_worker_that_cannot_be_removed_holds_up_no_other(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        stage.all_report()
        first, second = stage.fleet.workers
        stage.fleet.exits(first)
        stage.fleet.stuck = {first}
        for _ in range(3):
            await stage.round()
            stage.all_report()
        assert len(stage.fleet.started) == 3  # another one in its place
        stage.request(0)
        await stage.round()
        assert stage.commands(second) == ["drain"]

    assert "scaler.action_failed" in play(stage, story)


def test_a_worker_that_cannot_be_signalled_keeps_no_other_from_leaving_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "ABANDON_SECONDS", 0.01)

    async def story(stage: Stage) -> None:
        for worker_id in ("w1", "w2", "w3"):
            stage.fleet.add(worker_id)
        stage.fleet.stuck = {"w1"}
        await stage.scaler.abandon_all()
        assert stage.fleet.drained == ["w2", "w3", "w2", "w3"]
        assert stage.fleet.killed == ["w2", "w3"]

    assert play(stage, story).count("scaler.action_failed") == 1


def test_a_killed_worker_that_ends_a_moment_later_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removes a folder afterwards, as the demo does, must not find it at work there."""
    monkeypatch.setattr(loop, "ABANDON_SECONDS", 0.01)

    async def story(stage: Stage) -> None:
        stage.fleet.add("w1")

        async def kill(worker_id: str) -> None:
            asyncio.get_running_loop().call_later(0.004, stage.fleet.exits, worker_id, -9)

        monkeypatch.setattr(stage.fleet, "kill", kill)
        await stage.scaler.abandon_all()
        assert stage.fleet.workers["w1"].state == "exited"

    play(stage, story)


async def interrupted_amid_a_loss(stage: Stage) -> tuple[Scaler, MemoryLeadership]:
    """Return a scaler of one worker, `w1`, that lost its leadership and was then told to end."""
    scaler, leadership, running = await amid_a_loss(stage)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return scaler, leadership


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("end", ["drain_all", "abandon_all"])
def test_a_scaler_that_has_just_lost_its_broker_waits_for_it_before_it_leaves(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Ctrl-C in a moment in which the broker stood still: the workers would run on, with nobody there."""
    monkeypatch.setattr(loop, "ABANDON_SECONDS", 0.01)

    async def story(stage: Stage) -> None:
        scaler, leadership = await interrupted_amid_a_loss(stage)
        ending = asyncio.create_task(getattr(scaler, end)())
        await asyncio.sleep(0.05)
        assert not ending.done()
        leadership.give()
        await until(lambda: bool(stage.commands("w1") or stage.fleet.drained))
        stage.fleet.exits("w1")
        await ending

    play(stage, story)


@pytest.mark.usefixtures("quick")
def test_a_drain_outlasts_a_second_short_loss_long_after_the_first(stage: Stage) -> None:
    """Ctrl-C amid the first one: no term begins any more, and it must not be waited out from that one on."""

    async def story(stage: Stage) -> None:
        scaler, leadership = await interrupted_amid_a_loss(stage)
        draining = asyncio.create_task(scaler.drain_all())
        leadership.give()
        await until(lambda: bool(stage.commands("w1") or stage.fleet.drained))
        stage.now += 3600.0
        leadership.take()
        await asyncio.sleep(0.05)
        assert not draining.done()
        leadership.give()
        stage.fleet.exits("w1")
        await draining

    play(stage, story)


@pytest.mark.usefixtures("quick")
def test_drain_all_leaves_the_workers_of_another_scaler_alone(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.add("w1")
        stage.reports("w1")
        scaler = stage.new_scaler(MemoryLeadership(leads=False), "other")
        running = asyncio.create_task(scaler.run())
        await until(lambda: scaler.part_status().state == "waiting")
        running.cancel()
        await scaler.drain_all()
        await scaler.abandon_all()
        assert (stage.commands("w1"), stage.fleet.drained, stage.fleet.killed) == ([], [], [])

    play(stage, story)


@pytest.mark.usefixtures("quick")
def test_a_scaler_waits_while_another_leads_takes_over_and_waits_again(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        leadership = MemoryLeadership(leads=False)
        scaler = stage.new_scaler(leadership, "other")
        running = asyncio.create_task(scaler.run())
        await until(lambda: scaler.part_status().state == "waiting")
        stage.request(2)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not stage.fleet.started
        leadership.give()
        await until(lambda: len(stage.fleet.started) == 2)
        leadership.take()
        await until(lambda: scaler.part_status().state == "waiting")
        stage.now += 1
        stage.request(3)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(stage.fleet.started) == 2
        running.cancel()

    assert play(stage, story).count("scaler.waiting") == 2


def test_a_scaler_that_stops_leading_in_the_midst_of_a_round_starts_no_more(tmp_path: Path) -> None:
    """As one that was stopped by SIGSTOP and wakes: it asks before each start."""

    async def story(stage: Stage) -> None:
        leadership = MemoryLeadership()
        scaler = stage.new_scaler(leadership, "other")
        start = stage.fleet.start

        async def stopped_after_two(worker: WorkerSpec) -> None:
            await start(worker)
            if len(stage.fleet.started) == 2:
                leadership.take()

        stage.fleet.start = stopped_after_two  # type: ignore[method-assign]
        await scaler.start()
        stage.request(20)
        await asyncio.sleep(0)
        await scaler.run_once(stage.now)
        assert len(stage.fleet.started) == 2
        await scaler.run_once(stage.now + 1)
        assert len(stage.fleet.started) == 2
        leadership.give()
        await scaler.run_once(stage.now + 2)
        assert len(stage.fleet.started) == 20

    play(Stage(tmp_path, max_workers=20), story)


@pytest.mark.usefixtures("quick")
def test_a_scaler_that_waits_for_long_ends_when_all_is_ordered_down(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        scaler = stage.new_scaler(MemoryLeadership(leads=False), "other")
        running = asyncio.create_task(scaler.run())
        await until(lambda: scaler.part_status().state == "waiting")
        down = Message(
            body=encode(OperatorOrder(order="down")),
            exchange=topology.orders_exchange("scaler", stage.settings.report_queue),
        )
        await stage.broker.publish(down)
        await asyncio.sleep(0.02)
        assert not running.done(), "it may be a leader that has lost the broker for a moment"
        stage.now += 11
        await stage.broker.publish(down)
        async with asyncio.timeout(60):
            await running

    play(stage, story)


def test_worker_seconds_are_billed_from_each_start_request(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        stage.all_report()
        await stage.round(after=9.0)
        assert stage.scaler.costs.worker_seconds(stage.now) == 18.0
        assert stage.scaler.costs.starts == 2

    play(stage, story)


def test_forged_statuses_never_lead_past_max_workers(tmp_path: Path) -> None:
    """Each `draining` that was forged had one more worker started: 13 where 3 were allowed."""

    async def story(stage: Stage) -> None:
        stage.request(3)
        for _ in range(20):
            await stage.round()
            for worker_id in list(stage.fleet.workers):
                stage.reports(worker_id, "draining")
        assert len(stage.fleet.started) == 3

    play(Stage(tmp_path, max_workers=3), story)


def test_a_worker_that_leaves_by_itself_is_replaced_once_it_has_left(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1)
        await stage.round()
        (worker_id,) = stage.fleet.workers
        stage.reports(worker_id, "draining", busy=1)
        await stage.round()
        assert len(stage.fleet.started) == 1
        stage.fleet.workers[worker_id] = replace(stage.fleet.workers[worker_id], state="exited", exit_code=0)
        await stage.round()
        assert len(stage.fleet.started) == 2

    play(Stage(tmp_path, max_workers=1), story)


def test_workers_told_to_leave_are_replaced_before_they_have_left(tmp_path: Path) -> None:
    """Their long uploads must not keep new work waiting; but never do more than twice max_workers run."""

    async def story(stage: Stage) -> None:
        for lap in range(4):
            stage.request(2)
            await stage.round()
            await stage.round()
            stage.all_report()
            await stage.round()
            stage.request(0)
            await stage.round()
            for worker_id in list(stage.fleet.workers):
                stage.reports(worker_id, "draining", busy=1)
            await stage.round()
            assert len(stage.fleet.workers) == min(4, 2 * (lap + 1))

    play(Stage(tmp_path, max_workers=2), story)


def test_the_limit_over_all_holds_whatever_is_requested(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.settings = replace(
        stage.settings, max_workers_total=4, apps={"a1": {"max_workers": 3}, "b2": {"max_workers": 3}}
    )
    stage.scaler = stage.new_scaler()

    async def story(stage: Stage) -> None:
        stage.request(3)
        stage.request(3, app_id="b2")
        for _ in range(5):
            await stage.round()
        assert len(stage.fleet.started) == 4

    play(stage, story)


def test_reloaded_settings_bound_what_runs_from_the_next_round_on(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(9)
        await stage.round()
        assert len(stage.fleet.started) == 5
        settings = replace(stage.settings, apps={"a1": {"max_workers": 7}, "b2": {"min_workers": 1}})
        stage.scaler.reload(settings)
        assert stage.fleet.settings == settings
        await stage.round()
        assert [spec.app_id for spec in stage.fleet.started[5:]] == ["a1", "a1", "b2"]
        stage.request(2, app_id="b2")
        await stage.round()
        assert len(stage.fleet.started) == 9

    play(stage, story)


def test_a_full_platform_is_a_ceiling_that_is_said_once_and_asked_again_later(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.holds = 2
        stage.request(5)
        await stage.round()
        stage.all_report()
        for _ in range(3):
            await stage.round()
            stage.all_report()
        assert len(stage.fleet.started) == 2
        assert stage.scaler.part_status().notes == (
            "a1: the platform takes no more than 2 running now: exceeded quota: 2 pods",
        )
        assert stage.scaler.part_status().limits == (
            PlatformLimit(app_id="a1", ceiling=2, reason="exceeded quota: 2 pods"),
        )
        stage.fleet.holds = 3
        await stage.round(after=ASK_AGAIN_SECONDS)
        assert len(stage.fleet.started) == 3
        assert stage.scaler.part_status().notes == ()
        assert stage.scaler.part_status().limits == ()

    events = play(stage, story)
    assert events.count("scaler.fleet_full") == 1
    assert events.count("scaler.fleet_has_room") == 1
    assert "scaler.start_failed" not in events
    assert "scaler.crash_loop" not in events


def test_a_worker_that_ends_below_the_ceiling_is_replaced_without_waiting(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.holds = 2
        stage.request(5)
        await stage.round()
        stage.all_report()
        stage.fleet.exits(stage.fleet.started[0].worker_id, 1)
        for _ in range(2):
            await stage.round()
        assert len(stage.fleet.started) == 3
        assert stage.scaler.part_status().limits[0].ceiling == 2

    assert "scaler.fleet_has_room" not in play(stage, story)


def test_a_start_that_fails_is_known_to_the_monitor_and_tried_again_by_the_backoff(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.refuses = True
        stage.request(5)
        await stage.round()
        (limit,) = stage.scaler.part_status().limits
        assert (limit.ceiling, limit.reason) == (0, "the image must be there, got none")
        assert stage.scaler.full_applications == 0
        stage.fleet.refuses = False
        for _ in range(3):
            await stage.round()
        assert len(stage.fleet.started) == 5
        assert stage.scaler.part_status().limits == ()

    assert "scaler.fleet_full" not in play(stage, story)


def test_workers_that_no_node_takes_are_told_to_the_monitor_and_limit_nothing(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(2)
        await stage.round()
        for worker_id, worker in stage.fleet.workers.items():
            stage.fleet.workers[worker_id] = replace(worker, pending="Unschedulable: 0/3 nodes")
        await stage.round()
        assert stage.scaler.part_status().limits == (
            PlatformLimit(app_id="a1", reason="Unschedulable: 0/3 nodes", pending=2),
        )

    play(stage, story)


def test_a_ceiling_is_forgotten_when_no_more_workers_are_wanted(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.fleet.holds = 2
        stage.request(5)
        await stage.round()
        stage.all_report()
        assert stage.scaler.part_status().notes
        stage.request(2)
        await stage.round()
        assert stage.scaler.part_status().notes == ()

    play(stage, story)


def test_an_evicted_worker_is_no_crash_and_is_replaced_at_once(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1)
        await stage.round()
        stage.all_report()
        for count in range(2, 5):
            await stage.round()
            stage.fleet.exits(stage.fleet.started[-1].worker_id, 137, evicted=True)
            await stage.round()
            assert len(stage.fleet.started) == count
        assert stage.scaler.costs.crashes == 0

    events = play(stage, story)
    assert events.count("scaler.worker_evicted") == 3
    assert "scaler.crash_loop" not in events


def test_a_pending_worker_counts_as_starting_however_long_and_its_reason_is_said(stage: Stage) -> None:
    async def story(stage: Stage) -> None:
        stage.request(1)
        await stage.round()
        (worker_id,) = stage.fleet.workers
        stage.fleet.pends(worker_id, "the image is pulled")
        for _ in range(3):
            await stage.round(after=stage.settings.start_timeout)
        assert [worker.phase for worker in stage.scaler.workers()] == ["starting"]
        assert stage.scaler.part_status().notes == ("a1: 1 starting: the image is pulled",)
        stage.fleet.pends(worker_id, "")
        await stage.round()
        assert [worker.phase for worker in stage.scaler.workers()] == ["starting"]
        assert stage.scaler.part_status().notes == ()
        assert stage.fleet.drained == []

    assert play(stage, story).count("scaler.worker_pending") == 1


def test_what_the_fleet_sees_begins_a_round_at_once(stage: Stage) -> None:
    async def scenario() -> None:
        running = asyncio.create_task(stage.scaler.run())
        while stage.fleet.on_change is None:  # noqa: ASYNC110 - a few turns of the loop
            await asyncio.sleep(0)
        asked = asyncio.Event()
        stage.fleet.on_list = asked.set
        asked.clear()
        stage.fleet.on_change()
        await asyncio.wait_for(asked.wait(), 60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
