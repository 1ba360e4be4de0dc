"""A process that stands for a leadership, and consumes, until it is killed; it can be stopped and woken.

`python candidate.py KIND WHERE ROLE QUEUE`; each 20 ms it prints an instant of the clock that all processes
of a machine share, and 1 or 0: whether it leads. From QUEUE, if it names one, it takes messages and keeps
them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from support.holder import open_broker
from support.stopping import stop_between_writes
from support.system import wait_until
from upswell import events
from upswell.broker.machine_clock import seconds_since_start

if TYPE_CHECKING:
    from collections.abc import Callable

STEP_SECONDS = 0.02


class CandidateProcess:
    """One candidate; `seen` are the instants that it printed, and whether it led."""

    def __init__(self, kind: str, where: str, role: str, queue: str = "") -> None:
        self.seen: list[tuple[float, bool]] = []
        self._broker_file = Path(where)  # of the embedded broker; there is none at a URL
        self._process = subprocess.Popen(
            [sys.executable, __file__, kind, where, role, queue],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reading.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def leads(self) -> bool:
        """Whether it led when it last said so, which must not be long ago."""
        return bool(self.seen) and self.seen[-1][1] and seconds_since_start() - self.seen[-1][0] < 1.0

    def kill(self) -> None:
        """Kill it as the kernel does when memory runs out."""
        self._process.kill()

    def stop(self) -> None:
        """Stop it: its connections stay open, and nothing in it runs."""
        stop_between_writes(self._process.pid, self._broker_file)

    def wake(self) -> None:
        """End `stop`."""
        self._process.send_signal(signal.SIGCONT)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that candidates say."""
        wait_until(condition, 60, lambda: f"the last of {len(self.seen)} instants: {self.seen[-5:]}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # it was killed while it wrote
            at, leads = line.split()
            self.seen.append((float(at), leads == "1"))


def terms(candidate: CandidateProcess) -> list[tuple[float, float]]:
    """Return from when to when a candidate said that it led."""
    found: list[tuple[float, float]] = []
    for (before, led), (at, leads) in zip(candidate.seen, candidate.seen[1:], strict=False):
        if led and leads:
            if found and found[-1][1] == before:
                found[-1] = (found[-1][0], at)
            else:
                found.append((before, at))
    return found


async def _stand(kind: str, where: str, role: str, queue: str) -> None:
    broker = open_broker(kind, where, f"candidate-{time.time_ns()}")
    await broker.connect()
    if queue:
        await broker.consume(queue, lambda _: None, prefetch_count=100)
    leadership = await broker.lead(role)
    while True:
        # In one piece: it may be killed, or stopped, at any moment.
        sys.stdout.write(f"{seconds_since_start()} {int(leadership.leads())}\n")
        sys.stdout.flush()
        await asyncio.sleep(STEP_SECONDS)


if __name__ == "__main__":
    events.configure()  # log events to standard error: the parent reads standard output
    asyncio.run(_stand(*sys.argv[1:]))
