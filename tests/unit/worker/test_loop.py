# ruff: noqa: D102 - a test double's methods say by their names what they do
"""A worker's life: states, commands, draining, leaving; one upload's life: test_worker/uploads.py."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from support.memory_broker import MemoryBroker
from upswell import __version__
from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.errors import MessageError, SettingsError
from upswell.events import capture
from upswell.messages import (
    CommandName,
    UploadRequest,
    WorkerCommand,
    WorkerId,
    WorkerStatus,
    decode,
    encode,
)
from upswell.settings import Settings
from upswell.worker.loop import Worker, check_time_limit, new_worker_id
from upswell.worker.slots import SlotFinder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

QUEUE, CONTROL = "e1_upload", "upswell.control.e1-w"


class Rig:
    """A worker on a broker in memory, whose uploads end when `open` is set."""

    def __init__(self, *, standby: bool = False, **settings: Any) -> None:
        self.broker = MemoryBroker()
        self.open = asyncio.Event()
        self.exited: list[int] = []
        self.stubborn = False
        self.worker = Worker(
            app_id="e1",
            broker=self.broker,
            handler=self._handle,
            settings=Settings(**{"status_interval": 3600.0, **settings}),
            worker_id="e1-w",
            upload_queue=QUEUE,
            report_queue="reports",
            standby=standby,
            requested_at=999.0,
            settings_hash="0123456789ab",
            clock=lambda: 1000.0,
            exit_process=self.exited.append,
        )

    async def _handle(self, _request: UploadRequest) -> None:
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            if not self.stubborn:
                raise
            await self.open.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        run = asyncio.create_task(self.worker.run(handle_signals=False))
        await settle()
        yield run
        self.open.set()
        self.worker.request_leave()
        await run

    def command(self, name: CommandName, sent_at: float = 1000.0) -> None:
        self.send(encode(WorkerCommand(command=name, sent_at=sent_at)))

    def send(self, body: bytes) -> None:
        self.broker.publish(Message(body=body, routing_key=CONTROL))

    def upload(self, own_id: str = "r") -> None:
        request = UploadRequest(app_id="e1", type="video", uri="file:///x", id=own_id)
        self.broker.publish(Message(body=encode(request), routing_key=QUEUE))

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.statuses]

    @property
    def statuses(self) -> list[WorkerStatus]:
        return [
            decode(WorkerStatus, message.body)
            for message in self.broker.published
            if message.exchange == topology.STATUS_EXCHANGE
        ]


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def test_a_worker_whose_broker_is_away_still_shows_that_its_loop_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The container's health check must not have it restarted."""
    beats: list[None] = []
    monkeypatch.setattr("upswell.healthcheck.beat", lambda: beats.append(None))

    async def scenario() -> None:
        rig = Rig(status_interval=1e-9)
        monkeypatch.setattr(rig.broker, "connect", asyncio.Event().wait)
        run = asyncio.create_task(rig.worker.run(handle_signals=False))
        await settle()
        assert len(beats) > 1
        assert not rig.statuses
        rig.worker.request_drain()
        await run

    asyncio.run(scenario())


def test_worker_declares_its_queues_consumes_and_says_that_it_is_ready() -> None:
    async def scenario() -> None:
        rig = Rig(slots=3)
        async with rig.running():
            assert set(rig.broker.declared) == {QUEUE, f"{QUEUE}.dead", "reports", CONTROL}
            assert rig.broker.declared[QUEUE].delivery_limit == 5
            assert [(one.queue, one.prefetch_count) for one in rig.broker.consumers] == [
                (CONTROL, 10),
                (QUEUE, 3),
            ]
            start_cpu = rig.worker.status.start_cpu
            assert start_cpu is not None
            assert start_cpu > 0
            assert rig.statuses == [
                WorkerStatus(
                    app_id="e1", worker_id="e1-w", state="ready", busy=0, slots=3, at=1000.0,
                    requested_at=999.0, ready_at=1000.0, started_at=1000.0, moved_bytes=0,
                    version=__version__, settings_hash="0123456789ab", start_cpu=start_cpu,
                )
            ]  # fmt: skip

    asyncio.run(scenario())


