"""Which process is which: what `/proc` says, held against process ids that are used again.

What comes in: a process id and what was noted of it. What goes out: whether it is still that process. It must
not know fleets.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

_PROC = Path("/proc")
_STATE, _START_TICKS = 0, 19
"""Fields 3 and 22 of `/proc/PID/stat` (proc(5)), counted from behind the command's closing bracket."""


class Process(Struct, frozen=True):
    """A process as the kernel shows it; `start_ticks` tells it from others that had its id since boot."""

    pid: int
    start_ticks: int
    ended: bool


def look(pid: int) -> Process | None:
    """Return the process of this id, or None when there is none."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(pid, int(fields[_START_TICKS]), ended=fields[_STATE] in "ZX")


def carries(pid: int, worker_id: str) -> bool:
    """Return whether a process was started as this worker; one we may not look into counts."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return f"UPSWELL_WORKER_ID={worker_id}".encode() in environment.split(b"\0")


def find(worker_id: str) -> Process | None:
    """Return the process that was started as this worker, searching all of this user's processes."""
    for entry in _PROC.iterdir():
        if (
            entry.name.isdigit()
            and entry.stat().st_uid == os.getuid()
            and carries(int(entry.name), worker_id)
        ):
            return look(int(entry.name))
    return None


def reap(pid: int) -> int | None:
    """Return the exit code of a child that has ended (-15: by signal 15); None if it runs or is no child."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if ended else None
