"""How fast files go to an object store: Upswell's upload handler beside curl, rclone, s5cmd, boto3, obstore.

Everyone uploads the same files to the same server on loopback, which keeps nothing and answers with the ETags
that S3 would give. Three shapes: many small files, some of middle size, one large. Upswell and bare obstore
take the same checksums (SHA-256 of an object, MD5 of each request, compared with the ETag); the others take
those that they take by default. Libraries are timed from the first upload to the last, commands as a whole
(some 20 to 50 ms of theirs are their start). "server" is the share of one processor that the server took:
below 100 % it is not what limits.

With --end-to-end the small files also go through RabbitMQ: published, delivered, uploaded, proven, reported,
acknowledged. Beside Upswell a bare loop of pika and obstore does that (peers/upload_pika.py): what the
machine allows while RabbitMQ, the server of S3 and the publisher share it. Alone, both do without a broker.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pika

from side_by_side import (
    HERE,
    arguments,
    conclude,
    cpu_seconds,
    interleave,
    median,
    print_table,
    processor_ticks,
    rabbitmq,
    started,
)
from upswell.broker import topology
from upswell.broker.rabbitmq.queue_arguments import declaration
from upswell.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS = "Upswell"
BARE = "bare obstore"
MIB = 1024 * 1024
BIN = Path(sys.executable).parent
TIMEOUT = 300.0
KEYS = {
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Shape:
    """So many files of so many bytes, so many at once."""

    count: int
    size: int
    at_once: int


SHAPES = {
    "2,000 x 64 KiB": Shape(2_000, 64 * 1024, 32),
    "20 x 64 MiB": Shape(20, 64 * MIB, 4),
    "1 x 1 GiB": Shape(1, 1024 * MIB, 1),
}


@dataclass(frozen=True)
class Turn:
    """One contender's turn: wall seconds, its own CPU seconds, its largest resident memory in MiB."""

    seconds: float
    cpu: float
    memory: float
    server: float = 0.0
    """Share of one processor that the server of S3 took meanwhile."""