def test_a_standby_worker_consumes_only_when_activated() -> None:
    async def scenario() -> None:
        rig = Rig(standby=True)
        async with rig.running():
            rig.upload()
            await settle()
            assert (rig.states, rig.worker.status.busy, rig.worker.status.ready_at) == (["standby"], 0, None)
            rig.command("activate")
            await settle()
            assert (rig.states, rig.worker.status.busy) == (["standby", "ready"], 1)
            assert rig.worker.status.ready_at == 1000.0

    asyncio.run(scenario())


def test_a_pod_is_ready_while_its_worker_takes_uploads_or_holds_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ReplicaSet removes pods that are not ready first: a worker at rest only when it is idle."""
    monkeypatch.setenv("UPSWELL_HEARTBEAT", str(tmp_path / "heartbeat"))
    ready = tmp_path / "heartbeat.ready"
    ready.touch()  # as one left it that was killed

    async def scenario() -> None:
        rig = Rig(standby=True)
        async with rig.running():
            assert not ready.exists()
            rig.command("activate", sent_at=1000.0)
            rig.upload()
            await settle()
            assert ready.exists()
            rig.command("standby", sent_at=1001.0)
            await settle()
            assert (rig.worker.status.state, rig.worker.status.busy) == ("standby", 1)
            assert ready.exists()
            rig.open.set()
            await settle()
            assert rig.worker.status.busy == 0
            assert not ready.exists()

    asyncio.run(scenario())


def test_a_worker_sent_to_standby_finishes_what_it_holds_and_takes_no_more() -> None:
    async def scenario() -> None:
        rig = Rig()
        async with rig.running() as run:
            rig.upload("a")
            await settle()
            rig.command("standby")
            await settle()
            rig.upload("b")
            rig.open.set()
            await settle()
            assert (rig.states, rig.worker.status.busy, run.done()) == (["ready", "standby"], 0, False)
            assert len(rig.broker.queues[QUEUE]) == 1

    asyncio.run(scenario())


def test_a_drain_finishes_the_uploads_in_hand_and_causes_no_redelivery() -> None:
    async def scenario() -> None:
        rig = Rig(slots=2)
        async with rig.running() as run:
            for own_id in "abc":
                rig.upload(own_id)
            await settle()
            rig.command("drain")
            await settle()
            assert (rig.states, run.done()) == (["ready", "draining"], False)
            rig.open.set()
            await run
            uploads = [delivery for delivery in rig.broker.acked if delivery.queue == QUEUE]
            assert len(uploads) == 2
            assert rig.broker.retried == rig.broker.released == []
            assert rig.states == ["ready", "draining", "stopped"]
            assert not rig.broker.connected

    asyncio.run(scenario())


def test_a_delivery_on_its_way_when_the_drain_begins_is_still_uploaded() -> None:
    async def scenario() -> None:
        rig = Rig()
        async with rig.running() as run:
            rig.upload()
            rig.worker.request_drain()
            rig.open.set()
            await run
            assert len(rig.broker.acked) == 1
            assert rig.broker.released == []

    asyncio.run(scenario())


def test_the_first_signal_drains_and_the_second_puts_the_uploads_back() -> None:
    async def scenario() -> None:
        rig = Rig()
        async with rig.running() as run:
            rig.upload()
            await settle()
            rig.worker._on_signal()
            await settle()
            assert (rig.states[-1], run.done()) == ("draining", False)
            rig.worker._on_signal()
            await run
            assert [delivery.attempt for delivery in rig.broker.released] == [1]
            assert len(rig.broker.queues[QUEUE]) == 1
            assert rig.states[-1] == "stopped"
            assert rig.exited == []

    asyncio.run(scenario())


def test_a_drain_that_reaches_its_time_limit_puts_the_uploads_back_uncounted() -> None:
    async def scenario() -> None:
        rig = Rig(drain_timeout=0.01)
        async with rig.running() as run:
            rig.upload()
            await settle()
            assert rig.worker.status.busy == 1
            rig.worker.request_drain()
            await asyncio.wait_for(asyncio.shield(run), 60)
            assert [delivery.attempt for delivery in rig.broker.released] == [1]
            assert len(rig.broker.queues[QUEUE]) == 1

    asyncio.run(scenario())


def test_a_loop_that_something_blocks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An async handler that blocks stops the heartbeats, and the broker takes the uploads away."""

    async def scenario() -> None:
        rig = Rig(status_interval=0.01)
        now = 0.0
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
        with capture() as logs:
            async with rig.running():
                for step in (*[0.001] * 100, 5.0, *[0.001] * 100):  # five seconds go by in one callback
                    now += step
                    await settle()
        blocked = [log["seconds"] for log in logs if log["event"] == "worker.loop_blocked"]
        assert blocked == [pytest.approx(5.0, abs=0.2)]

    asyncio.run(scenario())


