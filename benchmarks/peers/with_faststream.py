"""The same work as a FastStream subscriber: nack on error, prefetch 32, quorum queues, no logger."""

from __future__ import annotations

import asyncio

from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from work import IN_FLIGHT, REPORT, REPORTS, REQUESTS, URL

broker = RabbitBroker(URL, default_channel=Channel(prefetch_count=IN_FLIGHT), logger=None)
requests = RabbitQueue(REQUESTS, queue_type=QueueType.QUORUM, durable=True)


@broker.subscriber(requests, ack_policy=AckPolicy.NACK_ON_ERROR)
async def upload(_request: dict[str, object]) -> None:
    await broker.publish(REPORT, routing_key=REPORTS, persist=True)


if __name__ == "__main__":
    asyncio.run(FastStream(broker, logger=None).run())
