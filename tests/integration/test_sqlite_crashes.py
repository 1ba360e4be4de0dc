"""`kill -9` of processes on the embedded broker: nothing is lost, and what they held comes back soon."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from conftest import skip_or_fail
from support import sqlite_process
from support.holder import kill_a_process_that_holds_one
from support.inbox import Inbox
from upswell.broker.protocol import Message
from upswell.broker.sqlite import SqliteBroker, wakeup
from upswell.broker.topology import Queue
from upswell.errors import BrokerError
from upswell.events import capture

if TYPE_CHECKING:
    from pathlib import Path

    from upswell.broker.protocol import Delivery

WORK = Queue(name="work", delivery_limit=50, dead_letter_queue="work.dead")
REPORTS = Queue(name="reports")


async def connected(path: Path) -> SqliteBroker:
    broker = SqliteBroker(path, name="test")
    await broker.connect()
    for queue in (WORK, REPORTS):
        await broker.declare(queue)
    return broker


async def reports(broker: SqliteBroker, wanted: set[str], seconds: float) -> list[tuple[str, str]]:
    """Return (worker, body) of all reports, once there is one for each wanted body."""
    inbox = Inbox(acking=broker)
    consumer = await broker.consume(REPORTS.name, inbox, prefetch_count=500)
    async with asyncio.timeout(seconds):
        while not wanted <= {body.decode().split()[1] for body in inbox.bodies}:
            await inbox.wait(len(inbox.bodies) + 1)
    await consumer.cancel()
    pairs = (body.decode().split() for body in inbox.bodies)
    return [(worker, body) for worker, body in pairs]


def test_what_a_killed_publisher_was_told_is_safe_is_there(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"

    async def scenario() -> None:
        broker = await connected(path)
        confirmed: list[bytes] = []
        for after in (1, 40, 150):
            process = await asyncio.to_thread(sqlite_process.start, "publish", path, WORK.name, 10_000)
            assert process.stdout is not None
            lines = [await asyncio.to_thread(process.stdout.readline) for _ in range(after)]
            rest = sqlite_process.kill(process)
            confirmed += [
                line.strip() for line in (*lines, *rest.splitlines(keepends=True)) if line.endswith(b"\n")
            ]
        depth = await broker.depth(WORK.name)
        assert depth is not None
        inbox = Inbox(acking=broker)
        await broker.consume(WORK.name, inbox, prefetch_count=1000)
        await inbox.wait(depth.messages_ready)
        counts = Counter(inbox.bodies)
        assert len(confirmed) >= 191
        assert set(confirmed) <= set(counts)
        assert max(counts.values()) == 1
        await broker.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_workers_killed_under_load_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    rng = random.Random(1)
    wanted = {f"{number}" for number in range(1500)}

    async def scenario() -> None:
        broker = await connected(path)
        workers = [sqlite_process.start("work", path, WORK.name, REPORTS.name, 4) for _ in range(3)]
        try:
            publishing = asyncio.gather(
                *[broker.publish(Message(routing_key=WORK.name, body=body.encode())) for body in wanted]
            )
            for _ in range(6):
                await asyncio.sleep(rng.uniform(0.05, 0.4))
                sqlite_process.kill(workers.pop(rng.randrange(3)))
                workers.append(sqlite_process.start("work", path, WORK.name, REPORTS.name, 4))
            await publishing
            found = await reports(broker, wanted, seconds=120)
            duplicates = len(found) - len(wanted)
            assert {body for _, body in found} == wanted
            assert duplicates <= 6 * 4, "only what a killed worker held may be done twice"
            assert await broker.depth("work.dead") is None
        finally:
            for worker in workers:
                sqlite_process.kill(worker)
        await broker.close()

    asyncio.run(scenario())


@pytest.mark.slow
def test_eight_processes_share_a_queue_evenly(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"
    wanted = {f"{number}" for number in range(2400)}

    async def scenario() -> None:
        broker = await connected(path)
        # All of it takes fifteen seconds: one that stands still for ten gets less, and its share still.
        workers = [sqlite_process.start("work", path, WORK.name, REPORTS.name, 4, 0.2) for _ in range(8)]
        try:
            for worker in workers:
                assert worker.stdout is not None
                assert await asyncio.to_thread(worker.stdout.readline) == b"ready\n"
            depth = await broker.depth(WORK.name)
            assert depth is not None
            assert depth.consumers == 8
            await asyncio.gather(
                *[broker.publish(Message(routing_key=WORK.name, body=body.encode())) for body in wanted]
            )
            found = await reports(broker, wanted, seconds=120)
        finally:
            for worker in workers:
                sqlite_process.kill(worker)
        assert sorted(body for _, body in found) == sorted(wanted), "each was done once"
        shares = Counter(worker for worker, _ in found)
        assert len(shares) == 8
        assert min(shares.values()) >= 60, shares
        await broker.close()

    asyncio.run(scenario())


def test_what_a_killed_process_held_comes_back_without_waiting_for_its_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "SILENT_SECONDS", 1e6)
    path = str(tmp_path / "broker.sqlite")

    async def scenario() -> None:
        broker = await connected(tmp_path / "broker.sqlite")
        await broker.publish(Message(routing_key=WORK.name, body=b"x"))
        await asyncio.to_thread(kill_a_process_that_holds_one, "sqlite", path, WORK.name)
        inbox = Inbox()
        await broker.consume(WORK.name, inbox, prefetch_count=1)
        await inbox.wait(seconds=60)
        await broker.close()

    asyncio.run(scenario())


def test_a_confirmed_message_is_in_what_the_disk_holds(tmp_path: Path) -> None:
    """A power cut keeps what was synced; here: the file and its log, copied the moment after a confirm."""
    path = tmp_path / "broker.sqlite"

    async def scenario() -> None:
        broker = await connected(path)
        for number in range(20):
            await broker.publish(Message(routing_key=WORK.name, body=b"%d" % number))
            cut = tmp_path / f"cut{number}"
            cut.mkdir()
            for suffix in ("", "-wal"):  # the -shm file is memory, and gone after a power cut
                shutil.copy(f"{path}{suffix}", f"{cut / path.name}{suffix}")
            survivor = SqliteBroker(cut / path.name, name="survivor")
            await survivor.connect()
            depth = await survivor.depth(WORK.name)
            assert depth is not None
            assert depth.messages_ready == number + 1
            await survivor.close()
        await broker.close()

    asyncio.run(scenario())


def test_the_log_is_synced_before_a_message_is_confirmed(tmp_path: Path) -> None:
    """From outside: between the last write to the log and the word of the confirm stands a sync."""
    if shutil.which("strace") is None:
        skip_or_fail("needs strace to see the system calls")
    path, trace = tmp_path / "broker.sqlite", tmp_path / "trace"
    asyncio.run(_make(path))
    command = ["strace", "-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o", str(trace)]
    script = sqlite_process.__file__
    with subprocess.Popen(
        [*command, sys.executable, script, "publish", str(path), WORK.name, "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if line:  # ends the traced process, and strace with it: told to end, strace may hang
            os.kill(int(line.split(b"-")[0]), signal.SIGKILL)
        process.wait(timeout=60)
    traced = trace.read_text()
    if not traced:
        skip_or_fail("this machine does not let strace look")
    assert line
    before_confirm = traced[: traced.index("write(1<")].splitlines()
    of_the_log = [entry for entry in before_confirm if "broker.sqlite-wal>" in entry]
    assert any("pwrite64(" in entry for entry in of_the_log)
    assert "sync(" in of_the_log[-1], of_the_log[-3:]


async def _make(path: Path) -> None:
    broker = await connected(path)
    await broker.close()


def test_messages_given_back_by_a_killed_process_keep_their_place(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"

    async def scenario() -> None:
        broker = await connected(path)
        for body in (b"1", b"2", b"3"):
            await broker.publish(Message(routing_key=WORK.name, body=body))
        await asyncio.to_thread(kill_a_process_that_holds_one, "sqlite", str(path), WORK.name)
        deliveries: list[Delivery] = []
        async with asyncio.timeout(60):
            while len(deliveries) < 3:
                depth = await broker.depth(WORK.name)
                assert depth is not None
                if depth.messages_unacknowledged == len(deliveries):
                    delivery = await broker.get(WORK.name)
                    assert delivery is not None
                    deliveries.append(delivery)
                await asyncio.sleep(0.01)
        assert [(delivery.body, delivery.attempt) for delivery in deliveries] == [
            (b"1", 2),
            (b"2", 1),
            (b"3", 1),
        ]
        await broker.close()

    asyncio.run(scenario())


def test_a_file_that_breaks_in_use_fails_publishes_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"

    async def scenario() -> None:
        broker = await connected(path)
        with capture() as logs:  # the broker may meet it before the publish does
            vandal = sqlite3.connect(path)
            vandal.execute("DROP TABLE messages")
            vandal.close()
            with pytest.raises(BrokerError, match=r"broker\.sqlite.*no such table"):
                await broker.publish(Message(routing_key=WORK.name, body=b"x"))
        assert logs[0]["event"] == "broker.failed"
        await broker.close()

    asyncio.run(scenario())
