"""How connections to one file wake each other, and how they see that one of them died.

Each connection owns a FIFO in a folder beside the file. A publisher that has committed writes one byte into
the FIFO of a waiting consumer, which wakes at once and costs nothing while it waits. The kernel closes a
process's FIFOs when it ends, however it ends, so a FIFO without a reader is proof that its connection is
dead. A process that hangs (stopped, or its disk is stuck) keeps its FIFO open; therefore each connection
also touches its FIFO once a second, and who watches counts its own ticks for which a FIFO has not changed.
No two clocks are ever compared: one that jumps kills nobody.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RUNG = b"!"
"""Someone else committed something of interest."""

POKED = b"."
"""This process has work for its own thread."""

SILENT_TICKS = 15
"""A connection that has not touched its FIFO for so many ticks of a watcher counts as dead."""


class WakeupPipe:
    """A connection's own FIFO; `wait` is for one thread, `poke` for any."""

    def __init__(self, folder: Path, number: int) -> None:
        self._path = folder / str(number)
        self._fd = self._make()
        self._guard = threading.Lock()  # a closed descriptor's number may be another file's next moment
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Sleep until poked or rung, at most so long; return whether someone else rang."""
        if not self._poll.poll(max(0.0, seconds) * 1000):
            return False
        return RUNG in os.read(self._fd, 65536)

    def poke(self) -> None:
        """Wake the own thread."""
        with self._guard, contextlib.suppress(BlockingIOError):  # full of earlier pokes
            if self._fd >= 0:
                os.write(self._fd, POKED)

    def touch(self) -> None:
        """Show that this process lives; a FIFO that someone removed is made again."""
        if not self._path.exists():
            with self._guard:
                self._poll.unregister(self._fd)
                os.close(self._fd)
                self._fd = self._make()
                self._poll.register(self._fd, select.POLLIN)
        os.utime(self._fd)

    def close(self, *, remove: bool = True) -> None:
        """Close the FIFO; left there, it is the proof that its connection is dead."""
        with self._guard:
            os.close(self._fd)
            self._fd = -1
        if remove:
            self._path.unlink(missing_ok=True)

    def _make(self) -> int:
        os.mkfifo(self._path, 0o600)
        # Read and write: the FIFO then has a writer as long as it has its reader, and never reads as ended.
        return os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def ring(folder: Path, number: int) -> bool:
    """Wake a connection; return False when it is certainly dead."""
    try:
        fd = os.open(folder / str(number), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # ENXIO: no process reads it. Anything else (say, someone emptied the folder) proves nothing.
        return error.errno != errno.ENXIO
    try:
        os.write(fd, RUNG)
    except BlockingIOError:
        pass  # full: it has been rung often enough
    except BrokenPipeError:
        return False
    finally:
        os.close(fd)
    return True


class Watch:
    """Finds the dead among other connections, one look a tick."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[int, tuple[int, int]] = {}

    def dead(self, numbers: list[int]) -> list[int]:
        """Return those of `numbers` that have no reader, or were silent for the last `SILENT_TICKS` calls."""
        seen: dict[int, tuple[int, int]] = {}
        dead: list[int] = []
        for number in numbers:
            touched = self._touched(number)
            before, ticks = self._seen.get(number, (touched, -1))
            seen[number] = (touched, ticks + 1 if touched == before else 0)
            if seen[number][1] >= SILENT_TICKS or self._has_no_reader(number):
                dead.append(number)
        self._seen = seen
        return dead

    def _touched(self, number: int) -> int:
        try:
            return (self._folder / str(number)).stat().st_mtime_ns
        except OSError:
            return -1  # no FIFO: as silent as one that is never touched

    def _has_no_reader(self, number: int) -> bool:
        try:
            os.close(os.open(self._folder / str(number), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            return error.errno == errno.ENXIO
        return False
