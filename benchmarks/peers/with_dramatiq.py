"""The same work as a Dramatiq actor: confirmed, 32 threads, prefetch 32, quorum queues."""

from __future__ import annotations

import os
import sys

os.environ["dramatiq_queue_prefetch"] = "32"  # noqa: SIM112 - its name; read when dramatiq is imported

import dramatiq
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from work import REPORT, REPORTS, REQUESTS, URL, request

PERSISTENT = pika.BasicProperties(delivery_mode=2)


class QuorumBroker(RabbitmqBroker):
    """Dramatiq leaves the type of its queues to the server's default; here it is always quorum."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, str]:
        return {**super()._build_queue_arguments(queue_name), "x-queue-type": "quorum"}


# Requests are put in before the clock runs, so only the worker waits for confirms.
broker = QuorumBroker(url=URL, confirm_delivery=__name__ != "__main__")
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=REQUESTS)
def upload(_request: str) -> None:
    broker.channel.basic_publish("", REPORTS, REPORT, PERSISTENT)


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        upload.send(request(number).decode())
    broker.close()
