"""The course's three programs as they were, for Python 3: plain pika, queues that are declared by name alone.

`python course_programs.py publisher|worker|monitor URL APP_ID UPLOAD_QUEUE REPORT_QUEUE`. Imports nothing of
Upswell's. The worker uploads in no time; the monitor prints where the sample started a container.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import pika

say = partial(print, flush=True)


def publisher(channel: Any, app_id: str, upload_queue: str, _report_queue: str) -> None:
    """Publish five requests."""
    channel.queue_declare(queue=upload_queue)
    for number in range(5):
        body = json.dumps({"type": "image", "uri": f"file:///data/{number}.jpg", "app_id": app_id})
        channel.basic_publish(exchange="", routing_key=upload_queue, body=body)
    say("published")


def worker(channel: Any, app_id: str, upload_queue: str, report_queue: str) -> None:
    """Take requests one at a time and report each."""
    channel.queue_declare(queue=upload_queue)
    channel.queue_declare(queue=report_queue)

    def on_request(_channel: Any, method: Any, _properties: Any, body: bytes) -> None:
        report = json.dumps({"response_time": 40.0, "app_id": json.loads(body)["app_id"]})
        channel.basic_publish(exchange="", routing_key=report_queue, body=report)
        channel.basic_ack(delivery_tag=method.delivery_tag)
        say("uploaded for", app_id)

    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(upload_queue, on_request)
    say("waiting")
    channel.start_consuming()


def monitor(channel: Any, _app_id: str, _upload_queue: str, report_queue: str) -> None:
    """Read reports."""
    channel.queue_declare(queue=report_queue)

    def on_report(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        say("reported", json.loads(body)["app_id"])

    channel.basic_consume(report_queue, on_report, auto_ack=True)
    say("waiting")
    channel.start_consuming()


if __name__ == "__main__":
    role, url, *names = sys.argv[1:]
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        {"publisher": publisher, "worker": worker, "monitor": monitor}[role](connection.channel(), *names)
