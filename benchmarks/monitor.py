"""How fast the monitor takes reports in, and how long a round of decisions for 1,000 applications takes.

Taking in is measured against the least that can be done with the same queue on the same RabbitMQ node: bare
pika that consumes, with the same prefetch count, acknowledges all that a turn of the loop brought with one
frame, as Upswell does, and looks at none. The monitor besides decodes and checks each report, drops
duplicates, fills windows and journals it. The clock runs from the first delivery to the last.

A round is measured on windows as full as they get: each application has as many reports as are kept, more
come between the rounds. Once with a broker that does nothing (thinking alone), once with the scale requests
published to RabbitMQ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection

from side_by_side import arguments, conclude, interleave, median, print_table, rabbitmq
from upswell import events
from upswell.broker import open_broker, topology
from upswell.journal import Journal
from upswell.messages import UploadReport, encode
from upswell.monitor.loop import PREFETCH_COUNT, Monitor
from upswell.monitor.rehearsals import Rehearsals
from upswell.settings import Settings

APPLICATIONS = 1000
ROUNDS = 20
REPORTS_EACH = 500
"""As many as a monitor of 1,000 applications keeps of each."""
QUEUE = "upswell_report"
GOAL_OF_BARE, GOAL_ROUND_MS, GOAL_MIB = 0.8, 50.0, 150.0


def report(number: int, app_id: str, rng: random.Random, finished_at: float) -> UploadReport:
    """Return what a worker tells of one upload."""
    waiting, service = rng.expovariate(1.0), rng.expovariate(0.5)
    return UploadReport(
        app_id=app_id,
        request_id=f"{number:032x}",
        worker_id=f"{app_id}-worker-{number % 4}",
        response_time=waiting + service,
        waiting_time=waiting,
        service_time=service,
        bytes=rng.randrange(10_000_000),
        finished_at=finished_at,
    )


def fill(url: str, count: int) -> None:
    """Put `count` reports of ten applications into a fresh report queue, and wait until all are there."""
    rng = random.Random(1)
    properties = pika.BasicProperties(delivery_mode=2)
    with closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        channel = connection.channel()
        channel.queue_delete(QUEUE)
        asyncio.run(declare(url))
        for number in range(count):
            body = encode(report(number, f"app{number % 10}", rng, time.time()))
            channel.basic_publish("", QUEUE, body, properties)
        while channel.queue_declare(QUEUE, passive=True).method.message_count < count:
            time.sleep(0.05)


async def declare(url: str) -> None:
    broker = open_broker(Settings(broker_url=url), name="benchmark")
    await broker.connect()
    await broker.declare(topology.report_queue(QUEUE))
    await broker.close()


async def bare_pika(url: str, count: int) -> dict[str, float]:
    """Consume and acknowledge `count` messages with pika's asyncio adapter and nothing else.

    What came in one turn of the loop is acknowledged with one frame, as Upswell does it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[float] = loop.create_future()
    first_at, first_cpu, seen, unsettled = 0.0, 0.0, 0, 0

    def on_delivery(channel: Any, method: Any, _properties: Any, _body: bytes) -> None:
        nonlocal first_at, first_cpu, seen, unsettled
        if not seen:
            first_at, first_cpu = time.perf_counter(), time.process_time()
        if not unsettled:
            loop.call_soon(settle, channel)
        unsettled = method.delivery_tag
        seen += 1

    def settle(channel: Any) -> None:
        nonlocal unsettled
        channel.basic_ack(unsettled, multiple=True)
        unsettled = 0
        if seen == count:
            done.set_result(time.perf_counter())

    def on_channel(channel: Any) -> None:
        channel.basic_qos(prefetch_count=PREFETCH_COUNT)
        channel.basic_consume(QUEUE, on_delivery)

    connection = AsyncioConnection(
        pika.URLParameters(url),
        on_open_callback=lambda connection: connection.channel(on_open_callback=on_channel),
        custom_ioloop=loop,
    )
    seconds = await done - first_at
    cpu = time.process_time() - first_cpu
    connection.close()
    return {"rate": count / seconds, "cpu_us": cpu / count * 1e6}


async def upswell(url: str, count: int) -> dict[str, float]:
    """Run the real monitor, journal included, until it has taken in `count` reports."""
    apps: dict[str, dict[str, Any]] = {f"app{number}": {} for number in range(10)}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(broker_url=url, state_dir=folder, apps=apps)
        journal = Journal(Path(folder) / "journal.sqlite", settings.journal_max_bytes)
        broker = open_broker(settings, name="benchmark")
        await broker.connect()
        monitor = Monitor(broker=broker, settings=settings, journal=journal, name="benchmark")
        running = asyncio.create_task(monitor.run())
        while not monitor.reports_taken_in:  # noqa: ASYNC110 - a monitor has no event for what only a benchmark asks
            await asyncio.sleep(0.001)
        first_at, first_cpu, before = time.perf_counter(), time.process_time(), monitor.reports_taken_in
        while monitor.reports_taken_in < count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.002)
        measured = count - before
        rate = measured / (time.perf_counter() - first_at)
        cpu_us = (time.process_time() - first_cpu) / measured * 1e6
        running.cancel()
        await asyncio.wait({running})
        await broker.close()
        journal.close()
    return {"rate": rate, "cpu_us": cpu_us}


class NoBroker:
    """Takes scale requests and does nothing."""

    def publish(self, _message: object) -> None:
        """Drop it."""


