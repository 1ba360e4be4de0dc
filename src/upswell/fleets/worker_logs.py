"""What worker processes printed: one file each, bounded in number and size.

What comes in: worker ids. What goes out: where to write, and the last lines. It must not know processes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

KEPT_LOGS = 50
"""Logs of workers that are gone; more are dropped, the oldest first."""

MAX_LOG_BYTES = 5_000_000
"""A running worker's log that grows beyond this starts anew; the part before is kept once, as `.log.1`."""

_TAIL_BYTES = 4096
_TAIL_LINES = 5


class WorkerLogs:
    """The folder of the workers' logs."""

    def __init__(self, folder: Path) -> None:
        """Keep the logs in `folder`, made when the first worker starts."""
        self._folder = folder

    def file_actions(self, worker_id: str) -> list[tuple[int, ...] | tuple[int, int, str, int, int]]:
        """Return what `posix_spawn` does with a worker's input (closed) and output (its log, appended to)."""
        self._folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self._path(worker_id)), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]

    def last_lines(self, worker_id: str) -> str:
        """Return the last few lines of a worker's log; empty where there is none."""
        try:
            with self._path(worker_id).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])

    def prune(self, known: AbstractSet[str]) -> None:
        """Cut what has grown too long, and drop the oldest logs of workers that are not `known` any more."""
        gone: list[tuple[float, Path]] = []
        for path in self._folder.glob("*.log"):
            try:
                status = path.stat()
                if path.stem in known and status.st_size > MAX_LOG_BYTES:
                    _cut(path)
            except OSError:
                # Looking after logs never stands in the way of looking after workers.
                continue
            if path.stem not in known:
                gone.append((status.st_mtime, path))
        for _, path in sorted(gone)[: max(0, len(gone) - KEPT_LOGS)]:
            path.unlink(missing_ok=True)
            path.with_suffix(".log.1").unlink(missing_ok=True)

    def _path(self, worker_id: str) -> Path:
        return self._folder / f"{worker_id}.log"


def _cut(path: Path) -> None:
    """Move a log's text aside; its writer appends, so it goes on at the new end."""
    path.with_suffix(".log.1").write_bytes(path.read_bytes())
    os.truncate(path, 0)
