"""How fast the embedded broker is, against other queues in one SQLite file at the same durability.

Each contender puts N no-op tasks, then drains them with 8 in flight; all files are in WAL mode, synced at
each commit that promises something (PRAGMA synchronous = FULL). What each side does for one task:

upswell             put: publish, confirmed after a sync, 8 unconfirmed at a time. Drain: deliver, decode the
                    request, encode and publish a report, wait for its confirm (a sync), ack. One sync a
                    confirmed batch.
upswell, pipelined  the same, but all puts are published before the first confirm is awaited.
huey                put: enqueue a task, one sync. Drain: 8 threads dequeue (one sync, which also removes it:
                    a crash from here on loses the task) and execute it; no result is stored.
persist-queue       put: one sync. Drain: 8 threads get (one sync) and ack (one sync); no report.

The others do less work a task, and put from one thread, which is faster for them than eight.

    python benchmarks/embedded.py [--messages 2000] [--repetitions 5] [--json]
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from side_by_side import arguments, conclude, interleave, median, print_table
from upswell import events
from upswell.broker.protocol import Message
from upswell.broker.sqlite import SqliteBroker
from upswell.broker.topology import Queue, report_queue, upload_queue
from upswell.messages import UploadReport, UploadRequest, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upswell.broker.protocol import Delivery

IN_FLIGHT = 8


@contextmanager
def folder() -> Iterator[Path]:
    """Give a fresh folder on a real disk (/tmp may be memory, where a sync is free)."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as name:
        yield Path(name)


def threads(work: Callable[[], None]) -> None:
    """Run `work` in as many threads as tasks are in flight; wait for all."""
    running = [threading.Thread(target=work) for _ in range(IN_FLIGHT)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


async def put_all(broker: SqliteBroker, queue: Queue, count: int, in_flight: int) -> None:
    """Publish requests, at most `in_flight` unconfirmed at a time."""
    room = asyncio.Semaphore(in_flight)

    async def put(number: int) -> None:
        async with room:
            request = UploadRequest(id=f"{number}", app_id="bench", type="file", uri=f"file:///in/{number}")
            await broker.publish(Message(routing_key=queue.name, body=encode(request)))

    await asyncio.gather(*[put(number) for number in range(count)])


async def drain_all(broker: SqliteBroker, queue: Queue, reports: Queue, count: int) -> None:
    """Take each request, publish its report, acknowledge once the report is confirmed."""
    done = asyncio.Event()
    acked = 0

    def on_delivery(delivery: Delivery) -> None:
        request = decode(UploadRequest, delivery.body)
        report = UploadReport(app_id=request.app_id, request_id=request.id, response_time=0.0)
        confirm = broker.publish(Message(routing_key=reports.name, body=encode(report)))
        confirm.add_done_callback(lambda confirm: settle(delivery, confirm))

    def settle(delivery: Delivery, confirm: asyncio.Future[None]) -> None:
        nonlocal acked
        confirm.result()
        broker.ack(delivery)
        acked += 1
        if acked == count:
            done.set()

    await broker.consume(queue.name, on_delivery, prefetch_count=IN_FLIGHT)
    await done.wait()


def upswell(count: int, *, pipelined: bool) -> tuple[float, float]:
    """Return seconds to put and to drain."""

    async def run(path: Path) -> tuple[float, float]:
        broker = SqliteBroker(path / "broker.sqlite", name="bench")
        await broker.connect()
        queue, reports = upload_queue("bench_upload", delivery_limit=5), report_queue("reports")
        await broker.declare(queue)
        await broker.declare(reports)
        start = time.perf_counter()
        await put_all(broker, queue, count, count if pipelined else IN_FLIGHT)
        middle = time.perf_counter()
        await drain_all(broker, queue, reports, count)
        end = time.perf_counter()
        depth = await broker.depth(reports.name)
        assert depth is not None
        assert depth.messages_ready == count
        await broker.close()
        return middle - start, end - middle

    with folder() as path:
        return asyncio.run(run(path))


def huey(count: int) -> tuple[float, float]:
    """Return seconds to put and to drain with SqliteHuey."""
    from huey import SqliteHuey  # noqa: PLC0415 - a contender, of the bench group only

    logging.getLogger("huey").setLevel(logging.ERROR)
    with folder() as path:
        queue: Any = SqliteHuey(filename=str(path / "huey.db"), fsync=True, results=False)

        @queue.task()
        def nothing(_number: int) -> None:
            return None

        def work() -> None:
            while (task := queue.dequeue()) is not None:
                queue.execute(task)

        start = time.perf_counter()
        for number in range(count):
            nothing(number)
        middle = time.perf_counter()
        threads(work)
        return middle - start, time.perf_counter() - middle


def persist_queue(count: int) -> tuple[float, float]:
    """Return seconds to put and to drain with SQLiteAckQueue."""
    from persistqueue import Empty, SQLiteAckQueue  # noqa: PLC0415 - a contender, of the bench group only

    with folder() as path:
        queue: Any = SQLiteAckQueue(str(path), multithreading=True)
        assert queue._putter.execute("PRAGMA synchronous").fetchone() == (2,), "not FULL"  # noqa: SLF001 - to be fair

        def work() -> None:
            while True:
                try:
                    item = queue.get(block=False)
                except Empty:
                    return
                queue.ack(item)

        start = time.perf_counter()
        for number in range(count):
            queue.put(number)
        middle = time.perf_counter()
        threads(work)
        seconds = time.perf_counter() - middle
        queue.close()
        return middle - start, seconds


def main() -> None:
    """Measure all in turns and print a table."""
    parser = arguments("The embedded broker against other queues in SQLite.", repetitions=5)
    parser.add_argument("--messages", type=int, default=2000, help="tasks put and drained a turn")
    options = parser.parse_args()
    events.configure(level="error")
    count = 200 if options.quick else options.messages
    contenders: dict[str, Callable[[], tuple[float, float]]] = {
        "upswell": lambda: upswell(count, pipelined=False),
        "upswell, pipelined": lambda: upswell(count, pipelined=True),
        "huey": lambda: huey(count),
        "persist-queue": lambda: persist_queue(count),
    }
    wanted = [name for name in options.only.split(",") if name]
    chosen = {name: run for name, run in contenders.items() if not wanted or name in wanted}
    measured = interleave(chosen, 1 if options.quick else options.repetitions)

    rates = {
        name: {
            "put_per_second": count / median([put for put, _ in turns]),
            "drain_per_second": count / median([drain for _, drain in turns]),
            "tasks_per_second": count / median([put + drain for put, drain in turns]),
        }
        for name, turns in measured.items()
    }
    ratios = {
        f"{ours} / {other}": rates[ours]["tasks_per_second"] / rates[other]["tasks_per_second"]
        for ours in ("upswell", "upswell, pipelined")
        for other in ("huey", "persist-queue")
        if ours in rates and other in rates
    }
    print_table(
        ["contender", "put/s", "drain/s", "put+drain/s"],
        [[name, *(f"{value:,.0f}" for value in rate.values())] for name, rate in rates.items()],
    )
    print()
    print_table(["ratio of put+drain/s", ""], [[name, f"{ratio:.2f}"] for name, ratio in ratios.items()])
    conclude(
        {
            "benchmark": "embedded",
            "messages": count,
            "in_flight": IN_FLIGHT,
            "rates": rates,
            "ratios": ratios,
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