async def rounds(url: str, broker: Any) -> dict[str, float]:
    """Time rounds of decisions for 1,000 applications with full windows, new reports coming in between."""
    now = [time.time()]
    apps: dict[str, dict[str, Any]] = {f"app{number}": {} for number in range(APPLICATIONS)}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = Settings(broker_url=url, state_dir=folder, apps=apps)
        journal = Journal(Path(folder) / "journal.sqlite", settings.journal_max_bytes)
        beside = ThreadPoolExecutor(max_workers=1)
        monitor = Monitor(
            broker=broker,
            settings=settings,
            journal=journal,
            name="benchmark",
            clock=lambda: now[0],
            rehearsals=Rehearsals(settings.decision_interval, executor=beside),
        )
        rng = random.Random(1)
        between = int(REPORTS_EACH * settings.decision_interval / settings.window)
        warm = int(settings.window / settings.decision_interval) + 1
        wall, cpu = [], []
        for _ in range(warm + ROUNDS):
            hear(monitor, rng, now, between, settings.decision_interval)
            wall_before, cpu_before = time.perf_counter(), time.thread_time()
            monitor.decide(now[0])
            wall.append(time.perf_counter() - wall_before)
            cpu.append(time.thread_time() - cpu_before)
            # Two seconds pass between rounds: what is written and rehearsed meanwhile is over by then.
            await asyncio.to_thread(journal.flush)
            await asyncio.get_running_loop().run_in_executor(beside, int)
        wall, cpu = wall[warm:], cpu[warm:]
        journal.close()
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "wall_ms": median(wall) * 1e3,
        "cpu_ms": median(cpu) * 1e3,
        "worst_ms": max(wall) * 1e3,
        "mib": mib,
    }


def hear(monitor: Monitor, rng: random.Random, now: list[float], count: int, seconds: float) -> None:
    """Let each application hear of `count` uploads within the next `seconds`, and of its queue's depth."""
    start = now[0]
    for number in range(count):
        now[0] = start + seconds * (number + 1) / count
        for app_id, watched in monitor.applications:
            watched.seen.report(report(number, app_id, rng, now[0]), now[0])
    for _, watched in monitor.applications:
        watched.seen.depth(rng.randrange(50), rng.randrange(8), 2, now[0])


async def published_rounds(url: str) -> dict[str, float]:
    broker = open_broker(Settings(broker_url=url), name="benchmark")
    await broker.connect()
    result = await rounds(url, broker)
    await broker.close()
    return result


def contender(name: str, url: str, count: int) -> None:
    """Be one contender, in a process of its own, and print its figures."""
    events.configure(level="error")
    work = {
        "bare pika": lambda: bare_pika(url, count),
        "Upswell": lambda: upswell(url, count),
        "thinking": lambda: rounds(url, NoBroker()),
        "published": lambda: published_rounds(url),
    }[name]
    print(json.dumps(asyncio.run(work())))


def measure(name: str, url: str, count: int) -> dict[str, float]:
    """Run one contender and return its figures."""
    if name in ("bare pika", "Upswell"):
        fill(url, count)
    command = [sys.executable, __file__, "--contender", name, "--reports", str(count)]
    done = subprocess.run(
        command, env={**os.environ, "AMQPURL": url}, stdout=subprocess.PIPE, check=True, timeout=300
    )
    return json.loads(done.stdout)


def parser() -> argparse.ArgumentParser:
    options = arguments("Reports taken in per second, and a round of 1,000 decisions.", repetitions=5)
    options.add_argument("--reports", type=int, default=100_000, help="reports in each turn")
    options.add_argument("--contender", default="", help=argparse.SUPPRESS)
    return options


def main() -> None:
    options = parser().parse_args()
    if options.contender:
        contender(options.contender, os.environ["AMQPURL"], options.reports)
        return
    count, repetitions = (10_000, 1) if options.quick else (options.reports, options.repetitions)
    with rabbitmq() as url:
        names = ("bare pika", "Upswell", "thinking", "published")
        turns = interleave({name: partial(measure, name, url, count) for name in names}, repetitions)
    rates = {name: [turn["rate"] for turn in turns[name]] for name in ("bare pika", "Upswell")}
    ratio = median([ours / bare for ours, bare in zip(rates["Upswell"], rates["bare pika"], strict=True)])
    print(f"{count:,} reports, prefetch {PREFETCH_COUNT}, quorum queue, {repetitions} turns of each\n")
    cpu = {name: median([turn["cpu_us"] for turn in turns[name]]) for name in rates}
    print_table(
        ["reports taken in", "per second", "CPU a report", "range"],
        [
            [name, f"{median(r):,.0f}", f"{cpu[name]:.0f} us", f"{min(r):,.0f}-{max(r):,.0f}"]
            for name, r in rates.items()
        ],
    )
    print(f"\nUpswell: {ratio:.2f} of bare pika (goal {GOAL_OF_BARE})\n")
    figures = {
        name: {key: median([turn[key] for turn in turns[name]]) for key in turns[name][0]}
        for name in ("thinking", "published")
    }
    print_table(
        [f"round of {APPLICATIONS:,} decisions", "wall", "CPU", "worst of a turn", "memory"],
        [
            [
                name,
                f"{f['wall_ms']:.0f} ms",
                f"{f['cpu_ms']:.0f} ms",
                f"{f['worst_ms']:.0f} ms",
                f"{f['mib']:.0f} MiB",
            ]
            for name, f in figures.items()
        ],
    )
    print(f"\ngoals: a round below {GOAL_ROUND_MS:g} ms, memory below {GOAL_MIB:g} MiB")
    conclude(
        {
            "benchmark": "monitor",
            "reports": count,
            "rates": rates,
            "cpu_us": cpu,
            "ratio": ratio,
            "rounds": figures,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
