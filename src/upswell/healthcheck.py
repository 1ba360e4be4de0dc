"""Is the worker in this container alive? Exit status 0 or 1, as Docker's HEALTHCHECK expects it.

The worker's loop touches a file once per status interval, from its start on; the check looks at the file's
age. A worker whose broker is away is healthy: restarting it would end its uploads.
"""

from __future__ import annotations

import os
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


def beat() -> None:
    """Say that the worker's loop turns."""
    path = os.environ.get(VARIABLE)
    if path:
        with suppress(OSError):  # a full disk must not stop a worker
            Path(path).touch()


def main() -> int:
    """Return 0 if the worker's loop turned lately, else 1, with a line that says why."""
    try:
        age = time.time() - Path(os.environ.get(VARIABLE, "")).stat().st_mtime
    except OSError as error:
        return _unhealthy(f"no worker runs here: {error}")
    if age > max(LONGEST_PAUSE, INTERVALS * settings.load()[0].status_interval):
        return _unhealthy(f"the worker's loop has stood still for {age:.0f} s")
    return 0


def _unhealthy(why: str) -> int:
    sys.stdout.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
