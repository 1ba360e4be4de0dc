"""The same work as a Celery task: acknowledged late, its report confirmed, quorum queues, 32 threads."""

from __future__ import annotations

import sys

from celery import Celery
from kombu.entity import Exchange
from work import IN_FLIGHT, REPORT, REPORTS, REQUESTS, URL, request

app = Celery("bench", broker=URL)
app.conf.update(
    task_default_queue=REQUESTS,
    task_default_queue_type="quorum",
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,  # times 32 threads
    broker_pool_limit=IN_FLIGHT,  # a connection for each thread that publishes
    broker_transport_options={
        "confirm_publish": "worker" in sys.argv
    },  # requests are put in before the clock runs
    worker_enable_remote_control=False,
)
DEFAULT_EXCHANGE = Exchange("")


@app.task(name="upload")
def upload(_request: str) -> None:
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            REPORT,
            exchange=DEFAULT_EXCHANGE,
            routing_key=REPORTS,
            delivery_mode=2,
            content_type="application/json",
            content_encoding="binary",
        )


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        app.send_task("upload", (request(number).decode(),))
