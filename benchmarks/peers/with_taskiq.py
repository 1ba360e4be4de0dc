"""The same work as a Taskiq task on aio-pika: prefetch 32, quorum queues, acknowledged when executed.

The last is a flag of its worker's command, see worker_loop.py.
"""

from __future__ import annotations

import asyncio
import sys

from aio_pika import DeliveryMode, Message
from taskiq_aio_pika import AioPikaBroker, Queue, QueueType
from work import IN_FLIGHT, REPORT, REPORTS, REQUESTS, URL, request

broker = AioPikaBroker(URL, qos=IN_FLIGHT, task_queues=[Queue(name=REQUESTS, type=QueueType.QUORUM)])


@broker.task("upload")
async def upload(_request: str) -> None:
    assert broker.write_channel is not None
    report = Message(REPORT, delivery_mode=DeliveryMode.PERSISTENT)
    await broker.write_channel.default_exchange.publish(report, routing_key=REPORTS)


async def publish(count: int) -> None:
    await broker.startup()
    for first in range(0, count, 500):
        await asyncio.gather(
            *(upload.kiq(request(first + i).decode()) for i in range(min(500, count - first)))
        )
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(publish(int(sys.argv[1])))
