"""The harness of every benchmark here: contenders measured in turns, in one run, told as medians and ratios.

Machines differ and are shared; a ratio of two figures measured in the same minutes says more than either.
So repetitions are interleaved (a, b, a, b, never a, a, b, b), and the machine's load stands below the result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = Path(__file__).resolve().parent
T = TypeVar("T")


def arguments(description: str, *, repetitions: int) -> argparse.ArgumentParser:
    """Return the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repetitions", type=int, default=repetitions, help="turns of each contender")
    parser.add_argument(
        "--quick", action="store_true", help="one short turn each: shows that it runs, proves little"
    )
    parser.add_argument("--only", default="", help="comma-separated names of the contenders to run")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON line, last")
    return parser


def interleave(
    measures: Mapping[str, Callable[[], T]], repetitions: int, *, patience: float = 60.0
) -> dict[str, list[T]]:
    """Call each measure in turn, `repetitions` times round; return name -> its results.

    Each turn waits until the machine is idle, for at most `patience` seconds altogether.
    """
    results: dict[str, list[T]] = {name: [] for name in measures}
    for turn in range(1, repetitions + 1):
        for name, measure in measures.items():
            patience -= wait_for_calm(patience)
            print(f"  turn {turn} of {repetitions}: {name}", file=sys.stderr, flush=True)
            results[name].append(measure())
    return results


def wait_for_calm(patience: float, share: float = 0.8, interval: float = 0.25) -> float:
    """Wait until `share` of the processors was idle for a while; return the seconds waited in vain."""
    waited = 0.0
    while waited < patience:
        idle_before, total_before = processor_ticks()
        time.sleep(interval)
        idle, total = processor_ticks()
        if idle - idle_before > share * (total - total_before):
            break
        waited += interval
    return waited


def processor_ticks() -> tuple[int, int]:
    """Return the ticks that all processors were idle (or waited for a disk), and all their ticks."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return ticks[3] + ticks[4], sum(ticks)


def median(values: Sequence[float]) -> float:
    """Return the middle value: one disturbed turn does not move it."""
    return statistics.median(values)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below headers; the first column to the left, figures to the right."""
    widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
    for row in [headers, ["-" * width for width in widths], *rows]:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        print("  ".join(cells).rstrip())


def conclude(result: dict[str, Any], *, as_json: bool) -> None:
    """Print where it was measured, and the whole result as the last line when asked to."""
    load = [round(value, 2) for value in os.getloadavg()]
    python = platform.python_version()
    print(f"\nPython {python}, {os.cpu_count()} cores, load average afterwards {load[0]} {load[1]} {load[2]}")
    if as_json:
        print(json.dumps({**result, "python": python, "cores": os.cpu_count(), "load_average": load}))


@contextmanager
def rabbitmq() -> Iterator[str]:
    """Give the URL of a private RabbitMQ node, or of the one that `AMQPURL` in the environment names."""
    if url := os.environ.get("AMQPURL"):
        yield url
        return
    sys.path.insert(0, str(HERE.parent / "tests"))
    # Test support, found by the line above alone.
    from support.rabbitmq_node import RabbitNode, missing  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    if reason := missing():
        sys.exit(f"needs a RabbitMQ server, or AMQPURL: {reason}")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, RabbitNode(Path(folder)) as node:
        yield node.url


@contextmanager
def docker(image: str) -> Iterator[None]:
    """Have Docker's client ask the engine here, or a private one; build the workers' image there."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from support.docker_engine import DockerEngine, missing  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    if reason := missing():
        sys.exit(f"needs a Docker engine: {reason}")
    with DockerEngine() as engine:
        if engine.host:
            os.environ["DOCKER_HOST"] = engine.host
        engine.worker_image(image)
        yield


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in benchmarks/peers, a session of its own; afterwards end it and all that it started.

    Should the benchmark itself be killed, the kernel ends the command too. What it printed is shown when the
    block fails.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],  # becomes the command, with the same pid
            cwd=HERE / "peers",
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        except Exception:
            output.seek(0)
            print(f"{' '.join(command)} printed:\n{output.read()[-3000:].decode()}", file=sys.stderr)
            raise
        finally:
            end(process)


def end(process: subprocess.Popen[bytes], patience: float = 10) -> None:
    """Ask a process to stop (SIGTERM); after `patience` seconds, and for whatever it left behind, SIGKILL."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    pids = [pid]
    for parent in pids:  # grows while it is walked
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            pids.extend(int(child) for child in task.read_text().split())
    return pids


def cpu_seconds(pid: int) -> float:
    """Return the processor time, user and system, that a process and its descendants have used."""
    ticks = 0
    for member in family(pid):
        # utime and stime are the 12th and 13th fields after the command's name (proc_pid_stat(5)).
        fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in MiB; shared pages count in each."""
    pages = sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
