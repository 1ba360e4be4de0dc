"""A process that publishes to, or works on, a queue of the embedded broker, until it is killed.

`python sqlite_process.py publish PATH QUEUE COUNT` prints each body once it is confirmed.
`python sqlite_process.py work PATH QUEUE REPORTS PREFETCH [SECONDS]` takes so long over each body,
publishes it to REPORTS, headed by its own pid, and acknowledges once that is confirmed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from upswell import events
from upswell.broker.protocol import Message
from upswell.broker.sqlite import SqliteBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.broker.protocol import Delivery


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run this file as a process with its output on a pipe; kill it in the end."""
    process = start(*arguments)
    try:
        yield process
    finally:
        kill(process)


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """Start this file as a process with its output on a pipe."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def kill(process: subprocess.Popen[bytes]) -> bytes:
    """Kill -9 a process; return what it had printed and nobody read yet."""
    process.kill()
    assert process.stdout is not None
    rest = process.stdout.read()
    process.stdout.close()
    process.wait()
    return rest


async def publish(path: str, queue: str, count: str) -> None:
    """Publish `count` messages, pipelined; say which are confirmed."""
    broker = SqliteBroker(Path(path), name="publisher")
    await broker.connect()

    async def one(number: int) -> None:
        body = f"{os.getpid()}-{number}"
        await broker.publish(Message(routing_key=queue, body=body.encode()))
        os.write(1, f"{body}\n".encode())

    for start in range(0, int(count), 10):
        await asyncio.gather(*[one(number) for number in range(start, min(start + 10, int(count)))])
    await asyncio.Event().wait()


async def work(path: str, queue: str, reports: str, prefetch_count: str, seconds: str = "0.002") -> None:
    """Report and acknowledge each message of a queue."""
    broker = SqliteBroker(Path(path), name="worker")
    await broker.connect()

    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(float(seconds))
        body = f"{os.getpid()} {delivery.body.decode()}"
        await broker.publish(Message(routing_key=reports, body=body.encode()))
        broker.ack(delivery)

    tasks: set[asyncio.Task[None]] = set()

    def on_delivery(delivery: Delivery) -> None:
        task = asyncio.ensure_future(handle(delivery))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    await broker.consume(queue, on_delivery, prefetch_count=int(prefetch_count))
    os.write(1, b"ready\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    events.configure()
    asyncio.run({"publish": publish, "work": work}[sys.argv[1]](*sys.argv[2:]))
