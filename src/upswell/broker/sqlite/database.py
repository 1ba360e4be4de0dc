"""Transactions on the embedded broker's file: one process at a time, tried again while the disk refuses.

Processes wait for each other on a lock of the folder of wake-up pipes rather than on SQLite's own: the kernel
hands that lock on at once, where SQLite would sleep and try again for up to 100 ms. SQLite's lock is taken
too, for programs that know nothing of ours.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from upswell import events
from upswell.broker.sqlite.schema import file_error, is_passing, make_file, open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

T = TypeVar("T")


def lock_folder(path: Path) -> Path:
    """Return the folder of wake-up pipes beside a broker's file, which is also what processes lock."""
    # The name that earlier versions know: they may still run beside this one.
    return path.with_name(f"{path.name}-bells")


class LockWait:
    """Tells other threads since when, on the monotonic clock, this one waits for the lock, if it does."""

    since: float | None = None


class BrokerDatabase:
    """An open broker file; all its methods are called from the thread that made it."""

    def __init__(self, path: Path, lock_wait: LockWait | None = None) -> None:
        """Open the file, made where it is missing.

        Raises:
            BrokerError: the file or its folder cannot serve; the message names it and says what to do.
        """
        self.path = path
        self.folder = lock_folder(path)
        self._lock_wait = lock_wait or LockWait()
        self._log = events.get_logger(file=str(path))
        make_file(path)
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise file_error(path, error) from error
        try:
            with self._locked():
                self.db = open_file(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._inode = path.stat().st_ino
        self._synced: bool | None = None

    def close(self) -> None:
        """Close the file."""
        self.db.close()
        os.close(self._lock)

    def is_replaced(self) -> bool:
        """Whether the path no longer leads to the file that is open: someone moved or removed it."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def transact(self, work: Callable[[], T], *, synced: bool, pause: Callable[[], bool] | None = None) -> T:
        """Run `work` in one transaction and return its result; `synced`: it is on disk before this returns.

        While the disk is full or fails, and `pause()` returns True, it is rolled back and tried again; so
        `work` changes nothing but the file.

        Raises:
            BrokerError: the disk refused, and there was no (more) time to wait.
            sqlite3.Error: it can never succeed: the file is damaged.
        """
        failures = 0
        while True:
            try:
                result = self._transact_once(work, synced=synced)
            except sqlite3.Error as error:
                if not is_passing(error):
                    raise
                if failures == 0:
                    self._log.warning("broker.disk_refuses", error=error)
                failures += 1
                if pause is None or not pause():
                    raise file_error(self.path, error) from error
            else:
                if failures:
                    self._log.info("broker.disk_takes_again", failures=failures)
                return result

    def _transact_once(self, work: Callable[[], T], *, synced: bool) -> T:
        if synced != self._synced:
            # In WAL mode NORMAL commits without a sync. The next synced commit, by any process, takes
            # earlier ones along.
            self.db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            self._synced = synced
        with self._locked():
            try:
                self.db.execute("BEGIN IMMEDIATE")
                result = work()
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                raise
        return result

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        self._lock_wait.since = time.monotonic()
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            self._lock_wait.since = None
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
