# ruff: noqa: D102, ASYNC110 - methods named for what they do; other processes give nothing to wait on
"""A whole worker on real brokers: real files into a real folder, signals to a real process."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pytest

from support.inbox import Inbox
from support.tcp_proxy import TcpProxy
from upswell.broker import open_broker, topology
from upswell.broker.protocol import Message
from upswell.handlers.registry import load_handler
from upswell.messages import UploadReport, UploadRequest, WorkerCommand, WorkerStatus, decode, encode
from upswell.settings import Settings
from upswell.worker import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from upswell.broker.protocol import Broker

_numbers = itertools.count(int(time.time() * 1000))


@pytest.fixture(params=[pytest.param("rabbitmq", marks=pytest.mark.rabbitmq), "sqlite"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    (tmp_path / "in").mkdir()
    return Settings(
        broker_url=request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else "",
        state_dir=str(tmp_path / "state"),
        destination=str(tmp_path / "store"),
        source_roots=[str(tmp_path / "in")],
        report_queue=f"reports.{next(_numbers)}",
        retry_backoff=0.01,
        status_interval=0.2,
    )


class Site:
    """One application on one broker: what a publisher, a monitor and a scaler would see of it."""

    def __init__(self, settings: Settings, broker: Broker) -> None:
        self.settings = settings
        self.broker = broker
        self.app_id = f"e{next(_numbers)}"
        self.upload_queue = f"{self.app_id}_upload"
        self.reports = Inbox(acking=broker)
        self.statuses = Inbox(acking=broker)

    async def open(self) -> None:
        status_queue = topology.status_queue("test", self.app_id)
        for queue in (
            topology.dead_letter_queue(self.upload_queue),
            topology.upload_queue(self.upload_queue, delivery_limit=self.settings.delivery_limit),
            topology.report_queue(self.settings.report_queue),
            status_queue,
        ):
            await self.broker.declare(queue)
        await self.broker.consume(self.settings.report_queue, self.reports, prefetch_count=100)
        await self.broker.consume(status_queue.name, self.statuses, prefetch_count=100)

    async def publish(self, *requests: UploadRequest) -> None:
        await asyncio.gather(
            *(
                self.broker.publish(Message(body=encode(one), routing_key=self.upload_queue))
                for one in requests
            )
        )

    def requests(self, count: int, size: int = 1000) -> list[UploadRequest]:
        folder = self.settings.source_roots[0]
        for number in range(count):
            with open(f"{folder}/{number}", "wb") as file:  # noqa: PTH123 - one expression
                file.write(os.urandom(size))
        return [
            UploadRequest(
                app_id=self.app_id, type="file", uri=f"file://{folder}/{number}", id=f"r{number}",
                published_at=time.time(),
            )
            for number in range(count)
        ]  # fmt: skip

    def worker(self, number: int = 1, *, standby: bool = False, handler: Any = None) -> Worker:
        worker_id = f"{self.app_id}-w{number}"
        return Worker(
            app_id=self.app_id,
            broker=open_broker(self.settings, name=worker_id),
            handler=handler or load_handler(self.settings),
            settings=self.settings,
            worker_id=worker_id,
            upload_queue=self.upload_queue,
            report_queue=self.settings.report_queue,
            standby=standby,
        )

    def outcomes(self) -> list[tuple[str | None, str]]:
        reports = [decode(UploadReport, body) for body in self.reports.bodies]
        return sorted((report.request_id, report.outcome) for report in reports)

    async def state(self, state: str, worker_id: str = "") -> None:
        """Wait until some worker, or this one, says that it is in `state`."""

        def is_told(body: bytes) -> bool:
            status = decode(WorkerStatus, body)
            return status.state == state and worker_id in {"", status.worker_id}

        async with asyncio.timeout(60):
            while not any(map(is_told, self.statuses.bodies)):
                await asyncio.sleep(0.01)

    async def empty(self) -> bool:
        depth = await self.broker.depth(self.upload_queue)
        return depth is not None and depth.messages_ready == 0


@asynccontextmanager
async def site(settings: Settings) -> AsyncIterator[Site]:
    broker = open_broker(settings, name="test")
    await broker.connect()
    try:
        place = Site(settings, broker)
        await place.open()
        yield place
    finally:
        await broker.close()


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[asyncio.Task[None]]:
    run = asyncio.create_task(worker.run(handle_signals=False))
    try:
        yield run
    finally:
        worker.request_leave()
        await run


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_every_upload_is_stored_with_its_bytes_and_reported_once(settings: Settings) -> None:
    async def scenario() -> None:
        async with site(settings) as place:
            requests = place.requests(60)
            await place.publish(*requests)
            async with running(place.worker(1)), running(place.worker(2)):
                await place.reports.wait(60)
            assert place.outcomes() == sorted((one.id, "stored") for one in requests)
            for report in (decode(UploadReport, body) for body in place.reports.bodies):
                number = str(report.request_id)[1:]
                stored = (Path(settings.destination) / f"r{number}" / number).read_bytes()
                assert report.checksum == f"sha256:{hashlib.sha256(stored).hexdigest()}"
                with open(f"{settings.source_roots[0]}/{number}", "rb") as file:  # noqa: ASYNC230, PTH123 - small
                    assert stored == file.read()
            assert await place.empty()

    play(scenario())


def test_a_missing_source_is_in_the_dead_letter_queue_with_its_reason(settings: Settings) -> None:
    async def scenario() -> None:
        async with site(settings) as place:
            request = UploadRequest(
                app_id=place.app_id, type="file", uri=f"file://{settings.source_roots[0]}/none", id="r"
            )
            await place.publish(request)
            async with running(place.worker()):
                await place.reports.wait(1)
            assert place.outcomes() == [("r", "dead")]
            letter = await place.broker.get(f"{place.upload_queue}.dead")
            assert letter is not None
            assert letter.body == encode(request)
            assert "the source does not exist" in str(letter.headers["x-upswell-reason"])
            assert letter.headers["x-upswell-attempt"] == 1
            place.broker.ack(letter)

    play(scenario())


def test_an_upload_that_fails_twice_is_stored_at_the_third_attempt(settings: Settings) -> None:
    async def scenario() -> None:
        failures = iter([ValueError("one"), ValueError("two")])

        async def handler(_request: UploadRequest) -> None:
            for error in failures:
                raise error

        async with site(settings) as place:
            await place.publish(*place.requests(1))
            async with running(place.worker(handler=handler)):
                await place.reports.wait(3)
            reports = [decode(UploadReport, body) for body in place.reports.bodies]
            assert [(report.outcome, report.attempt) for report in reports] == [
                ("failed", 1), ("failed", 2), ("stored", 3),
            ]  # fmt: skip

    play(scenario())


def test_an_upload_that_always_fails_is_dead_after_the_delivery_limit(settings: Settings) -> None:
    async def scenario() -> None:
        async def handler(_request: UploadRequest) -> None:
            raise ValueError("never")

        async with site(settings) as place:
            await place.publish(*place.requests(1))
            async with running(place.worker(handler=handler)):
                await place.reports.wait(5)
                await place.reports.stays_at(5)
            reports = [decode(UploadReport, body) for body in place.reports.bodies]
            assert [report.outcome for report in reports] == ["failed"] * 4 + ["dead"]
            letter = await place.broker.get(f"{place.upload_queue}.dead")
            assert letter is not None
            assert letter.headers["x-upswell-reason"] == "ValueError: never"
            place.broker.ack(letter)

    play(scenario())


def test_a_standby_worker_is_activated_by_one_message_and_drained_by_another(settings: Settings) -> None:
    async def scenario() -> None:
        async with site(settings) as place:
            worker = place.worker(standby=True)
            async with running(worker) as run:
                await place.state("standby")
                await place.publish(*place.requests(1))
                control = topology.control_queue(worker.status.worker_id).name

                def send(command: WorkerCommand) -> None:
                    place.broker.publish(Message(body=encode(command), routing_key=control))

                send(WorkerCommand(command="activate", sent_at=time.time()))
                await place.reports.wait(1)
                send(WorkerCommand(command="drain", sent_at=time.time()))
                await asyncio.wait_for(run, 90)
            await place.state("stopped")

    play(scenario())


def test_scale_ins_under_load_interrupt_no_upload_and_cause_no_redelivery(settings: Settings) -> None:
    """Twenty workers are drained one after the other while uploads flow."""

    async def scenario() -> None:
        attempts: list[int] = []

        async def handler(_request: UploadRequest) -> None:
            await asyncio.sleep(0.01)

        async with site(settings) as place:
            requests = place.requests(400, size=1)
            await place.publish(*requests)
            async with running(place.worker(0, handler=handler)):
                for number in range(1, 20):
                    worker = place.worker(number, handler=handler)
                    async with running(worker) as run:
                        await asyncio.sleep(0.03)
                        worker.request_drain()
                        await asyncio.wait_for(run, 90)
                await place.reports.wait(400)
            reports = [decode(UploadReport, body) for body in place.reports.bodies]
            attempts = [report.attempt for report in reports]
            assert sorted(str(report.request_id) for report in reports) == sorted(
                str(one.id) for one in requests
            )
            assert set(attempts) == {1}

    play(scenario())


@pytest.mark.rabbitmq
def test_uploads_go_on_through_a_lost_connection_and_none_runs_twice(rabbitmq: str, tmp_path: Path) -> None:
    """Their deliveries are void and come again: to this worker, which joins them to what it runs already."""

    async def scenario(proxy: TcpProxy) -> None:
        gate = asyncio.Event()
        ran: list[str | None] = []
        (tmp_path / "in").mkdir()

        async def handler(asked: UploadRequest) -> None:
            ran.append(asked.id)
            await gate.wait()

        url = urlsplit(rabbitmq)
        behind = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{proxy.port}").geturl()
        direct = Settings(
            broker_url=rabbitmq, report_queue=f"reports.{next(_numbers)}", source_roots=[str(tmp_path / "in")]
        )
        async with site(direct) as place:
            place.settings = msgspec.structs.replace(direct, broker_url=behind, slots=4)
            worker = place.worker(handler=handler)
            place.settings = direct
            async with running(worker) as run:
                await place.publish(*place.requests(4))
                async with asyncio.timeout(60):
                    while len(ran) < 4:
                        await asyncio.sleep(0.01)
                    await asyncio.to_thread(proxy.cut)
                    while (
                        sum(len(held.deliveries) for held in worker._uploads._held) < 8
                    ):  # each held twice: the void delivery and the new one
                        await asyncio.sleep(0.01)
                gate.set()
                await place.reports.wait(4)
                worker.request_drain()
                await asyncio.wait_for(run, 90)
            assert place.outcomes() == [(f"r{number}", "stored") for number in range(4)]
            assert len(ran) == 4
            assert await place.empty()

    with TcpProxy(urlsplit(rabbitmq).port or 5672) as proxy:
        play(scenario(proxy))


HANGING = """
import time

