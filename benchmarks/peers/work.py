"""The work that every contender does: take a request, publish one confirmed report, then acknowledge."""

from __future__ import annotations

import json
import os

URL = os.environ.get("AMQPURL", "amqp://guest:guest@localhost/")
APP = "bench"
REQUESTS = "bench_upload"
REPORTS = "upswell_report"
BARE_CONTROL = "bench.control"
IN_FLIGHT = 32
"""Requests that a worker holds unacknowledged at once: prefetch count, slots, or threads."""


def request(number: int) -> bytes:
    """Return a request of about 200 bytes."""
    return json.dumps(
        {
            "app_id": APP,
            "type": "video/mp4",
            "uri": f"file:///var/spool/uploads/2026/11/24/camera-7/recording-{number:08}.mp4",
            "id": f"{number:032x}",
            "size_bytes": 1_048_576,
        },
        separators=(",", ":"),
    ).encode()


REPORT = json.dumps(
    {
        "app_id": APP,
        "response_time": 1.234567,
        "request_id": f"{1:032x}",
        "worker_id": "bench-1",
        "waiting_time": 1.234,
        "service_time": 0.000567,
        "finished_at": 1795525600.123456,
    }
).encode()
"""What the others publish, about 200 bytes; Upswell makes a real report of each request instead."""
