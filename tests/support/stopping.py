"""Stops a process (SIGSTOP) as one that hangs: between two writes.

Stopped in the midst of one, it would keep the lock of the embedded broker's file, and nobody else could go on
(docs/known-limits.md): that is another fault, which a test that stops at a random moment meets by chance.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from support.system import wait_until
from upswell.broker.sqlite.database import lock_folder
from upswell.broker.sqlite.lock_holder import lock_holder


def stop_between_writes(pid: int, broker_file: Path) -> None:
    """Stop a process, at a moment when it holds no lock on the embedded broker's file, if there is one."""
    while True:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: _states(pid) == {"T"}, 60, lambda: f"threads: {_states(pid)}")
        if not _holds(pid, broker_file):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)


def _states(pid: int) -> set[str]:
    """Return the states of a process's threads: one that waits for the disk stops only afterwards."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks}


def _holds(pid: int, broker_file: Path) -> bool:
    holder = lock_holder(lock_folder(broker_file))
    return holder is not None and holder.startswith(f"process {pid} ")
