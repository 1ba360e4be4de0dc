"""How many requests per second a worker fully processes: consume, publish a confirmed report, acknowledge.

Every contender does the same work on the same RabbitMQ node: quorum queues, persistent messages of about 200
bytes, 32 in flight, one worker process, requests put into the queue before the clock runs. The rate counts
from the first to the last report in the report queue, so the start of the process is left out. The handlers
do nothing but report: what is measured is what a framework costs.
"""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pika
from pika.exceptions import ChannelClosedByBroker

from peers.work import APP, IN_FLIGHT, REPORTS, REQUESTS
from side_by_side import (
    arguments,
    conclude,
    cpu_seconds,
    interleave,
    median,
    print_table,
    rabbitmq,
    resident_mib,
    started,
)

BARE = "bare pika"
OURS = "Upswell"
PYTHON = sys.executable
BIN = Path(sys.executable).parent
TIMEOUT = 60.0
"""Seconds after which a contender that has not finished is an error."""


COMMANDS = {
    BARE: f"{PYTHON} with_pika.py",
    OURS: f"{PYTHON} -m upswell worker --app {APP} --slots {IN_FLIGHT} --handler with_upswell:noop",
    "bare aio-pika": f"{PYTHON} with_aio_pika.py",
    "Taskiq": f"{BIN}/taskiq worker with_taskiq:broker --workers 1 --ack-type when_executed"
    f" --max-async-tasks {IN_FLIGHT} --log-level WARNING",
    "Dramatiq": f"{BIN}/dramatiq with_dramatiq --processes 1 --threads {IN_FLIGHT}",
    "FastStream": f"{PYTHON} with_faststream.py",
    "Celery": f"{BIN}/celery -A with_celery worker --pool threads --concurrency {IN_FLIGHT}"
    " --without-gossip --without-mingle --without-heartbeat --loglevel WARNING",
}
"""Contender -> the command of one worker process, given in peers/."""

PUBLISHERS = {
    OURS: "with_upswell.py",
    "Taskiq": "with_taskiq.py",
    "Dramatiq": "with_dramatiq.py",
    "Celery": "with_celery.py",
}
"""Contender -> the program that puts its requests into the queue in its envelope; default with_pika.py."""

FRAMEWORKS = ("Taskiq", "Dramatiq", "FastStream", "Celery")


@dataclass(frozen=True)
class Turn:
    """One contender's turn: requests per second, CPU seconds a request, MiB, seconds to the first report."""

    rate: float
    cpu: float
    memory: float
    first_report: float


def measure(name: str, url: str, count: int) -> Turn:
    """Put `count` requests into fresh queues, start the worker, watch the report queue till all are there."""
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        prepare(connection, name, url, count)
        launched_at = time.perf_counter()
        with started(COMMANDS[name].split(), {"AMQPURL": url}) as worker:
            first = watch(connection, 1, pause=0.002)
            first_at, cpu_before = time.perf_counter(), cpu_seconds(worker.pid)
            last = watch(connection, count, pause=0.02)
            seconds, cpu = time.perf_counter() - first_at, cpu_seconds(worker.pid) - cpu_before
            processed = last - first
            return Turn(
                processed / seconds, cpu / processed, resident_mib(worker.pid), first_at - launched_at
            )


def prepare(connection: pika.BlockingConnection, name: str, url: str, count: int) -> None:
    """Delete all queues, and have a contender's own program make them anew and put `count` requests in."""
    for queue in (REQUESTS, f"{REQUESTS}.DQ", f"{REQUESTS}.XQ", f"{REQUESTS}.dead", REPORTS):
        connection.channel().queue_delete(queue)
    program = PUBLISHERS.get(name, "with_pika.py")
    with started([PYTHON, program, str(count)], {"AMQPURL": url}) as publisher:
        if publisher.wait(TIMEOUT) != 0:
            raise RuntimeError(f"{program} ended with {publisher.returncode}")
    declare_reports(connection)


def declare_reports(connection: pika.BlockingConnection) -> None:
    """Make the report queue, unless the publishing program has made it in its own way."""
    try:
        connection.channel().queue_declare(REPORTS, passive=True)
    except ChannelClosedByBroker:
        connection.channel().queue_declare(REPORTS, durable=True, arguments={"x-queue-type": "quorum"})


def watch(connection: pika.BlockingConnection, count: int, *, pause: float) -> int:
    """Wait until the report queue holds `count` reports; return how many it holds then."""
    deadline = time.monotonic() + TIMEOUT
    channel = connection.channel()
    while time.monotonic() < deadline:
        reports = channel.queue_declare(REPORTS, passive=True).method.message_count
        if reports >= count:
            return reports
        time.sleep(pause)
    raise RuntimeError(f"fewer than {count} reports after {TIMEOUT:g} s")


def main() -> None:
    parser = arguments("Requests per second that a worker fully processes.", repetitions=3)
    parser.add_argument("--requests", type=int, default=10_000, help="requests in each turn")
    options = parser.parse_args()
    count, repetitions = (2_000, 1) if options.quick else (options.requests, options.repetitions)
    names = [name for name in COMMANDS if not options.only or name in options.only.split(",")]
    with rabbitmq() as url:
        turns = interleave({name: partial(measure, name, url, count) for name in names}, repetitions)
    rates = {name: median([turn.rate for turn in turns[name]]) for name in names}
    bare = rates.get(BARE, float("nan"))
    rows = [
        [
            name,
            f"{rates[name]:,.0f}",
            f"{rates[name] / bare:.2f}",
            f"{median([turn.cpu for turn in turns[name]]) * 1e6:.0f} us",
            f"{median([turn.memory for turn in turns[name]]):.0f} MiB",
            f"{median([turn.first_report for turn in turns[name]]):.2f} s",
            f"{min(turn.rate for turn in turns[name]):,.0f}-{max(turn.rate for turn in turns[name]):,.0f}",
        ]
        for name in sorted(names, key=rates.__getitem__, reverse=True)
    ]
    print(f"{count:,} requests, {repetitions} turns of each, {IN_FLIGHT} in flight, quorum queues\n")
    print_table(
        ["worker", "requests/s", "of bare pika", "CPU a request", "memory", "first report", "range"], rows
    )
    fastest = max((rates[name] for name in FRAMEWORKS if name in rates), default=float("nan"))
    ours = rates.get(OURS, float("nan"))
    print(f"\nUpswell: {ours / bare:.2f} of bare pika (goal 0.75)", end=", ")
    print(f"{ours / fastest:.2f} x the fastest framework (goal 2)")
    result = {
        "benchmark": "worker_loop",
        "requests": count,
        "repetitions": repetitions,
        "ratio_to_bare": ours / bare,
        "ratio_to_fastest_framework": ours / fastest,
        "contenders": {name: [vars(turn) for turn in turns[name]] for name in names},
    }
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
