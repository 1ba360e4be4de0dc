"""A disk without room: what is not confirmed waits, and goes on by itself once there is room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from conftest import fill_disk
from support.inbox import Inbox
from upswell.broker.protocol import Message
from upswell.broker.sqlite import SqliteBroker
from upswell.broker.topology import Queue
from upswell.errors import BrokerError
from upswell.events import capture

if TYPE_CHECKING:
    from pathlib import Path

WORK = Queue(name="work")


def test_publishes_wait_for_room_and_nothing_is_lost(small_disk: Path) -> None:
    async def scenario() -> None:
        broker = SqliteBroker(small_disk / "broker.sqlite", name="test")
        await broker.connect()
        await broker.declare(WORK)
        bodies = [b"%d" % number + b" " * 2000 for number in range(100)]
        confirms = [broker.publish(Message(routing_key=WORK.name, body=body)) for body in bodies[:10]]
        await asyncio.gather(*confirms)
        fill_disk(small_disk)
        with capture() as logs:
            confirms = [broker.publish(Message(routing_key=WORK.name, body=body)) for body in bodies[10:]]
            async with asyncio.timeout(60):
                while "broker.disk_refuses" not in [entry["event"] for entry in logs]:
                    await asyncio.wait(confirms, timeout=0.1)
            await asyncio.wait(confirms, timeout=1.2)
            assert not any(confirm.done() for confirm in confirms)
            (small_disk / "ballast").unlink()
            async with asyncio.timeout(60):
                await asyncio.gather(*confirms)
        assert [entry["event"] for entry in logs] == ["broker.disk_refuses", "broker.disk_takes_again"]
        inbox = Inbox(acking=broker)
        await broker.consume(WORK.name, inbox, prefetch_count=100)
        await inbox.wait(100)
        assert inbox.bodies == bodies
        await broker.close()

    asyncio.run(scenario())


def test_a_broker_that_closes_on_a_full_disk_says_what_is_not_safe(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("upswell.broker.sqlite.broker.CLOSE_SECONDS", 0.2)

    async def scenario() -> None:
        broker = SqliteBroker(small_disk / "broker.sqlite", name="test")
        await broker.connect()
        await broker.declare(WORK)
        fill_disk(small_disk)
        confirm = broker.publish(Message(routing_key=WORK.name, body=b"x" * 100_000))
        async with asyncio.timeout(60):
            await broker.close()
        with pytest.raises(BrokerError, match=r"the disk is full \(\d+ bytes free\)"):
            await confirm

    asyncio.run(scenario())


def test_connecting_to_a_full_disk_is_an_error_that_says_so(small_disk: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(BrokerError, match=r"broker\.sqlite"):
            await SqliteBroker(small_disk / "broker.sqlite", name="test").connect()

    fill_disk(small_disk)
    asyncio.run(scenario())
