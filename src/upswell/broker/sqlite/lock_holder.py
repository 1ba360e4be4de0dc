"""Who holds a lock, as the kernel's table of locks says: for people whose broker stands still.

In: the locked folder. Out: a process, in words. It locks nothing itself.
"""

from __future__ import annotations

from pathlib import Path

_LOCKS = Path("/proc/locks")
_STATES = {"T": "stopped", "t": "stopped by a debugger", "D": "waiting for the disk", "Z": "a zombie"}


def lock_holder(folder: Path) -> str | None:
    """Return which process holds the lock (`flock`) of a folder, and what to do; None: not known.

    In a container the kernel shows only the locks of its own processes.
    """
    try:
        inode = str(folder.stat().st_ino)
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 7651 fe:00:11190642 0 EOF; one that waits has an arrow after its number.
        _, kind, _, _, pid, place, *_ = line.split() if "->" not in line else [""] * 6
        if kind == "FLOCK" and place.rpartition(":")[2] == inode:
            return _process(int(pid))
    return None


def _process(pid: int) -> str:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")
    except OSError:
        return f"process {pid}, which has ended (its child has the lock) or is hidden from this user"
    state = _STATES.get(rest.split()[0], "running")
    advice = f"; let it go on (kill -CONT {pid}) or end it" if state == "stopped" else ""
    return f"process {pid} ({name.partition('(')[2]}), {state}{advice}"
