"""One clock for all processes of a machine, that nobody can set and that goes on while the machine sleeps."""

from __future__ import annotations

import time


def seconds_since_start() -> float:
    """Return the seconds since the machine started."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