def test_a_worker_told_to_describe_lists_its_uploads_once_and_goes_on() -> None:
    """The status of every second stays small: only the answer lists them."""

    async def scenario() -> None:
        rig = Rig()
        async with rig.running():
            rig.upload("one")
            rig.upload("two")
            await settle()
            rig.command("describe")
            await settle()
            described = rig.statuses[-1]
            assert described.uploads is not None
            assert [(upload.request_id, upload.waits) for upload in described.uploads] == [
                ("one", False),
                ("two", False),
            ]
            assert described.state == "ready"
            assert rig.worker.status.uploads is None

    asyncio.run(scenario())


def test_a_draining_worker_describes_itself_too() -> None:
    async def scenario() -> None:
        rig = Rig()
        async with rig.running():
            rig.upload("one")
            await settle()
            rig.command("drain")
            await settle()
            rig.command("describe")
            await settle()
            assert rig.statuses[-1].state == "draining"
            assert len(rig.statuses[-1].uploads or ()) == 1

    asyncio.run(scenario())


def test_a_status_lists_no_more_uploads_than_a_message_may_hold() -> None:
    async def scenario() -> None:
        rig = Rig(slots=200)
        async with rig.running():
            for number in range(150):
                rig.upload(f"r{number}")
            await settle()
            rig.command("describe")
            await settle()
            assert (rig.statuses[-1].busy, len(rig.statuses[-1].uploads or ())) == (150, 100)

    asyncio.run(scenario())


def test_a_signal_after_a_drain_message_does_not_end_an_upload() -> None:
    """`docker stop` of a worker that the scaler drains already."""

    async def scenario() -> None:
        rig = Rig()
        async with rig.running() as run:
            rig.upload()
            await settle()
            rig.command("drain")
            await settle()
            rig.worker._on_signal()
            await settle()
            assert not run.done()
            assert rig.broker.released == []
            rig.open.set()
            await run
            assert len(rig.broker.acked) == 2  # the command and the upload

    asyncio.run(scenario())


