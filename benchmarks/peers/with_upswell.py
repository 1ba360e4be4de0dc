"""What Upswell's worker is given here: a handler that does nothing, and requests in its own queues."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from work import REPORTS, REQUESTS, URL, request

from upswell.broker.protocol import Message
from upswell.broker.rabbitmq import RabbitBroker
from upswell.broker.topology import dead_letter_queue, report_queue, upload_queue

if TYPE_CHECKING:
    from upswell.messages import UploadRequest


async def noop(_request: UploadRequest) -> None:
    """Store nothing; the worker reports all the same."""


async def publish(count: int) -> None:
    """Make the queues as the worker would, and put `count` requests in."""
    broker = RabbitBroker(URL, name="bench")
    await broker.connect()
    for queue in (
        dead_letter_queue(REQUESTS),
        upload_queue(REQUESTS, delivery_limit=5),
        report_queue(REPORTS),
    ):
        await broker.declare(queue)
    await asyncio.gather(
        *(broker.publish(Message(body=request(i), routing_key=REQUESTS)) for i in range(count))
    )
    await broker.close()


if __name__ == "__main__":
    asyncio.run(publish(int(sys.argv[1])))
