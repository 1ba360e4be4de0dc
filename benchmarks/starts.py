"""How much of a processor a command takes until it is done, or begins its work: the least of some turns.

    python benchmarks/starts.py [--before CHECKOUT] [--turns 5]

With `--before` an earlier version takes turns with this one, by the same Python, on the embedded broker.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import HERE, print_table

APP = ("--app", "e123456")
SHORT = {
    "publish": ("publish", *APP, __file__),
    "status": ("status", *APP),
    "find": ("find", "nothing"),
    "purge": ("purge", *APP, "--yes"),
    "report": ("report",),
    "config": ("config", "show"),
}
LONG = {
    "worker": ("worker", *APP),
    "scaler": ("scaler", *APP),
    "monitor": ("monitor", *APP),
}
"""Of these the first seconds are measured."""
SECONDS = 2.0


def cpu_seconds(version: Path, folder: str, command: tuple[str, ...], seconds: float | None) -> float:
    """Run a command of a version, and return what it took of a processor."""
    environment = {**os.environ, "PYTHONPATH": str(version / "src"), "PYTHONDONTWRITEBYTECODE": ""}
    settings = {
        "UPSWELL_STATE_DIR": f"{folder}/state",
        "UPSWELL_DESTINATION": f"{folder}/store",
        "UPSWELL_MIN_WORKERS": "0",  # a worker outlives its scaler
    }
    environment = {key: value for key, value in environment.items() if key != "AMQPURL"} | settings
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [sys.executable, "-m", "upswell", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    if seconds is not None:
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
    process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="a checkout of an earlier version")
    parser.add_argument("--turns", type=int, default=5)
    chosen = parser.parse_args()
    versions = [chosen.before, HERE.parent] if chosen.before else [HERE.parent]
    rows = []
    for name, command in {**SHORT, **LONG}.items():
        seconds = SECONDS if name in LONG else None
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            turns = [
                [cpu_seconds(version, folder, command, seconds) for version in versions]
                for _ in range(chosen.turns)
            ]
        least = [min(turn[number] for turn in turns) for number in range(len(versions))]
        rows.append([name, *(f"{value:.3f} s" for value in least), f"{least[-1] / least[0]:.2f}"])
    print_table(["command", *(["before"] if chosen.before else []), "CPU", "ratio"], rows)


if __name__ == "__main__":
    main()
