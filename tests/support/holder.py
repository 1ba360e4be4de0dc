"""A process that takes one message from a queue and holds it until it is killed.

`python holder.py KIND WHERE QUEUE`; it prints the message's attempt once it holds it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from upswell import events

if TYPE_CHECKING:
    from upswell.broker.protocol import Broker, Delivery


def open_broker(kind: str, where: str, name: str) -> Broker:
    """Return a broker of `kind` at `where` (URL or path), not yet connected."""
    if kind == "rabbitmq":
        from upswell.broker.rabbitmq import RabbitBroker  # noqa: PLC0415 - each kind loads only its own client

        return RabbitBroker(where, name=name)
    from upswell.broker.sqlite import SqliteBroker  # noqa: PLC0415 - same

    return SqliteBroker(Path(where), name=name)


def kill_a_process_that_holds_one(kind: str, where: str, queue: str) -> int:
    """Start a process, wait until it holds a message of `queue`, kill it; return the attempt that it saw."""
    process = subprocess.Popen([sys.executable, __file__, kind, where, queue], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    return int(line)


async def _hold(kind: str, where: str, queue: str) -> None:
    broker = open_broker(kind, where, "holder")
    await broker.connect()

    def on_delivery(delivery: Delivery) -> None:
        print(delivery.attempt, flush=True)  # noqa: T201 - the parent reads it

    await broker.consume(queue, on_delivery, prefetch_count=1)
    await asyncio.Event().wait()


if __name__ == "__main__":
    events.configure()  # log events to standard error: the parent reads standard output
    asyncio.run(_hold(*sys.argv[1:]))
