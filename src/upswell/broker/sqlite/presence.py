"""A connection's place among the others on one file: it shows that it lives, wakes them, and buries the dead.

What comes in: a path, and a `Member` who says what it wants done when it joins. What goes out: transactions
in the name of a connection that the others know. It knows nothing of what is published or consumed.
"""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Protocol, TypeVar

from upswell import events
from upswell.broker.sqlite import message_rows, queue_rows
from upswell.broker.sqlite.database import BrokerDatabase
from upswell.broker.sqlite.wakeup import WakeupPipe, Watch, ring

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

T = TypeVar("T")

RETRY_SECONDS = 0.5
"""Between two tries of a transaction that the disk refused."""


class Member(Protocol):
    """Who joins."""

    def enter(self) -> None:
        """Do what belongs to joining, in its transaction; that may run again, so change only the file."""
        ...

    def entered(self) -> None:
        """Take notice: what was held under the old name, if there was one, is held no more."""
        ...


class _ForgottenError(Exception):
    """The others gave this connection up: it was silent for too long, and what it held was put back."""


class Presence:
    """One connection; `leaving` is set when it is no use to wait for the disk any longer."""

    def __init__(self, path: Path, name: str, *, leaving: threading.Event) -> None:
        self._path = path
        self._name = name
        self._leaving = leaving
        self._log = events.get_logger(broker=str(path), connection=name)
        self._file = BrokerDatabase(path)
        self._watch = Watch(self._file.folder)
        self.id = 0
        self.bell: WakeupPipe

    @property
    def db(self) -> sqlite3.Connection:
        """The open file; to change it, `transact`."""
        return self._file.db

    def join(self, member: Member, *, patient: bool) -> None:
        """Take a place among the connections, under a new name; `patient`: wait for a disk that refuses."""
        self._member = member
        self.id = secrets.randbits(62)
        self.bell = WakeupPipe(self._file.folder, self.id)

        def enter() -> None:
            self.db.execute(
                "INSERT INTO connections (id, name, pid) VALUES (?, ?, ?)", (self.id, self._name, os.getpid())
            )
            member.enter()

        try:
            self._file.transact(enter, synced=False, pause=self._pause if patient else None)
        except BaseException:
            self.bell.close()
            raise
        member.entered()

    def leave(self) -> None:
        """Give back what is held, uncounted, take exclusive queues away, and disconnect."""
        gone = False
        try:
            self.end(self.id, counted=False)
            gone = True
        finally:
            self.bell.close(remove=gone)
            self._file.close()

    def close_file(self) -> None:
        """Give up a place that was never taken."""
        self._file.close()

    def transact(self, work: Callable[[], T], *, synced: bool) -> T:
        """Run `work` in a transaction, as a connection that the others know."""

        def as_connection() -> T:
            if not self._is_known():
                # Never take a message in a name that nobody would miss: it would be held for ever.
                raise _ForgottenError
            return work()

        while True:
            try:
                return self._file.transact(as_connection, synced=synced, pause=self._pause)
            except _ForgottenError:
                self._join_again("silent for too long")

    def refresh(self) -> None:
        """Show that this process lives, and join again where it was given up or the file was replaced."""
        self.bell.touch()
        if self._file.is_replaced():
            self._reopen()
        elif not self._is_known():
            self._join_again("silent for too long")

    def ring(self, connections: Iterable[int]) -> None:
        """Wake connections; one that turns out to be dead is buried."""
        for connection in connections:
            if self.is_dead(connection):
                self.end(connection, counted=True)

    def is_dead(self, connection: int) -> bool:
        """Ring a connection; return whether it is certainly dead."""
        return not ring(self._file.folder, connection)

    def bury_the_dead(self) -> bool:
        """Put back what dead connections held, counted as an attempt; return whether there was one."""
        rows = self.db.execute("SELECT id FROM connections WHERE id <> ?", (self.id,)).fetchall()
        dead = self._watch.dead([number for (number,) in rows])
        for number in dead:
            self.end(number, counted=True)
        return bool(dead)

    def end(self, number: int, *, counted: bool) -> None:
        """Take away a connection, this or a dead one, and its exclusive queues; what it held goes back."""

        def end() -> tuple[set[int], list[message_rows.DeadMessage]]:
            held = message_rows.held_messages(self.db, number)
            fuller, dead = message_rows.give_back(self.db, number, held, counted=counted)
            queue_rows.delete_connection(self.db, number)
            return queue_rows.waiting_connections(self.db, fuller, besides=self.id), dead

        to_ring, dead = self._file.transact(end, synced=False, pause=self._pause)
        if number != self.id:
            (self._file.folder / str(number)).unlink(missing_ok=True)
            self._log.warning("broker.connection_died", died=number)
        self.report_dead(dead)
        self.ring(to_ring)

    def report_dead(self, dead: Iterable[message_rows.DeadMessage]) -> None:
        """Log what went over its queue's delivery limit."""
        for message in dead:
            self._log.warning(
                "broker.dead_lettered",
                queue=message.queue,
                dead_letter_queue=message.dead_letter_queue,
                message_id=message.message_id,
            )

    def _pause(self) -> bool:
        """Wait a little for the disk, alive to the others; return whether to go on."""
        self.bell.touch()
        return not self._leaving.wait(RETRY_SECONDS)

    def _is_known(self) -> bool:
        found = self.db.execute("SELECT 1 FROM connections WHERE id = ?", (self.id,)).fetchone()
        return found is not None

    def _join_again(self, reason: str) -> None:
        old = self.bell
        self.join(self._member, patient=True)
        old.close()
        self._log.warning("broker.reconnected", reason=reason)

    def _reopen(self) -> None:
        """Go over to the file that now stands at the path: nobody would find what is put into the old one."""
        new = BrokerDatabase(self._path)
        self._file.close()
        self._file = new
        self._watch = Watch(new.folder)
        self._join_again("the file was replaced")
