"""A process stopped in the midst of a write holds the embedded broker up: who is said, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.system import wait_until
from upswell.broker.protocol import Message
from upswell.broker.sqlite import SqliteBroker
from upswell.broker.sqlite.broker import HELD_UP_SECONDS
from upswell.broker.topology import Queue
from upswell.events import capture

if TYPE_CHECKING:
    from pathlib import Path

WORK = Queue(name="work")

_IN_A_WRITE = """
import os, signal, sys
from pathlib import Path
from upswell.broker.sqlite.database import BrokerDatabase

def work():
    print("writing", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

file = BrokerDatabase(Path(sys.argv[1]))
sys.stdin.readline()
file.transact(work, synced=False)
file.close()
"""


@pytest.mark.slow
def test_who_was_stopped_in_a_write_is_said_and_all_goes_on_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "broker.sqlite"

    async def scenario(writer: subprocess.Popen[bytes]) -> None:
        broker = SqliteBroker(path, name="test")
        await broker.connect()
        await broker.declare(WORK)
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(b"\n")
        writer.stdin.close()
        assert await asyncio.to_thread(writer.stdout.readline) == b"writing\n"
        await asyncio.to_thread(os.waitid, os.P_PID, writer.pid, os.WSTOPPED | os.WNOWAIT)
        with capture() as said:
            confirmed = broker.publish(Message(routing_key=WORK.name, body=b"1"))
            newcomer = SqliteBroker(path, name="newcomer")  # who only now connects is told, too
            connecting = asyncio.create_task(newcomer.connect())

            def told() -> list[str]:
                """Return what was said of the writer; a busy machine may hold up anyone."""
                holders = [str(event["holder"]) for event in said if event["event"] == "broker.held_up"]
                return [holder for holder in holders if holder.startswith(f"process {writer.pid} (")]

            await asyncio.to_thread(wait_until, lambda: len(told()) == 2, 60, lambda: str(said))
            for holder in told():
                assert holder.endswith(f"stopped; let it go on (kill -CONT {writer.pid}) or end it")
            assert not confirmed.done()
            os.kill(writer.pid, signal.SIGCONT)
            await asyncio.gather(confirmed, connecting)
            await asyncio.sleep(HELD_UP_SECONDS + 1)
            assert len(told()) == 2  # once a wait, and none afterwards
        assert [delivery.body for delivery in await broker.look(WORK.name)] == [b"1"]
        await newcomer.close()
        await broker.close()

    command = [sys.executable, "-c", _IN_A_WRITE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        try:
            asyncio.run(scenario(writer))
        finally:
            writer.kill()
