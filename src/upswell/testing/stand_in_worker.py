"""A worker's outside and nothing more: says who it is, and ends at SIGTERM after a moment's draining.

As application `fails` it ends at once with exit code 3.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main() -> None:
    """Print the identity, then wait for SIGTERM."""
    signal.signal(signal.SIGTERM, drain)
    arguments = " ".join(sys.argv[1:])
    say(f"started {os.environ['UPSWELL_WORKER_ID']} {arguments}")
    if "--app fails" in arguments:
        say("cannot reach amqp://user:hunter2@host/")
        sys.exit(3)
    while True:
        time.sleep(60)


def drain(_number: int, _frame: object) -> None:
    """Exit after `DRAIN_SECONDS`."""
    say("draining")
    time.sleep(float(os.environ.get("DRAIN_SECONDS", "0.1")))
    sys.exit(0)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
