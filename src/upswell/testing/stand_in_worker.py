"""A worker's outside and nothing more: says who it is, and ends at SIGTERM after a moment's draining.

As application `fails` it ends at once with exit code 3. Its secrets it finds where `upswell worker` does.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys
import time


def main() -> None:
    """Print the identity, then wait for SIGTERM."""
    signal.signal(signal.SIGTERM, drain)
    arguments = " ".join(sys.argv[1:])
    read_secrets()
    say(f"started {os.environ['UPSWELL_WORKER_ID']} {arguments} secrets {' '.join(sorted(named()))}")
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


def read_secrets() -> None:
    """Set the variables that the folder `UPSWELL_SECRETS` holds, or the input where that is `-`."""
    folder = os.environ.get("UPSWELL_SECRETS")
    if folder == "-":
        os.environ.update(json.loads(sys.stdin.read()))
    elif folder:
        for path in pathlib.Path(folder).iterdir():
            if path.is_file() and not path.name.startswith("."):
                os.environ[path.name] = path.read_text("utf-8")


def named() -> list[str]:
    """Return the names of the variables that a test gave as secrets."""
    return [name for name in ("AMQPURL", "DRAIN_SECONDS") if name in os.environ]


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
