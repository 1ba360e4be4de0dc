"""The election in the embedded broker's file: one row a role says who leads, and until when.

What comes in: a candidate's claim. What goes out: whether it was granted. It must not know what is led.

The row is read and written in one transaction, so two candidates never both get it. Its instants are of the
clock that counts from the machine's start, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from upswell.broker.leadership import TERM_SECONDS, Lease
from upswell.errors import BrokerError
from upswell.events import get_logger

if TYPE_CHECKING:
    import sqlite3

    from upswell.broker.sqlite.broker import SqliteBroker

_log = get_logger()

CLAIM_SECONDS = 0.5
"""Between two claims of a candidate."""

# Made here and not with the other tables: so a file of an earlier version serves, also that version.
_TABLE = """
CREATE TABLE IF NOT EXISTS leaders (
    role TEXT PRIMARY KEY,
    connection INTEGER NOT NULL,
    candidate TEXT NOT NULL,
    proved_at REAL NOT NULL                -- on the clock that counts from the machine's start
)
"""


def claim(db: sqlite3.Connection, role: str, connection: int, candidate: str, now: float) -> bool:
    """Claim a role, within a transaction in which `now` was read; return whether the candidate leads.

    It does where nobody leads, where the leader's process is dead, or where its last proof is too old. A
    proof from the future was made before the machine was started anew.
    """
    db.execute(_TABLE)
    row = db.execute(
        "SELECT candidate, proved_at, connection IN (SELECT id FROM connections) FROM leaders WHERE role = ?",
        (role,),
    ).fetchone()
    if row is not None:
        leader, proved_at, lives = row
        if leader != candidate and lives and 0 <= now - proved_at <= TERM_SECONDS:
            return False
    db.execute("INSERT OR REPLACE INTO leaders VALUES (?, ?, ?, ?)", (role, connection, candidate, now))
    return True


def resign(db: sqlite3.Connection, role: str, candidate: str) -> None:
    """Leave a role to the next, within a transaction."""
    db.execute(_TABLE)
    db.execute("DELETE FROM leaders WHERE role = ? AND candidate = ?", (role, candidate))


class RowLeadership(Lease):
    """One candidate for `role`; `start` it once."""

    def __init__(self, broker: SqliteBroker, role: str, candidate: str) -> None:
        super().__init__(role)
        self._broker = broker
        self._candidate = candidate

    async def start(self) -> None:
        """Stand from now on; it leads when this returns, if nobody else does."""
        await self._claim()
        self.stand(self._stand())

    async def close(self) -> None:
        """Stand no more."""
        await self.stand_down()
        with suppress(BrokerError):  # it is closed: its connection is gone, and the row free
            await self._broker.call(lambda connection: connection.resign(self._role, self._candidate))

    async def _stand(self) -> None:
        while True:
            await asyncio.sleep(CLAIM_SECONDS)
            try:
                await self._claim()
            except BrokerError as error:
                _log.warning("leadership.failed", role=self._role, error=error)

    async def _claim(self) -> None:
        granted_at = await self._broker.call(lambda connection: connection.claim(self._role, self._candidate))
        if granted_at is not None:
            self.proved(granted_at)
