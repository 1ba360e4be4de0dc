"""What Upswell costs before it does anything: time to start and to wake up, memory; beside bare pika's.

- `upswell --help`, and beside it the interpreter that does nothing;
- a worker process, from its start to its first report, on RabbitMQ;
- a standby worker, from the control message to its first report;
- resident memory of an idle worker, and of a monitor that has heard of 1,000 applications.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pika
from pika.exceptions import UnroutableError

from peers.work import APP, BARE_CONTROL, IN_FLIGHT, REPORTS, REQUESTS, request
from side_by_side import (
    arguments,
    conclude,
    interleave,
    median,
    print_table,
    rabbitmq,
    resident_mib,
    started,
)
from worker_loop import BARE, COMMANDS, OURS, TIMEOUT, prepare

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

INTERPRETER = "python -c pass"
HELP = "upswell --help"
UPSWELL = [sys.executable, "-m", "upswell"]
WORKER_ID = "bench-standby"
PERSISTENT = pika.BasicProperties(delivery_mode=2)
SETTLED_SECONDS = 1.0
"""How long a process is left alone before its memory is read."""


@dataclass(frozen=True)
class Line:
    """One measured thing: Upswell's figure, the other's, and the goal."""

    what: str
    ours: float
    beside: float | None
    goal: float
    unit: str
    digits: int = 1

    def row(self) -> list[str]:
        """Return it as a table's row."""
        beside, ratio = "", ""
        if self.beside is not None:
            beside, ratio = f"{self.beside:.{self.digits}f}", f"{self.ours / self.beside:.1f}"
        met = "yes" if self.ours <= self.goal else "no"
        return [self.what, self.unit, f"{self.ours:.{self.digits}f}", beside, ratio, f"{self.goal:g}", met]


def run_time(command: list[str]) -> float:
    """Return the seconds from a command's start to its end."""
    begun = time.perf_counter()
    with started(command, {}) as process:
        if process.wait(TIMEOUT) != 0:
            raise RuntimeError(f"{command} ended with {process.returncode}")
        return time.perf_counter() - begun


def next_report(channel: BlockingChannel) -> None:
    """Wait for the next report in the report queue, and take it."""
    for method, _, _ in channel.consume(REPORTS, auto_ack=True, inactivity_timeout=TIMEOUT):
        if method is None:
            raise RuntimeError(f"no report after {TIMEOUT:g} s")
        break


def first_report(name: str, connection: BlockingConnection, url: str) -> float:
    """Return the seconds from a worker process's start to its report of the request that waits for it."""
    prepare(connection, name, url, 1)
    with closing(connection.channel()) as channel:
        begun = time.perf_counter()
        with started(COMMANDS[name].split(), {"AMQPURL": url}):
            next_report(channel)
            return time.perf_counter() - begun


def command_of(name: str, command: str) -> tuple[str, bytes]:
    """Return the control queue of a contender's standby worker, and the message that means `command`."""
    if name == BARE:
        return BARE_CONTROL, command.encode()
    body = json.dumps({"command": command, "sent_at": time.time()}).encode()
    return f"upswell.control.{WORKER_ID}", body


def activation(name: str, connection: BlockingConnection) -> float:
    """Return the seconds from the control message to a standby worker's first report; then put it back."""
    with closing(connection.channel()) as channel:
        wait_for(channel, REQUESTS, consumers=0)
        channel.basic_publish("", REQUESTS, request(time.time_ns()), PERSISTENT)
        wait_for(channel, REQUESTS, messages=1)
        queue, body = command_of(name, "activate")
        begun = time.perf_counter()
        channel.basic_publish("", queue, body)
        next_report(channel)
        seconds = time.perf_counter() - begun
        wait_for(channel, REQUESTS, consumers=1)
        channel.basic_publish("", *command_of(name, "standby"))
        wait_for(channel, REQUESTS, consumers=0)
        return seconds


def wait_for(
    channel: BlockingChannel, queue: str, *, messages: int | None = None, consumers: int | None = None
) -> None:
    """Wait until a queue has so many ready messages, or consumers."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        found = channel.queue_declare(queue, passive=True).method
        if messages in (None, found.message_count) and consumers in (None, found.consumer_count):
            return
        time.sleep(0.01)
    raise RuntimeError(f"{queue} has not {messages=} {consumers=} after {TIMEOUT:g} s")


def activations(connection: BlockingConnection, url: str, repetitions: int) -> dict[str, list[float]]:
    """Keep one standby worker of each contender running, and wake them in turns."""
    prepare(connection, OURS, url, 0)
    ours = [*UPSWELL, "worker", "--app", APP, "--standby", "--handler", "with_upswell:noop"]
    bare = [sys.executable, "standby_pika.py"]
    with ExitStack() as running:
        for name, command in ((OURS, ours), (BARE, bare)):
            running.enter_context(started(command, {"AMQPURL": url, "UPSWELL_WORKER_ID": WORKER_ID}))
            wait_until_told(connection, *command_of(name, "standby"))
        time.sleep(SETTLED_SECONDS)
        return interleave({name: partial(activation, name, connection) for name in (OURS, BARE)}, repetitions)


def wait_until_told(connection: BlockingConnection, queue: str, body: bytes) -> None:
    """Send a command until its queue is there; as an exclusive one it answers nobody who asks for it."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with closing(connection.channel()) as channel:
            channel.confirm_delivery()
            try:
                channel.basic_publish("", queue, body, mandatory=True)
            except UnroutableError:
                time.sleep(0.05)
            else:
                return
    raise RuntimeError(f"no queue {queue} after {TIMEOUT:g} s")


