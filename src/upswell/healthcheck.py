"""Is the worker in this container alive? Exit status 0 or 1, as Docker's HEALTHCHECK wants it.

What comes in: `/proc`. What goes out: one line and an exit status. It must not know the broker: a worker
whose broker is away is well, and whoever restarts unhealthy containers would end the uploads of all of them.

A worker's loop wakes at least once in a status interval. One that does not wake is stuck or stopped.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from upswell import settings

_PROC = Path("/proc")
_MARGIN_SECONDS = 0.5
_LONGEST_WAIT = 10.0
"""Within the HEALTHCHECK's time-out; a loop that reports less often is only looked at for being stopped."""


def find_worker() -> int | None:
    """Return the process id of the container's worker: the oldest that runs the command `upswell`."""
    for pid in sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()):
        words = _read(pid, "cmdline").split("\0")
        if pid != os.getpid() and any(Path(word).name == "upswell" for word in words[:2]):
            return pid
    return None


def wakes(pid: int) -> int | None:
    """Return how often a process's main thread has gone to sleep by itself; None: it is stopped or gone."""
    status = _read(pid, "status")
    state = re.search(r"^State:\s+(\w)", status, re.MULTILINE)
    count = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)
    return int(count[1]) if count and state and state[1] not in "TtZX" else None


def main() -> int:
    """Return 0 when the worker's loop wakes, else 1."""
    pid = find_worker()
    before = wakes(pid) if pid is not None else None
    if pid is None or before is None:
        return _say("no upswell process runs here, or it is stopped")
    wait = 2 * settings.load()[0].status_interval + _MARGIN_SECONDS
    if wait <= _LONGEST_WAIT:
        time.sleep(wait)
        if wakes(pid) in (None, before):
            return _say(f"process {pid} has not woken for {wait:g} s")
    return 0


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text("utf-8", "replace")
    except OSError:
        return ""


def _say(what: str) -> int:
    sys.stdout.write(f"{what}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
