"""Queues and consumers of the embedded broker, in SQL.

Each function is called inside a transaction; none begins or ends one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from upswell.broker.protocol import QueueDepth
from upswell.errors import QueueMismatchError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from upswell.broker.topology import Queue

_PROMISES = ("bound_to", "delivery_limit", "dead_letter_queue", "max_length", "message_ttl")
"""Columns that say what a queue was declared with, and fields of `Queue`."""


class QueueRow(NamedTuple):
    """A queue as the file has it; `ready` messages it had when it was read."""

    id: int
    name: str
    owner: int | None
    bound_to: str | None
    delivery_limit: int | None
    dead_letter_queue: str | None
    max_length: int | None
    message_ttl: float | None
    ready: int


_COLUMNS = ", ".join(QueueRow._fields)


def find_queue(db: sqlite3.Connection, name: str) -> QueueRow | None:
    """Return the queue of that name, if there is one."""
    row = db.execute(f"SELECT {_COLUMNS} FROM queues WHERE name = ?", (name,)).fetchone()  # noqa: S608 - constant
    return None if row is None else QueueRow(*row)


def queue_by_id(db: sqlite3.Connection, queue_id: int) -> QueueRow | None:
    """Return the queue with that id, if it is still there."""
    row = db.execute(f"SELECT {_COLUMNS} FROM queues WHERE id = ?", (queue_id,)).fetchone()  # noqa: S608 - constant
    return None if row is None else QueueRow(*row)


def bound_queues(db: sqlite3.Connection, exchange: str) -> list[QueueRow]:
    """Return the queues that receive what is published to an exchange."""
    rows = db.execute(f"SELECT {_COLUMNS} FROM queues WHERE bound_to = ?", (exchange,))  # noqa: S608 - constant
    return [QueueRow(*row) for row in rows]


def declare_queue(db: sqlite3.Connection, queue: Queue, connection: int) -> dict[str, str]:
    """Make a queue unless it is there; return how one that is differs, say {"max_length": "3, not 5"}.

    Raises:
        QueueMismatchError: it is another connection's, or was wanted exclusive and is not.
    """
    there = find_queue(db, queue.name)
    if there is None:
        db.execute(
            f"INSERT INTO queues (name, owner, {', '.join(_PROMISES)}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant
            (
                queue.name,
                connection if queue.exclusive else None,
                *(getattr(queue, name) for name in _PROMISES),
            ),
        )
        return {}
    if there.owner not in (None, connection):
        raise QueueMismatchError(f"queue {queue.name} is exclusive to another connection")
    if queue.exclusive and there.owner is None:
        raise QueueMismatchError(f"queue {queue.name} cannot be exclusive: a lasting queue has that name")
    pairs = {name: (getattr(there, name), getattr(queue, name)) for name in _PROMISES}
    return {name: f"{has}, not {asked}" for name, (has, asked) in pairs.items() if has != asked}


def delete_queue(db: sqlite3.Connection, queue_id: int) -> None:
    """Delete a queue, its messages and its consumers."""
    db.execute("DELETE FROM messages WHERE queue = ? AND holder IS NULL", (queue_id,))
    db.execute("DELETE FROM messages WHERE holder IS NOT NULL AND queue = ?", (queue_id,))
    db.execute("DELETE FROM consumers WHERE queue = ?", (queue_id,))
    db.execute("DELETE FROM queues WHERE id = ?", (queue_id,))


def queue_depth(db: sqlite3.Connection, queue: QueueRow, now: float) -> QueueDepth:
    """Return a queue's depth; messages past their time to live count no more."""
    ready, unacknowledged, consumers = db.execute(
        "SELECT ready, unacknowledged, (SELECT count(*) FROM consumers WHERE queue = queues.id) "
        "FROM queues WHERE id = ?",
        (queue.id,),
    ).fetchone()
    if queue.message_ttl is not None:
        ready -= db.execute(
            "SELECT count(*) FROM messages WHERE queue = ? AND holder IS NULL AND expires_at <= ?",
            (queue.id, now),
        ).fetchone()[0]
    return QueueDepth(ready, unacknowledged, consumers)


def fair_share(db: sqlite3.Connection, queue: QueueRow, consumer: int, held: int) -> int:
    """Return how many ready messages a consumer may take, so that all who wait come to hold the same number.

    Consumers that hold their prefetch count do not wait. The one that holds least may always take one.
    """
    others, held_by_others = db.execute(
        "SELECT count(*), coalesce(sum(held), 0) FROM consumers "
        "WHERE queue = ? AND held < prefetch_count AND id <> ?",
        (queue.id, consumer),
    ).fetchone()
    level = -(-(queue.ready + held + held_by_others) // (others + 1))
    return max(0, level - held)


def waiting_connections(db: sqlite3.Connection, queue_ids: Iterable[int], *, besides: int) -> set[int]:
    """Return connections to wake for what is ready: one a message, those that hold least first."""
    found: set[int] = set()
    for queue_id in queue_ids:
        rows = db.execute(
            "SELECT connection FROM consumers WHERE queue = ? AND held < prefetch_count AND connection <> ? "
            "ORDER BY held LIMIT coalesce((SELECT ready FROM queues WHERE id = ?), 0)",
            (queue_id, besides, queue_id),
        )
        found.update(connection for (connection,) in rows)
    return found


def consuming_connections(db: sqlite3.Connection, name: str) -> list[int]:
    """Return the connections that consume a queue."""
    rows = db.execute(
        "SELECT connection FROM consumers WHERE queue = (SELECT id FROM queues WHERE name = ?)", (name,)
    )
    return [connection for (connection,) in rows]


def add_consumer(db: sqlite3.Connection, queue_id: int, connection: int, prefetch_count: int) -> int:
    """Add a consumer to a queue; return its id."""
    cursor = db.execute(
        "INSERT INTO consumers (queue, connection, prefetch_count) VALUES (?, ?, ?)",
        (queue_id, connection, prefetch_count),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def delete_connection(db: sqlite3.Connection, connection: int) -> None:
    """Remove a connection, its exclusive queues and its consumers; give back what it holds before."""
    for (queue_id,) in db.execute("SELECT id FROM queues WHERE owner = ?", (connection,)).fetchall():
        delete_queue(db, queue_id)
    db.execute("DELETE FROM consumers WHERE connection = ?", (connection,))
    db.execute("DELETE FROM connections WHERE id = ?", (connection,))