def idle_memory(name: str, connection: BlockingConnection, url: str) -> float:
    """Return the resident MiB of a worker that waits for requests; Upswell's with its real upload handler."""
    prepare(connection, name, url, 0)
    ours = [*UPSWELL, "worker", "--app", APP, "--slots", str(IN_FLIGHT)]
    command = ours if name == OURS else COMMANDS[BARE].split()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(connection.channel()) as channel,
        ExitStack() as running,
    ):
        environment = {"AMQPURL": url, "UPSWELL_STATE_DIR": folder, "UPSWELL_SOURCE_ROOTS": folder}
        worker = running.enter_context(started(command, environment))
        wait_for(channel, REQUESTS, consumers=1)
        time.sleep(SETTLED_SECONDS)
        return resident_mib(worker.pid)


def monitor_memory(connection: BlockingConnection, url: str, applications: int, reports: int) -> float:
    """Return the resident MiB of a monitor that took `reports` reports of each of so many applications."""
    prepare(connection, OURS, url, 0)
    apps = [f"app-{number:04}" for number in range(applications)]
    with tempfile.TemporaryDirectory() as folder, closing(connection.channel()) as channel:
        environment = {"AMQPURL": url, "UPSWELL_STATE_DIR": folder, "UPSWELL_APPS": ",".join(apps)}
        with started([*UPSWELL, "monitor"], environment) as monitor:
            wait_for(channel, REPORTS, consumers=1)
            for number in range(reports):
                for app in apps:
                    channel.basic_publish("", REPORTS, report(app, number), PERSISTENT)
            wait_for(channel, REPORTS, messages=0)
            time.sleep(5.0)  # two rounds of decisions with all of them
            return resident_mib(monitor.pid)


def report(app: str, number: int) -> bytes:
    """Return a full report of one upload."""
    fields = {
        "app_id": app,
        "response_time": 2.5,
        "request_id": f"{app}-{number}",
        "worker_id": f"{app}-worker",
        "waiting_time": 0.5,
        "service_time": 2.0,
        "bytes": 1_000_000,
        "finished_at": time.time(),
    }
    return json.dumps(fields).encode()


def main() -> None:
    parser = arguments("Start-up time, wake-up time and memory, beside bare pika's.", repetitions=10)
    options = parser.parse_args()
    turns, reports = (3, 3) if options.quick else (options.repetitions, 30)
    lines: list[Line] = []
    commands = {HELP: [*UPSWELL, "--help"], INTERPRETER: [sys.executable, "-c", "pass"]}
    helps = interleave({name: partial(run_time, command) for name, command in commands.items()}, turns)
    lines.append(Line(HELP, median(helps[HELP]), median(helps[INTERPRETER]), 0.2, "s", 3))
    with rabbitmq() as url, closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        scene = (connection, url)
        starts = interleave({name: partial(first_report, name, *scene) for name in (OURS, BARE)}, turns)
        lines.append(
            Line("worker, start to first report", median(starts[OURS]), median(starts[BARE]), 0.3, "s", 3)
        )
        wakes = activations(*scene, turns)
        ours, bare = median(wakes[OURS]) * 1000, median(wakes[BARE]) * 1000
        lines.append(Line("standby worker, told to first report", ours, bare, 10, "ms"))
        idle = interleave({name: partial(idle_memory, name, *scene) for name in (OURS, BARE)}, min(turns, 3))
        lines.append(Line("idle worker, resident", median(idle[OURS]), median(idle[BARE]), 45, "MiB"))
        monitor = monitor_memory(*scene, 1_000, reports)
        lines.append(Line(f"monitor, 1,000 applications x {reports} reports", monitor, None, 150, "MiB"))
    print_table(["", "unit", "Upswell", "beside", "ratio", "goal", "met"], [line.row() for line in lines])
    print(f"\nbeside: {INTERPRETER} for the first line, bare pika for the others")
    result = {"benchmark": "footprint", "repetitions": turns, "lines": [vars(line) for line in lines]}
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