def test_a_worker_leaves_a_handler_behind_that_will_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs, or an async handler that ignores its cancellation."""

    async def scenario() -> None:
        rig = Rig()
        rig.stubborn = True
        async with rig.running() as run:
            rig.upload()
            await settle()
            rig.worker.request_leave()
            await run
            assert rig.exited == [os.EX_TEMPFAIL]
            assert len(rig.broker.released) == 1

    monkeypatch.setattr("upswell.worker.loop.GRACE_SECONDS", 0.01)
    asyncio.run(scenario())


@pytest.mark.parametrize(
    "body", [b"nonsense", b'{"command": "dance", "sent_at": 1}', b'{"command": "drain"}', b"{}"]
)
def test_a_malformed_command_is_ignored(body: bytes) -> None:
    async def scenario() -> None:
        rig = Rig()
        async with rig.running() as run:
            rig.send(body)
            await settle()
            assert (rig.states, run.done()) == (["ready"], False)
            assert len(rig.broker.acked) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("sent_at", "state"), [(989.0, "standby"), (990.0, "ready"), (500.0, "ready")])
def test_a_command_that_comes_late_is_ignored_unless_the_clock_was_set_back(
    sent_at: float, state: str
) -> None:
    async def scenario() -> None:
        rig = Rig(standby=True)
        async with rig.running():
            rig.command("standby", sent_at=990.0)
            rig.command("activate", sent_at=sent_at)
            await settle()
            assert rig.worker.status.state == state

    asyncio.run(scenario())


def test_nothing_undoes_a_drain() -> None:
    async def scenario() -> None:
        rig = Rig()
        async with rig.running() as run:
            rig.upload()
            await settle()
            rig.command("drain", sent_at=1000.0)
            rig.command("activate", sent_at=1001.0)
            await settle()
            assert rig.states == ["ready", "draining"]
            rig.open.set()
            await run

    asyncio.run(scenario())


def test_a_drain_while_the_worker_still_connects_ends_it() -> None:
    class DeadBroker(MemoryBroker):
        async def connect(self) -> None:
            await asyncio.Event().wait()

    async def scenario() -> None:
        rig = Rig()
        rig.worker._broker = DeadBroker()
        async with rig.running() as run:
            rig.worker.request_drain()
            await run
            assert rig.statuses == []

    asyncio.run(scenario())


def test_a_worker_tells_its_status_every_interval() -> None:
    async def scenario() -> None:
        rig = Rig(status_interval=0.001)
        async with rig.running():
            while len(rig.statuses) < 4:  # noqa: ASYNC110 - the broker in memory has nothing to wait on
                await asyncio.sleep(0.001)
            assert set(rig.states) == {"ready"}

    asyncio.run(scenario())


def test_uploads_that_may_outlast_the_consumer_timeout_are_refused_at_the_start() -> None:
    """RabbitMQ would close the channel and hand the upload to another worker while it still runs."""
    url = "amqp://localhost"
    with pytest.raises(
        SettingsError, match=r"upload_timeout must be at most 1710 s.*consumer_timeout.*got 1800"
    ):
        check_time_limit(Settings(broker_url=url, upload_timeout=1800.0))
    check_time_limit(Settings(broker_url=url, upload_timeout=1710.0))
    check_time_limit(
        Settings(broker_url=url, upload_timeout=7000.0, brokers={"rabbitmq": {"consumer_timeout": 7200}})
    )
    check_time_limit(
        Settings(broker_url=url, upload_timeout=1e6, brokers={"rabbitmq": {"consumer_timeout": 0}})
    )
    check_time_limit(Settings(upload_timeout=1e6))


def test_a_worker_of_a_hostile_name_is_refused() -> None:
    with pytest.raises(MessageError, match="app_id"):
        Worker(
            app_id="../x",
            broker=MemoryBroker(),
            handler=Rig()._handle,
            settings=Settings(),
            worker_id="w",
            upload_queue="q",
            report_queue="r",
        )


def test_worker_ids_differ_and_keep_their_rule() -> None:
    rng = random.Random(1)
    ids = {new_worker_id("e1", rng) for _ in range(100)}
    assert len(ids) == 100
    assert msgspec.convert(sorted(ids), list[WorkerId])


def test_a_worker_whose_slots_are_found_fetches_and_shows_as_many_as_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When they shrink, what runs is finished, and what comes meanwhile waits for its turn."""
    found = iter([6, 2])

    async def scenario() -> None:
        rig = Rig(slots="auto")
        monkeypatch.setattr(SlotFinder, "observe", lambda *_: next(found))
        async with rig.running():
            for number in range(10):
                rig.upload(f"r{number}")
            await settle()
            assert (rig.worker.status.busy, rig.worker.status.slots) == (4, 4)
            assert rig.worker._capacity.adapt()
            rig.worker._changed.set()
            await settle()
            assert (rig.worker.status.busy, rig.worker.status.slots) == (6, 6)
            rig.worker._capacity.adapt()
            rig.worker._changed.set()
            await settle()
            assert rig.worker.status.slots == 2
            assert len(rig.worker._uploads._running) == 6
            assert len(rig.worker._uploads._waiting) == 2

    asyncio.run(scenario())


def test_workers_of_one_application_share_its_rate() -> None:
    async def scenario() -> None:
        rig = Rig(app_rate_limit=1000.0, slots=2)
        async with rig.running():
            rig.upload()
            other = WorkerStatus(app_id="e1", worker_id="e1-v", state="ready", busy=3, slots=4, at=1000.0)
            queue = topology.status_queue("rate", "e1-w").name
            rig.broker.publish(Message(body=encode(other), routing_key=queue))
            rig.broker.publish(Message(body=b"no status", routing_key=queue))
            await settle()
            rig.worker._capacity.adapt()
            assert rig.worker._capacity._limit.reserve(250) == pytest.approx(1.0, abs=0.01)

    asyncio.run(scenario())
