"""Messages of the embedded broker, in SQL: put in, taken, acknowledged, given back, dead-lettered, forgotten.

Each function is called inside a transaction; none begins or ends one.

Many rows go through one statement wherever possible: a thread gives up the interpreter at each statement
and may have to wait for it.

Order: as in RabbitMQ's quorum queues (4.x, `returns` in rabbit_fifo), messages that were given back come
before all that never were delivered, in the order in which they came back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from upswell.broker.sqlite.queue_rows import declare_queue, find_queue, queue_by_id
from upswell.broker.topology import Queue

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from upswell.broker.sqlite.queue_rows import QueueRow

REASON_HEADER = "x-upswell-reason"

NewMessage = tuple[int, float | None, str | None, str | None, str | None, bytes]
"""queue, expires_at, message_id, reply_to, headers, body"""

_ROWS_A_STATEMENT = (64, 8, 1)


class TakenMessage(NamedTuple):
    """A message that a connection now holds."""

    turn: int
    id: int
    failed_attempts: int
    message_id: str | None
    reply_to: str | None
    headers: str | None
    body: bytes


_TAKEN = ", ".join(TakenMessage._fields)


class DeadMessage(NamedTuple):
    """A message that went over its queue's delivery limit; without a dead-letter queue (None) it is gone."""

    queue: str
    dead_letter_queue: str | None
    message_id: str | None


def encode_headers(headers: Mapping[str, str | int | float] | None) -> str | None:
    """Return headers as the file keeps them."""
    return json.dumps(dict(headers)) if headers else None


def insert_messages(db: sqlite3.Connection, rows: Sequence[NewMessage]) -> None:
    """Put messages at their queues' ends, in order."""
    start = 0
    for size in _ROWS_A_STATEMENT:
        statement = (
            "INSERT INTO messages (queue, expires_at, message_id, reply_to, headers, body) VALUES "  # noqa: S608 - marks
            + ", ".join(["(?, ?, ?, ?, ?, ?)"] * size)
        )
        while len(rows) - start >= size:
            db.execute(statement, [value for row in rows[start : start + size] for value in row])
            start += size


def drop_oldest(db: sqlite3.Connection, queue: QueueRow) -> None:
    """Drop what a bounded queue holds beyond its length, oldest first."""
    if queue.max_length is None:
        return
    ready: int = db.execute("SELECT ready FROM queues WHERE id = ?", (queue.id,)).fetchone()[0]
    if ready > queue.max_length:
        db.execute(
            "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE queue = ? AND holder IS NULL "
            "ORDER BY turn, id LIMIT ?)",
            (queue.id, ready - queue.max_length),
        )


def forget_expired(db: sqlite3.Connection, queue: QueueRow, now: float) -> None:
    """Drop messages past their time to live.

    `now` counts from the machine's start, so no one can set it. After a restart of the machine older
    instants seem far ahead: such messages get their full time again, rather than none.
    """
    if queue.message_ttl is None:
        return
    db.execute("DELETE FROM messages WHERE queue = ? AND holder IS NULL AND expires_at <= ?", (queue.id, now))
    latest = now + queue.message_ttl
    db.execute(
        "UPDATE messages SET expires_at = ? WHERE queue = ? AND holder IS NULL AND expires_at > ?",
        (latest, queue.id, latest),
    )


def take_messages(db: sqlite3.Connection, queue_id: int, holder: int, limit: int) -> list[TakenMessage]:
    """Give the first ready messages of a queue to a connection; return them in order."""
    rows = db.execute(
        "UPDATE messages SET holder = ? WHERE id IN "  # noqa: S608 - constant
        "(SELECT id FROM messages WHERE queue = ? AND holder IS NULL ORDER BY turn, id LIMIT ?) "
        f"RETURNING {_TAKEN}",
        (holder, queue_id, limit),
    )
    return _in_order(rows)


def take_ready(db: sqlite3.Connection, holder: int, ids: Sequence[int]) -> list[TakenMessage]:
    """Give those of these messages that are still ready to a connection; return them in order."""
    rows = db.execute(
        "UPDATE messages SET holder = ? WHERE holder IS NULL "  # noqa: S608 - constant
        f"AND id IN (SELECT value FROM json_each(?)) RETURNING {_TAKEN}",
        (holder, json.dumps(ids)),
    )
    return _in_order(rows)