def library(way: str, endpoint: str, folder: Path, shape: Shape) -> Turn:
    """Have peers/upload_files.py upload, which times itself."""
    command = [sys.executable, str(HERE / "peers/upload_files.py"), way, endpoint, str(folder)]
    done = subprocess.run(
        [*command, str(shape.at_once)],
        env={**os.environ, **KEYS},
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    return Turn(**json.loads(done.stdout.splitlines()[-1]))


def command(name: str, endpoint: str, folder: Path, shape: Shape) -> Turn:
    """Run a command-line tool from start to end."""
    began = time.perf_counter()
    process = subprocess.Popen(
        COMMANDS[name](endpoint, folder, shape),
        env={**os.environ, **KEYS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}: {complaint[-1000:].decode()}")
    return Turn(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def rclone(endpoint: str, folder: Path, shape: Shape) -> list[str]:
    """Copy without asking what is there, before or after; chunks as ours."""
    remote = f':s3,provider=Other,env_auth=true,endpoint="{endpoint}",force_path_style=true:bucket/x'
    return [
        str(BIN / "rclone"), "copy", "--config=", f"--transfers={shape.at_once}", "--no-check-dest",
        "--s3-no-head", "--s3-no-check-bucket", "--s3-chunk-size=8Mi", "--s3-upload-cutoff=8Mi",
        "--s3-upload-concurrency=4", "--multi-thread-streams=0", str(folder), remote,
    ]  # fmt: skip


def s5cmd(endpoint: str, folder: Path, shape: Shape) -> list[str]:
    """Parts of 8 MiB, four of a file at once."""
    return [
        str(BIN / "s5cmd"), "--endpoint-url", endpoint, f"--numworkers={shape.at_once}", "cp",
        "--part-size=8", "--concurrency=4", f"{folder}/*", "s3://bucket/x/",
    ]  # fmt: skip


def curl(endpoint: str, folder: Path, shape: Shape) -> list[str]:
    """Plain PUTs without signature, checksum or parts: what the wire and the server allow."""
    files = ",".join(sorted(path.name for path in folder.iterdir()))
    upload = f"{folder}/{{{files}}}" if shape.count > 1 else f"{folder}/{files}"
    return [
        "curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", str(shape.at_once),
        "--parallel-immediate", "-H", "Expect:", "-T", upload, f"{endpoint}/bucket/x/",
    ]  # fmt: skip


COMMANDS = {"rclone": rclone, "s5cmd": s5cmd, "curl (no checks)": curl}
LIBRARIES = {OURS: "upswell", BARE: "obstore", "boto3": "boto3"}


@dataclass(frozen=True)
class Sink:
    """The server that keeps nothing."""

    endpoint: str
    pid: int

    def watched(self, measure: Callable[[], Turn], timed: float) -> Turn:
        """Take one turn; add how busy the server was. `timed` is the share of uploads that the clock saw."""
        before = cpu_seconds(self.pid)
        turn = measure()
        return replace(turn, server=timed * (cpu_seconds(self.pid) - before) / turn.seconds)


@contextlib.contextmanager
def sink() -> Iterator[Sink]:
    """Run the server that keeps nothing."""
    program = HERE.parent / "tests/support/s3_sink.py"
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, str(program), "--etags"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield Sink(process.stdout.readline().strip(), process.pid)
        finally:
            process.kill()


def make_files(folder: Path, shape: Shape) -> Path:
    """Write the files of a shape, the names in their order; return their folder."""
    folder.mkdir()
    block = os.urandom(min(shape.size, MIB))
    for number in range(shape.count):
        with (folder / f"{number:04d}").open("wb") as file:
            for _ in range(max(1, shape.size // len(block))):
                file.write(block)
    return folder


def compare(
    name: str, server: Sink, folder: Path, repetitions: int, only: list[str]
) -> dict[str, list[Turn]]:
    """Let every contender upload one shape in turns; print the table."""
    shape, endpoint = SHAPES[name], server.endpoint
    measures = {
        contender: partial(library, way, endpoint, folder, shape) for contender, way in LIBRARIES.items()
    } | {contender: partial(command, contender, endpoint, folder, shape) for contender in COMMANDS}
    timed = shape.count / (shape.count + min(shape.at_once, shape.count))  # the others go before
    chosen = {
        contender: partial(server.watched, measure, timed if contender in LIBRARIES else 1.0)
        for contender, measure in measures.items()
        if not only or contender in only
    }
    turns = interleave(chosen, repetitions)
    seconds = {contender: median([turn.seconds for turn in turns[contender]]) for contender in turns}
    total = shape.count * shape.size / 1e6
    bare = seconds.get(BARE, float("nan"))
    rows = [
        [
            contender,
            f"{total / seconds[contender]:,.0f}",
            f"{shape.count / seconds[contender]:,.1f}",
            f"{bare / seconds[contender]:.2f}",
            f"{median([turn.cpu for turn in turns[contender]]):.2f} s",
            f"{median([turn.memory for turn in turns[contender]]):.0f} MiB",
            f"{median([turn.server for turn in turns[contender]]):.0%}",
        ]
        for contender in sorted(seconds, key=seconds.__getitem__)
    ]
    print(f"\n{name}, {shape.at_once} at once")
    print_table(["", "MB/s", "files/s", "of bare obstore", "CPU", "memory", "server"], rows)
    return turns


@dataclass(frozen=True)
class Passage:
    """One turn through RabbitMQ: files per second, CPU ms of the worker a file, share of all CPUs."""

    rate: float
    worker: float
    machine: float


def end_to_end(ours: bool, url: str, endpoint: str, folder: Path, shape: Shape) -> Passage:
    """Send all files through fresh queues at `url`; the clock runs from the first report to the last."""
    app = f"e{time.monotonic_ns()}"
    requests, reports = f"{app}_upload", f"{app}.reports"
    with (
        tempfile.TemporaryDirectory() as state,
        contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection,
    ):
        environment = {
            **KEYS,
            "AMQPURL": url,
            "UPSWELL_STATE_DIR": state,
            "UPSWELL_DESTINATION": "s3://bucket/x",
            "UPSWELL_STORE_ENDPOINT": endpoint,
            "UPSWELL_SOURCE_ROOTS": str(folder),
            "UPSWELL_REPORT_QUEUE": reports,
            "UPSWELL_LOG_LEVEL": "warning",
        }
        upswell = [sys.executable, "-m", "upswell"]
        file = Path(state) / "requests.jsonl"
        file.write_text(
            "".join(
                json.dumps({"app_id": app, "type": "file", "uri": path.as_uri(), "id": path.name}) + "\n"
                for path in sorted(folder.iterdir())
            )
        )
        channel = connection.channel()
        limit = Settings().delivery_limit
        for queue in (topology.upload_queue(requests, delivery_limit=limit), topology.report_queue(reports)):
            wish = declaration(queue)
            channel.queue_declare(queue.name, durable=wish.durable, arguments=wish.arguments)
        worker = (
            [*upswell, "worker", "--app", app, "--slots", str(shape.at_once)]
            if ours
            else [sys.executable, "upload_pika.py", endpoint, requests, reports, str(shape.at_once)]
        )
        with started(worker, environment) as process:
            _watch(channel, requests, lambda answer: answer.consumer_count == 1)
            with started([*upswell, "publish", "--app", app, str(file)], environment):
                first = _watch(channel, reports, lambda answer: answer.message_count > 0)
                began, cpu, ticks = time.perf_counter(), cpu_seconds(process.pid), processor_ticks()
                last = _watch(channel, reports, lambda answer: answer.message_count >= shape.count)
                seconds, count = time.perf_counter() - began, last - first
                cpu = cpu_seconds(process.pid) - cpu
                idle, total = (after - before for after, before in zip(processor_ticks(), ticks, strict=True))
    return Passage(count / seconds, 1000 * cpu / count, 1 - idle / max(1, total))


def _watch(channel: Any, queue: str, enough: Callable[[Any], bool]) -> int:
    """Ask after a queue until `enough` says so; return how many messages it has."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        answer = channel.queue_declare(queue, passive=True).method
        if enough(answer):
            return int(answer.message_count)
        time.sleep(0.005)
    raise RuntimeError(f"{queue} was not as it should after {TIMEOUT:g} s")


def compare_end_to_end(
    server: Sink, folder: Path, shape: Shape, repetitions: int, alone: dict[str, float]
) -> dict[str, list[Passage]]:
    """Let Upswell and the bare loop pass all files through RabbitMQ in turns; print the table.

    `alone` is what each did without a broker, files per second.
    """
    with rabbitmq() as url:
        passages = interleave(
            {
                contender: partial(end_to_end, contender == OURS, url, server.endpoint, folder, shape)
                for contender in (OURS, BARE)
            },
            repetitions,
        )
    rates = {contender: median([one.rate for one in passages[contender]]) for contender in passages}
    print(f"\n{shape.count:,} files through RabbitMQ, {shape.at_once} at once (goal: 0.8 of alone)")
    print_table(
        ["", "files/s", "of itself alone", "of pika and obstore", "worker's CPU a file", "machine busy"],
        [
            [
                OURS if contender == OURS else "pika and obstore, bare",
                f"{rates[contender]:,.0f}",
                f"{rates[contender] / alone[contender]:.2f}",
                f"{rates[contender] / rates[BARE]:.2f}",
                f"{median([one.worker for one in passages[contender]]):.2f} ms",
                f"{median([one.machine for one in passages[contender]]):.0%}",
            ]
            for contender in passages
        ],
    )
    return passages


def main() -> None:
    parser = arguments("How fast files go to an object store.", repetitions=5)
    parser.add_argument("--shape", choices=list(SHAPES), action="append", help="only this shape")
    parser.add_argument("--end-to-end", action="store_true", help="through RabbitMQ, too")
    options = parser.parse_args()
    repetitions = 1 if options.quick else options.repetitions
    only = [name for name in options.only.split(",") if name]
    result: dict[str, object] = {"benchmark": "uploads", "repetitions": repetitions}
    with tempfile.TemporaryDirectory(prefix="bench-uploads-") as top, sink() as server:
        for number, name in enumerate(options.shape or SHAPES):
            folder = make_files(Path(top) / str(number), SHAPES[name])
            turns = compare(name, server, folder, repetitions, only)
            result[name] = {contender: [vars(turn) for turn in turns[contender]] for contender in turns}
            if options.end_to_end and SHAPES[name].count > 1000 and {OURS, BARE} <= turns.keys():
                alone = {
                    contender: SHAPES[name].count / median([turn.seconds for turn in turns[contender]])
                    for contender in (OURS, BARE)
                }
                passages = compare_end_to_end(server, folder, SHAPES[name], repetitions, alone)
                result["end to end"] = {
                    contender: [vars(one) for one in passages[contender]] for contender in passages
                }
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
