"""The worker loop, bare: pika's asyncio adapter and nothing else.

No retry, no reconnection, not even JSON: the limit that the others are compared with.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from work import IN_FLIGHT, REPORT, REPORTS, REQUESTS, URL, request

PERSISTENT = pika.BasicProperties(delivery_mode=2)
QUORUM = {"x-queue-type": "quorum"}


def publish(count: int) -> None:
    """Put `count` requests into the queue."""
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    for queue in (REQUESTS, REPORTS):
        channel.queue_declare(queue, durable=True, arguments=QUORUM)
    for number in range(count):
        channel.basic_publish("", REQUESTS, request(number), PERSISTENT)
    connection.close()


class Worker:
    """Publishes a report at each delivery and acknowledges the delivery when the report's confirm arrives."""

    def __init__(self) -> None:
        self.unconfirmed: dict[int, int] = {}
        self.published = 0
        loop = asyncio.get_running_loop()
        AsyncioConnection(pika.URLParameters(URL), self.on_connection, custom_ioloop=loop)

    def on_connection(self, connection: Any) -> None:
        """Connected: open a channel."""
        connection.channel(on_open_callback=self.on_channel)

    def on_channel(self, channel: Any) -> None:
        """Have it confirm what is published, and consume."""
        self.channel = channel
        channel.confirm_delivery(self.on_confirm)
        channel.basic_qos(prefetch_count=IN_FLIGHT)
        for queue in (REQUESTS, REPORTS):
            channel.queue_declare(queue, durable=True, arguments=QUORUM)
        channel.basic_consume(REQUESTS, self.on_delivery)

    def on_delivery(self, channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        """Publish the report, and remember which request it is for."""
        channel.basic_publish("", REPORTS, REPORT, PERSISTENT)
        self.published += 1
        self.unconfirmed[self.published] = method.delivery_tag

    def on_confirm(self, frame: Any) -> None:
        """Acknowledge what this confirm covers: one report, or with `multiple` all up to it."""
        tag = frame.method.delivery_tag
        tags = [t for t in self.unconfirmed if t <= tag] if frame.method.multiple else [tag]
        for confirmed in tags:
            self.channel.basic_ack(self.unconfirmed.pop(confirmed))


async def work() -> None:
    Worker()
    await asyncio.Future()  # until SIGTERM ends the process


if __name__ == "__main__":
    if len(sys.argv) > 1:
        publish(int(sys.argv[1]))
    else:
        asyncio.run(work())
