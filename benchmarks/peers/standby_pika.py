"""A standby worker, bare: connected, and consuming only while its control queue last said `activate`."""

from __future__ import annotations

import asyncio
from typing import Any

from with_pika import Worker
from work import BARE_CONTROL, IN_FLIGHT, REQUESTS


class StandbyWorker(Worker):
    """Consumes its control queue; the queues of requests and reports are there already."""

    consuming = ""

    def on_channel(self, channel: Any) -> None:
        """Have it confirm what is published, and wait for commands."""
        self.channel = channel
        channel.confirm_delivery(self.on_confirm)
        channel.basic_qos(prefetch_count=IN_FLIGHT)
        channel.queue_declare(BARE_CONTROL, exclusive=True)
        channel.basic_consume(BARE_CONTROL, self.on_command, auto_ack=True)

    def on_command(self, channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        """Begin to consume, or stop it."""
        if body == b"activate":
            self.consuming = channel.basic_consume(REQUESTS, self.on_delivery)
        elif self.consuming:
            channel.basic_cancel(self.consuming)


async def work() -> None:
    """Wait until SIGTERM ends the process."""
    StandbyWorker()
    await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(work())
