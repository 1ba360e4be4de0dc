"""One scaler at a time for a state folder: the others wait, and one of them takes over when it ends.

What comes in: a folder. What goes out: a lock that the kernel lets go of when its process dies, however it
dies.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ScalerLock:
    """An exclusive lock on `scaler.lock` in the state folder."""

    def __init__(self, state_path: Path) -> None:
        """Take nothing yet."""
        self._path = state_path / "scaler.lock"
        self._file: int | None = None

    def acquire(self) -> bool:
        """Return whether this scaler is the one; does not wait."""
        if self._file is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let another scaler take over."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
