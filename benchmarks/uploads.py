"""How fast files go to an object store: Upswell's upload handler beside curl, rclone, s5cmd, boto3, obstore.

Everyone uploads the same files to the same server on loopback, which keeps nothing and answers with the ETags
that S3 would give. Three shapes: many small files, some of middle size, one large. Upswell and bare obstore
take the same checksums (SHA-256 of an object, MD5 of each request, compared with the ETag); the others take
those that they take by default. Libraries are timed from the first upload to the last, commands as a whole
(some 20 to 50 ms of theirs are their start). With --end-to-end, 2,000 small files also go through RabbitMQ.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from side_by_side import HERE, arguments, conclude, interleave, median, print_table, rabbitmq, started

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        "--s3-upload-concurrency=4", str(folder), remote,
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


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """Run the server that keeps nothing; give its endpoint."""
    program = HERE.parent / "tests/support/s3_sink.py"
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, str(program), "--etags"],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
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
    name: str, endpoint: str, folder: Path, repetitions: int, only: list[str]
) -> dict[str, list[Turn]]:
    """Let every contender upload one shape in turns; print the table."""
    shape = SHAPES[name]
    measures = {
        contender: partial(library, way, endpoint, folder, shape) for contender, way in LIBRARIES.items()
    } | {contender: partial(command, contender, endpoint, folder, shape) for contender in COMMANDS}
    chosen = {contender: measure for contender, measure in measures.items() if not only or contender in only}
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
        ]
        for contender in sorted(seconds, key=seconds.__getitem__)
    ]
    print(f"\n{name}, {shape.at_once} at once")
    print_table(["", "MB/s", "files/s", "of bare obstore", "CPU", "memory"], rows)
    return turns


def end_to_end(endpoint: str, folder: Path, shape: Shape) -> float:
    """Return files per second through RabbitMQ: published, delivered, uploaded, proven, reported, acked."""
    import pika  # noqa: PLC0415 - only here

    slots, reports = shape.at_once, "upswell_report"
    with rabbitmq() as url, tempfile.TemporaryDirectory() as state:
        environment = {
            **KEYS,
            "AMQPURL": url,
            "UPSWELL_STATE_DIR": state,
            "UPSWELL_DESTINATION": "s3://bucket/x",
            "UPSWELL_STORE_ENDPOINT": endpoint,
            "UPSWELL_SOURCE_ROOTS": str(folder),
            "UPSWELL_LOG_LEVEL": "warning",
        }
        upswell = [sys.executable, "-m", "upswell"]
        requests = Path(state) / "requests.jsonl"
        requests.write_text(
            "".join(
                json.dumps({"app_id": "e1", "type": "file", "uri": path.as_uri(), "id": path.name}) + "\n"
                for path in sorted(folder.iterdir())
            )
        )
        with (
            started([*upswell, "worker", "--app", "e1", "--slots", str(slots)], environment),
            contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection,
        ):
            channel = connection.channel()
            _wait_for_queue(connection, reports)
            with started([*upswell, "publish", "--app", "e1", str(requests)], environment):
                first = _watch(channel, reports, 1)
                began = time.perf_counter()
                last = _watch(channel, reports, shape.count)
                return (last - first) / (time.perf_counter() - began)


def _wait_for_queue(connection: object, queue: str) -> None:
    import pika.exceptions  # noqa: PLC0415 - only here

    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
            connection.channel().queue_declare(queue, passive=True)  # type: ignore[attr-defined]
            return
        time.sleep(0.05)
    raise RuntimeError(f"no queue {queue} after {TIMEOUT:g} s")


def _watch(channel: object, queue: str, count: int) -> int:
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        found = channel.queue_declare(queue, passive=True).method.message_count  # type: ignore[attr-defined]
        if found >= count:
            return int(found)
        time.sleep(0.005)
    raise RuntimeError(f"fewer than {count} reports after {TIMEOUT:g} s")


def main() -> None:
    parser = arguments("How fast files go to an object store.", repetitions=5)
    parser.add_argument("--shape", choices=list(SHAPES), action="append", help="only this shape")
    parser.add_argument("--end-to-end", action="store_true", help="through RabbitMQ, too")
    options = parser.parse_args()
    repetitions = 1 if options.quick else options.repetitions
    only = [name for name in options.only.split(",") if name]
    result: dict[str, object] = {"benchmark": "uploads", "repetitions": repetitions}
    with tempfile.TemporaryDirectory(prefix="bench-uploads-") as top, sink() as endpoint:
        for number, name in enumerate(options.shape or SHAPES):
            folder = make_files(Path(top) / str(number), SHAPES[name])
            turns = compare(name, endpoint, folder, repetitions, only)
            result[name] = {contender: [vars(turn) for turn in turns[contender]] for contender in turns}
            if options.end_to_end and SHAPES[name].count > 1000 and OURS in turns:
                alone = SHAPES[name].count / median([turn.seconds for turn in turns[OURS]])
                rate = median([end_to_end(endpoint, folder, SHAPES[name]) for _ in range(repetitions)])
                print(
                    f"\nthrough RabbitMQ: {rate:,.0f} files/s, {rate / alone:.2f} of the handler alone "
                    "(goal 0.8)"
                )
                result["end_to_end"] = rate / alone
    conclude(result, as_json=options.json)


if __name__ == "__main__":
    main()
