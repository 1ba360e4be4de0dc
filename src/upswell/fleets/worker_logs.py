"""The output of worker processes: one log file each, limited in number and size.

In: worker ids. Out: where to write, and the last lines. It does not know processes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from upswell.fleets.protocol import LogPart

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

KEPT_LOGS = 50
"""How many logs of exited workers are kept; the oldest are deleted first."""

MAX_LOG_BYTES = 5_000_000
"""A running worker's log that grows larger is rotated to `.log.1`, of which one is kept."""

_TAIL_BYTES = 4096
_READ_BYTES = 1_000_000
_TAIL_LINES = 5


class WorkerLogs:
    """The folder of the workers' logs."""

    def __init__(self, folder: Path) -> None:
        """Keep the logs in `folder`, created when the first worker starts."""
        self._folder = folder

    def file_actions(self, worker_id: str) -> list[tuple[int, ...] | tuple[int, int, str, int, int]]:
        """Return the `posix_spawn` actions for a worker: input from /dev/null, output appended to its log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self._path(worker_id)), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]

    def last_lines(self, worker_id: str) -> str:
        """Return the last lines of a worker's log; empty without a log."""
        try:
            with self._path(worker_id).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join(lines[-_TAIL_LINES:])

    def read(self, worker_id: str, *, after: str | None, limit: int) -> LogPart:
        """Return whole lines of a worker's log; see `Fleet.read_log`. A position is a number of bytes."""
        try:
            with self._path(worker_id).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                begin = int(after or 0)
                if begin > size:  # rotated meanwhile
                    begin = 0
                begin = max(begin, size - _READ_BYTES)
                log.seek(begin)
                part = log.read(size - begin)
        except (OSError, ValueError):
            return LogPart([], after or "")
        whole = part[: part.rfind(b"\n") + 1] if b"\n" in part else part if len(part) == _READ_BYTES else b""
        lines = whole.decode("utf-8", "replace").splitlines()
        return LogPart(lines[max(0, len(lines) - limit) :], str(begin + len(whole)))

    def prune(self, known: AbstractSet[str]) -> None:
        """Rotate large logs, and delete the oldest logs of workers that are no longer `known`."""
        gone: list[tuple[float, Path]] = []
        for path in self._folder.glob("*.log"):
            try:
                status = path.stat()
                if path.stem in known and status.st_size > MAX_LOG_BYTES:
                    _cut(path)
            except OSError:
                # A problem with logs must not affect workers.
                continue
            if path.stem not in known:
                gone.append((status.st_mtime, path))
        for _, path in sorted(gone)[: max(0, len(gone) - KEPT_LOGS)]:
            path.unlink(missing_ok=True)
            path.with_suffix(".log.1").unlink(missing_ok=True)

    def _path(self, worker_id: str) -> Path:
        return self._folder / f"{worker_id}.log"


def _cut(path: Path) -> None:
    """Copy a log aside and truncate it; its writer appends, so it continues at the new end."""
    aside = path.with_suffix(".log.1")
    aside.touch(mode=0o600)
    aside.write_bytes(path.read_bytes())
    os.truncate(path, 0)
