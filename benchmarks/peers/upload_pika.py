"""Uploads what comes through a queue with pika and obstore alone: what the machine allows, end to end.

Usage: upload_pika.py ENDPOINT REQUESTS REPORTS AT_ONCE; both queues are there, AMQPURL names the server. It
takes the checksums that Upswell takes and acknowledges a request when its report is confirmed. It keeps no
other promise: no look at the message or the path, no retry, no time limit, no reconnection, one report for
all.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import with_pika
from upload_files import with_obstore
from with_pika import PERSISTENT
from work import REPORT


class Worker(with_pika.Worker):
    """Has a thread upload each request, and then does as the bare worker loop."""

    def __init__(self, endpoint: str, requests: str, reports: str, at_once: int) -> None:
        self.requests, self.reports, self.at_once = requests, reports, at_once
        self.upload = with_obstore(endpoint)
        self.threads = ThreadPoolExecutor(at_once)
        self.loop = asyncio.get_running_loop()
        super().__init__()

    def on_channel(self, channel: Any) -> None:
        """Have it confirm what is published, and consume."""
        self.channel = channel
        channel.confirm_delivery(self.on_confirm)
        channel.basic_qos(prefetch_count=self.at_once)
        channel.basic_consume(self.requests, self.on_delivery)

    def on_delivery(self, channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        """Give it to a thread."""
        del channel
        path = Path(json.loads(body)["uri"].removeprefix("file://"))
        done = self.threads.submit(self.upload, path)
        done.add_done_callback(partial(self.loop.call_soon_threadsafe, self.report, method.delivery_tag))

    def report(self, tag: int, done: Future[None]) -> None:
        """Publish the report of an upload that succeeded."""
        done.result()
        self.channel.basic_publish("", self.reports, REPORT, PERSISTENT)
        self.published += 1
        self.unconfirmed[self.published] = tag


async def work() -> None:
    endpoint, requests, reports, at_once = sys.argv[1:5]
    Worker(endpoint, requests, reports, int(at_once))
    await asyncio.Future()  # until SIGTERM ends the process


if __name__ == "__main__":
    asyncio.run(work())
