"""The same loop on aio-pika; its publish awaits the confirm, and 32 tasks run at once."""

from __future__ import annotations

import asyncio
from typing import Any

import aio_pika
from work import IN_FLIGHT, REPORT, REPORTS, REQUESTS, URL

QUORUM: Any = {"x-queue-type": "quorum"}


async def main() -> None:
    connection = await aio_pika.connect(URL)
    channel = await connection.channel(publisher_confirms=True)
    await channel.set_qos(prefetch_count=IN_FLIGHT)
    queue = await channel.declare_queue(REQUESTS, durable=True, arguments=QUORUM)
    await channel.declare_queue(REPORTS, durable=True, arguments=QUORUM)

    async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        report = aio_pika.Message(REPORT, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(report, routing_key=REPORTS)
        await message.ack()

    await queue.consume(on_message)
    await asyncio.Future()


asyncio.run(main())