def ready_messages(db: sqlite3.Connection, queue_id: int, limit: int | None) -> list[TakenMessage]:
    """Return the first ready messages of a queue, in order; nobody takes them."""
    rows = db.execute(
        f"SELECT {_TAKEN} FROM messages WHERE queue = ? AND holder IS NULL ORDER BY turn, id LIMIT ?",  # noqa: S608 - constant
        (queue_id, -1 if limit is None else limit),
    )
    return _in_order(rows)


def _in_order(rows: Iterable[tuple[Any, ...]]) -> list[TakenMessage]:
    return sorted((TakenMessage(*row) for row in rows), key=lambda taken: taken[:2])


def remove_messages(db: sqlite3.Connection, holder: int, ids: Sequence[int]) -> None:
    """Remove acknowledged messages that a connection holds."""
    db.execute(
        "DELETE FROM messages WHERE holder = ? AND id IN (SELECT value FROM json_each(?))",
        (holder, json.dumps(ids)),
    )


def drop_ready(db: sqlite3.Connection, queue_id: int) -> int:
    """Drop all ready messages of a queue; return how many."""
    return db.execute("DELETE FROM messages WHERE queue = ? AND holder IS NULL", (queue_id,)).rowcount


def give_back(
    db: sqlite3.Connection, holder: int, ids: Sequence[int], *, counted: bool
) -> tuple[set[int], list[DeadMessage]]:
    """Make messages that a connection holds ready again; `counted`: as one more attempt, within the limit.

    Returns the ids of queues that now have more ready messages, and the messages that were dead-lettered.
    """
    queues: set[int] = set()
    dead: list[DeadMessage] = []
    listed = json.dumps(ids)
    here = "holder = ? AND id IN (SELECT value FROM json_each(?))"
    found = db.execute(f"SELECT DISTINCT queue FROM messages WHERE {here}", (holder, listed)).fetchall()  # noqa: S608 - constant
    for (queue_id,) in found:
        queue = queue_by_id(db, queue_id)
        if queue is None:
            continue
        if counted and queue.delivery_limit is not None:
            over = db.execute(
                f"SELECT id, message_id, headers FROM messages WHERE {here} AND queue = ? "  # noqa: S608 - constant
                "AND failed_attempts + 1 >= ? ORDER BY id",
                (holder, listed, queue_id, queue.delivery_limit),
            ).fetchall()
            for message, message_id, headers in over:
                queues |= _dead_letter(db, queue, message, headers)
                dead.append(DeadMessage(queue.name, queue.dead_letter_queue, message_id))
        db.execute("UPDATE queues SET returns = returns + 1 WHERE id = ?", (queue_id,))
        db.execute(
            "UPDATE messages SET holder = NULL, failed_attempts = failed_attempts + ?, "  # noqa: S608 - constant
            f"turn = (SELECT returns FROM queues WHERE id = ?) WHERE {here} AND queue = ?",
            (int(counted), queue_id, holder, listed, queue_id),
        )
        queues.add(queue_id)
    return queues, dead


def _dead_letter(db: sqlite3.Connection, queue: QueueRow, message: int, headers: str | None) -> set[int]:
    """Move one message to its dead-letter queue, made where it is missing: nothing is lost for want of it."""
    touched: set[int] = set()
    if queue.dead_letter_queue is not None:
        target = find_queue(db, queue.dead_letter_queue)
        if target is None:
            declare_queue(db, Queue(name=queue.dead_letter_queue), connection=0)
            target = find_queue(db, queue.dead_letter_queue)
            assert target is not None
        reason = f"delivery limit {queue.delivery_limit} reached"
        noted = json.dumps({**(json.loads(headers) if headers else {}), REASON_HEADER: reason})
        db.execute(
            "INSERT INTO messages (queue, message_id, reply_to, headers, body) "
            "SELECT ?, message_id, reply_to, ?, body FROM messages WHERE id = ?",
            (target.id, noted, message),
        )
        drop_oldest(db, target)
        touched.add(target.id)
    db.execute("DELETE FROM messages WHERE id = ?", (message,))
    return touched


def held_messages(db: sqlite3.Connection, holder: int) -> list[int]:
    """Return the ids of all messages that a connection holds, in order."""
    rows = db.execute("SELECT id FROM messages WHERE holder = ? ORDER BY id", (holder,))
    return [message for (message,) in rows]
