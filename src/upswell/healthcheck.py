"""Is what runs in this container or service alive? Exit status 0 or 1, as Docker's HEALTHCHECK expects it.

The loop of a worker, a monitor or a scaler beats about once a second, from its start on: it touches a file,
whose age the check looks at, and tells systemd's watchdog. One whose broker is away is healthy: restarting it
would end uploads. Whether a monitor's or a scaler's rounds work is asked with `upswell doctor`.

`python3 -m upswell.healthcheck ready` asks another question, for Kubernetes: does this worker take uploads,
or hold one? The answer is a file, so that a probe may as well be `test -e $UPSWELL_HEARTBEAT.ready`.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

from upswell import settings

VARIABLE = "UPSWELL_HEARTBEAT"
"""Names the file; where it is not set, nothing is touched."""

LONGEST_PAUSE = 10.0
INTERVALS = 5
"""A loop that has not turned for so many status intervals, and at least `LONGEST_PAUSE` s, is stuck."""

READY_SUFFIX = ".ready"
"""Behind the file's name: a file that is there while this worker takes uploads or holds one."""

_starting: set[str] = set()


def beat() -> None:
    """Say that the loop turns."""
    path = os.environ.get(VARIABLE)
    if path:
        with suppress(OSError):  # a full disk must not stop a worker
            Path(path).touch()
    _tell_systemd("WATCHDOG=1")


def takes_uploads(*, ready: bool) -> None:
    """Say whether this worker takes uploads or holds one: then its pod must not be the first to go."""
    path = os.environ.get(VARIABLE)
    if path:
        with suppress(OSError):
            if ready:
                Path(path + READY_SUFFIX).touch()
            else:
                Path(path + READY_SUFFIX).unlink(missing_ok=True)


def starts(part: str) -> None:
    """Say that a part of this process is starting: the process is ready when all its parts are."""
    _starting.add(part)


def works(part: str) -> None:
    """Say that a part has started."""
    if part in _starting:
        _starting.remove(part)
        if not _starting:
            _tell_systemd("READY=1")


def stops() -> None:
    """Say that this process drains and will then end, however long that takes."""
    _tell_systemd("STOPPING=1")


def _tell_systemd(message: str) -> None:
    """Send a message to the service manager that started this process, if one did (see sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.setblocking(False)
            manager.sendto(message.encode(), f"\0{path[1:]}" if path.startswith("@") else path)


def main(question: str = "") -> int:
    """Return 0 if the loop turned lately, or this worker is `ready`; else 1, with a line that says why."""
    if question not in ("", "ready"):
        return _unhealthy(f"the question must be `ready` or none, got {question!r}")
    if question:
        there = Path(os.environ.get(VARIABLE, "") + READY_SUFFIX).exists()
        return 0 if there else _unhealthy("this worker takes no uploads and holds none")
    try:
        age = time.time() - Path(os.environ.get(VARIABLE, "")).stat().st_mtime
    except OSError as error:
        return _unhealthy(f"no worker, monitor or scaler runs here: {error}")
    if age > max(LONGEST_PAUSE, INTERVALS * settings.load()[0].status_interval):
        return _unhealthy(f"the loop has stood still for {age:.0f} s")
    return 0


def _unhealthy(why: str) -> int:
    sys.stdout.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
