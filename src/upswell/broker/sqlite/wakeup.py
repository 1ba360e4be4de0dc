"""How connections to one file wake each other, and how they notice that one of them died.

Each connection owns a named pipe in a folder beside the file. Whoever commits something for a waiting
connection writes one byte into its pipe; a connection that waits costs nothing. The kernel closes a
process's pipes when it ends, however it ends, so a pipe without a reader belongs to a dead connection. A
process that hangs keeps its pipe open; therefore each connection also stamps its pipe once a second with
the monotonic clock, which all processes of a machine share and nobody can set.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SILENT_SECONDS = 15.0
"""A connection whose pipe has not been stamped for so long counts as dead."""


class WakeupPipe:
    """A connection's own pipe; all but `wake` is for one thread."""

    def __init__(self, folder: Path, number: int, now: float) -> None:
        self._path = folder / str(number)
        self._fd = -1
        self.stamp(now)

    def wait(self, seconds: float) -> bool:
        """Sleep until someone wakes this connection, at most `seconds`; return whether someone did."""
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return False
        os.read(self._fd, 65536)
        return True

    def stamp(self, now: float) -> None:
        """Show that this process lives; a pipe that someone removed is made again."""
        if not self._path.exists():
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            os.mkfifo(self._path, 0o600)
            # Read and write: the pipe has a writer as long as it has its reader, so it never reads as ended.
            try:
                new = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                self._path.unlink()  # one that nobody reads would say that this process is dead
                raise
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = new
        os.utime(self._fd, (now, now))

    def close(self, *, remove: bool = True) -> None:
        """Close the pipe; left in its folder, it is the proof that its connection is dead."""
        os.close(self._fd)
        self._fd = -1
        if remove:
            self._path.unlink(missing_ok=True)


def wake(folder: Path, number: int) -> bool:
    """Wake a connection, for any thread; return False when it is certainly dead."""
    try:
        fd = os.open(folder / str(number), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # ENXIO: no process reads it. Anything else (the folder was emptied) proves nothing.
        return error.errno != errno.ENXIO
    try:
        with contextlib.suppress(BlockingIOError):  # full: it has been woken often enough
            os.write(fd, b"!")
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
    return True


class Watch:
    """Finds the dead among other connections."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._missing_since: dict[int, float] = {}

    def dead(self, numbers: list[int], now: float) -> list[int]:
        """Return those that have no reader, or no recent stamp, or no pipe for as long."""
        stamps = {number: self._stamp(number) for number in numbers}
        missing = [number for number, stamp in stamps.items() if stamp is None]
        self._missing_since = {number: self._missing_since.get(number, now) for number in missing}
        last_seen = {number: stamp for number, stamp in stamps.items() if stamp is not None}
        last_seen |= self._missing_since
        return [number for number, seen in last_seen.items() if now - seen >= SILENT_SECONDS]

    def _stamp(self, number: int) -> float | None:
        """Return when a connection last showed that it lives; minus infinity: its process is gone."""
        path = self._folder / str(number)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            return path.stat().st_mtime
        except OSError as error:
            return float("-inf") if error.errno == errno.ENXIO else None