def hang(request):
    open(request.key.replace("/", "_"), "w").close()
    time.sleep(1000)
"""


@asynccontextmanager
async def process(
    place: Site, folder: Path, *flags: str, worker_id: str = ""
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A worker as the command starts it."""
    settings = place.settings
    environment = {
        **os.environ,
        "AMQPURL": settings.broker_url,
        "UPSWELL_STATE_DIR": settings.state_dir,
        "UPSWELL_DESTINATION": settings.destination,
        "UPSWELL_SOURCE_ROOTS": settings.source_roots[0],
        "UPSWELL_REPORT_QUEUE": settings.report_queue,
        "UPSWELL_WORKER_ID": worker_id,
    }
    command = [sys.executable, "-m", "upswell", "worker", "--app", place.app_id, *flags]
    worker = subprocess.Popen(command, env=environment, cwd=folder)  # noqa: ASYNC220 - the test looks from outside
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


async def ended(worker: subprocess.Popen[bytes], seconds: float = 90.0) -> int:
    async with asyncio.timeout(seconds):
        while worker.poll() is None:
            await asyncio.sleep(0.01)
    return int(worker.returncode)


def test_the_second_sigterm_puts_the_upload_back_though_its_thread_hangs(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "hanging.py").write_text(HANGING)

    async def scenario() -> None:
        async with site(settings) as place:
            await place.publish(*place.requests(1))
            async with process(place, tmp_path, "--handler", "hanging:hang") as worker:
                async with asyncio.timeout(60):
                    while not (tmp_path / "r0_0").exists():
                        await asyncio.sleep(0.01)
                worker.send_signal(signal.SIGTERM)
                await place.state("draining")
                worker.send_signal(signal.SIGTERM)
                assert await ended(worker) == os.EX_TEMPFAIL
            async with running(place.worker()):
                await place.reports.wait(1)
            (report,) = [decode(UploadReport, body) for body in place.reports.bodies]
            assert (report.outcome, report.attempt) == ("stored", 1)

    play(scenario())


def test_sigterm_drains_a_process_and_kill_9_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with site(settings) as place:
            requests = place.requests(40, size=20_000)
            await place.publish(*requests)
            # So slow that it has far from all done when it is killed, wherever this process stands still.
            async with process(place, tmp_path, "--upload-rate-limit", "40000") as worker:
                await place.reports.wait(5)
                worker.kill()
                await ended(worker)
            async with process(place, tmp_path, worker_id=f"{place.app_id}-second") as worker:
                await place.state("ready", f"{place.app_id}-second")
                await place.reports.wait(40)
                async with asyncio.timeout(60):
                    while {name for name, _ in place.outcomes()} != {one.id for one in requests}:
                        await asyncio.sleep(0.01)
                worker.send_signal(signal.SIGTERM)
                assert await ended(worker) == 0
            assert {outcome for _, outcome in place.outcomes()} == {"stored"}
            store = Path(settings.destination)
            for number in range(40):
                source = tmp_path / "in" / str(number)
                assert (store / f"r{number}" / str(number)).read_bytes() == source.read_bytes()

    play(scenario())
