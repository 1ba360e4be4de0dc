"""How long nobody leads when the leader is killed, hangs (SIGSTOP) or is cut off.

Two processes stand for a role on each broker, as two scalers do. The clock runs from what happens to the
leader until the other one says that it leads. Afterwards, with `--load N`, two stand for `--calm` seconds
beside N processes that only count: each time that the leader changes then is a false takeover.

    PYTHONPATH=tests .venv/bin/python benchmarks/takeover.py [--rounds 10] [--load 10 --calm 120]
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from side_by_side import conclude, print_table
from support.candidate import CandidateProcess, terms  # pyright: ignore[reportMissingImports]
from support.rabbitmq_node import RabbitNode  # pyright: ignore[reportMissingImports]
from support.tcp_proxy import TcpProxy  # pyright: ignore[reportMissingImports]
from upswell.broker.machine_clock import seconds_since_start

if TYPE_CHECKING:
    from collections.abc import Iterator

GOAL = 5.0
_SPIN = "n = 0\nwhile True: n += 1"


@contextlib.contextmanager
def pair(kind: str, first: str, second: str) -> Iterator[tuple[CandidateProcess, CandidateProcess]]:
    """Yield two candidates, of which the first leads."""
    role = f"role-{secrets.token_hex(4)}"
    with CandidateProcess(kind, first, role) as leader:
        leader.until(lambda: leader.leads)
        with CandidateProcess(kind, second, role) as other:
            other.until(lambda: len(other.seen) > 100)
            yield leader, other


def takeover(kind: str, where: str, what: str) -> float:
    """Return the seconds until the other one leads."""
    with ExitStack() as stack:
        first, proxy = where, None
        if what == "cut off":
            port = int(where.rpartition(":")[2].partition("/")[0])
            proxy = stack.enter_context(TcpProxy(port))
            first = where.replace(f":{port}", f":{proxy.port}")
        leader, other = stack.enter_context(pair(kind, first, where))
        begun = seconds_since_start()
        if proxy is not None:
            proxy.stall()
        elif what == "killed":
            leader.kill()
        else:
            leader.stop()
        other.until(lambda: bool(terms(other)))
        return terms(other)[0][0] - begun


def false_takeovers(kind: str, where: str, load: int, seconds: float) -> int:
    """Return how often the leader changes while the machine has too much to do."""
    with ExitStack() as stack:
        candidates = stack.enter_context(pair(kind, where, where))
        for _ in range(load):
            spinning = subprocess.Popen([sys.executable, "-c", _SPIN])
            stack.callback(spinning.wait)
            stack.callback(spinning.kill)
        time.sleep(seconds)
        return sum(len(terms(candidate)) for candidate in candidates) - 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only", default="rabbitmq,sqlite")
    parser.add_argument("--load", type=int, default=0)
    parser.add_argument("--calm", type=float, default=120.0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows: list[list[str]] = []
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for kind in given.only.split(","):
            where = str(Path(folder) / "broker.db")
            if kind == "rabbitmq":
                home = Path(folder) / "rabbitmq"
                home.mkdir()
                where = stack.enter_context(RabbitNode(home)).url
            for what in ("killed", "stopped", *(("cut off",) if kind == "rabbitmq" else ())):
                times = [takeover(kind, where, what) for _ in range(given.rounds)]
                row = (min(times), statistics.median(times), max(times))
                rows.append([f"{kind}, {what}", *(f"{one:.2f}" for one in row), f"{GOAL:g}"])
                results[f"{kind} {what}"] = times
            if given.load:
                count = false_takeovers(kind, where, given.load, given.calm)
                rows.append(
                    [f"{kind}, false ones in {given.calm:g} s at load {given.load}", "", f"{count}", "", "0"]
                )
                results[f"{kind} false"] = count
    print_table(["seconds until another leads", "least", "median", "most", "goal"], rows)
    conclude(results, as_json=given.json)


if __name__ == "__main__":
    main()
