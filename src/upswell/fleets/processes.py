"""Identify processes through `/proc`, safely despite reused process ids.

In: a process id and what was recorded about it. Out: whether it is still that process. It does not know
fleets.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

_PROC = Path("/proc")
_STATE, _START_TICKS = 0, 19
"""Fields 3 and 22 of `/proc/PID/stat` (proc(5)), counted after the command's closing bracket."""


class Process(Struct, frozen=True):
    """A process; `start_ticks` distinguishes it from others that had its id since boot."""

    pid: int
    start_ticks: int
    ended: bool


def look(pid: int) -> Process | None:
    """Return the process with this id, or None."""
    try:
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(pid, int(fields[_START_TICKS]), ended=fields[_STATE] in "ZX")


def carries(pid: int, worker_id: str) -> bool | None:
    """Return whether a process was started as this worker; None: unknown.

    Another user's environment is not readable, and a process's environment is empty just after its start.
    """
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:
        return None
    return f"UPSWELL_WORKER_ID={worker_id}".encode() in environment.split(b"\0") if environment else None


def find(worker_id: str) -> Process | None:
    """Return the process that was started as this worker: the oldest, because its children inherit the id."""
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    found = [process for pid in pids if carries(pid, worker_id) and (process := look(pid))]
    return min(found, key=lambda process: process.start_ticks, default=None)


def is_child(pid: int) -> bool:
    """Return whether this process is an unreaped child of ours."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap(pid: int) -> int | None:
    """Return the exit code of an ended child (-15: by signal 15); None if it is running or not a child."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if ended else None
