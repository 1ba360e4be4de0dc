"""Connections to one file, run by hand: no thread, no loop, no clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from upswell.broker.protocol import Message, QueueDepth
from upswell.broker.sqlite.connection import SqliteConnection
from upswell.broker.sqlite.transaction import ConsumerState
from upswell.broker.sqlite.wakeup import SILENT_SECONDS
from upswell.broker.topology import Queue
from upswell.errors import BrokerError, QueueMismatchError, UnroutableError
from upswell.events import capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from upswell.broker.protocol import Delivery

UPLOADS = Queue(name="uploads", delivery_limit=2, dead_letter_queue="uploads.dead")
PLAIN = Queue(name="plain")


class Clock:
    """The seconds since the machine started, as a test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return them."""
        return self.now


class Place:
    """A file, and the connections to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.uptime = 50.0
        self.sessions: list[SqliteConnection] = []

    def session(self, name: str = "test") -> SqliteConnection:
        """Return a new connection, closed at the test's end."""
        session = SqliteConnection(
            self.path, name, leaving=threading.Event(), now=self.clock, monotonic=lambda: self.uptime
        )
        self.sessions.append(session)
        return session

    def kill(self, session: SqliteConnection) -> None:
        """End a connection as `kill -9` does: its pipe has no reader, and nothing else was done."""
        self.sessions.remove(session)
        session._pipe.close(remove=False)
        session._file.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "broker.sqlite")
    yield place
    for session in place.sessions:
        session.close()


def publish(session: SqliteConnection, queue: str, *bodies: bytes) -> None:
    outcome = session.turn([(Message(routing_key=queue, body=body), None, body) for body in bodies], [])
    assert outcome is not None
    assert outcome.confirmed == list(bodies)


def consume(session: SqliteConnection, queue: str, prefetch_count: int) -> ConsumerState:
    subscription = ConsumerState(queue, lambda _delivery: None, prefetch_count)
    session.consume(subscription)
    return subscription


def take(session: SqliteConnection) -> list[Delivery]:
    outcome = session.turn([], [])
    return [] if outcome is None else [delivery for _, delivery in outcome.delivered]


def settle(session: SqliteConnection, kind: str, *deliveries: Delivery | None) -> list[Delivery]:
    outcome = session.turn([], [(kind, delivery.tag) for delivery in deliveries if delivery])  # type: ignore[misc]
    assert outcome is not None
    return [delivery for _, delivery in outcome.delivered]


def bodies(session: SqliteConnection, queue: str) -> list[bytes]:
    found = []
    while (delivery := session.get(queue)) is not None:
        found.append(delivery.body)
    return found


def test_returned_messages_come_first_in_the_order_in_which_they_came_back(place: Place) -> None:
    """As in RabbitMQ's quorum queues: one that always comes back does not keep the others from their turn."""
    session = place.session()
    session.declare(PLAIN)
    publish(session, "plain", b"a", b"b", b"c", b"d")
    first, second, _ = (session.get("plain") for _ in range(3))
    settle(session, "release", second)
    settle(session, "retry", first)
    assert bodies(session, "plain") == [b"b", b"a", b"d"]


def test_a_message_over_its_limit_says_why_in_a_header(place: Place) -> None:
    session = place.session()
    session.declare(UPLOADS)
    session.turn([(Message(routing_key="uploads", body=b"x"), '{"kept": 1.5}', None)], [])
    for attempt in (1, 2):
        delivery = session.get("uploads")
        assert delivery is not None
        assert delivery.attempt == attempt
        settle(session, "retry", delivery)
    dead = session.get("uploads.dead")
    assert dead is not None
    assert dict(dead.headers) == {"kept": 1.5, "x-upswell-reason": "delivery limit 2 reached"}
    assert dead.attempt == 1


def test_a_dead_letter_queue_that_is_missing_is_made(place: Place) -> None:
    """Or the message would be lost for want of a declaration."""
    session = place.session()
    session.declare(UPLOADS)
    publish(session, "uploads", b"x")
    with capture() as logs:
        for _ in range(2):
            settle(session, "retry", session.get("uploads"))
    assert session.depth("uploads.dead") == QueueDepth(1, 0, 0)
    assert [entry["event"] for entry in logs] == ["broker.dead_lettered"]


def test_what_a_killed_process_held_comes_back_as_an_attempt(place: Place) -> None:
    victim, other = place.session("victim"), place.session("other")
    victim.declare(UPLOADS)
    publish(victim, "uploads", b"x")
    consume(victim, "uploads", 1)
    assert [delivery.attempt for delivery in take(victim)] == [1]
    place.kill(victim)
    assert other.depth("uploads") == QueueDepth(0, 1, 1)
    other.tick()
    assert other.depth("uploads") == QueueDepth(1, 0, 0)
    delivery = other.get("uploads")
    assert delivery is not None
    assert delivery.attempt == 2


def test_a_new_connection_finds_the_dead_at_once(place: Place) -> None:
    """A worker that is started again has its work back before it asks."""
    victim = place.session("victim")
    victim.declare(PLAIN)
    victim.declare(Queue(name="control", exclusive=True))
    publish(victim, "plain", b"x")
    victim.get("plain")
    place.kill(victim)
    session = place.session()
    assert session.depth("plain") == QueueDepth(1, 0, 0)
    assert session.depth("control") is None


def test_a_process_that_hangs_loses_what_it_held_and_joins_again_when_it_wakes(place: Place) -> None:
    """Stopped, it keeps its pipe open; the monotonic clock, which nobody can set, says for how long."""
    sleeper, other = place.session("sleeper"), place.session("other")
    sleeper.declare(PLAIN)
    control = Queue(name="control", exclusive=True)
    sleeper.declare(control)
    publish(sleeper, "plain", b"x")
    consume(sleeper, "plain", 1)
    (old,) = take(sleeper)
    for _ in range(2):
        other.tick()
        assert other.depth("plain") == QueueDepth(0, 1, 1)
        place.uptime += SILENT_SECONDS / 2
        other.wait(0)
        other._pipe.stamp(place.uptime)
    other.tick()
    assert other.depth("plain") == QueueDepth(1, 0, 0)
    assert other.depth("control") is None

    with capture() as logs:
        (again,) = settle(sleeper, "ack", old)  # too late, and without effect
    assert (again.body, again.attempt) == (b"x", 2)
    assert [entry["event"] for entry in logs] == ["broker.reconnected"]
    assert other.depth("plain") == QueueDepth(0, 1, 1)
    assert other.depth("control") == QueueDepth(0, 0, 0)


def test_no_jump_of_the_clock_brings_messages_back_or_keeps_them(place: Place) -> None:
    session, other = place.session(), place.session("other")
    session.declare(UPLOADS)
    publish(session, "uploads", b"x")
    consume(session, "uploads", 1)
    take(session)
    for jump in (1e9, -1e9, -1e6):
        place.clock.now += jump
        session.tick()
        other.tick()
        assert other.depth("uploads") == QueueDepth(0, 1, 1)
    place.kill(session)
    other.tick()
    assert other.depth("uploads") == QueueDepth(1, 0, 0)


def test_a_message_expires_by_the_clock_that_counts_from_the_start(place: Place) -> None:
    session = place.session()
    session.declare(Queue(name="short", message_ttl=60.0))
    publish(session, "short", b"old")
    place.clock.now += 59
    publish(session, "short", b"new")
    assert session.depth("short") == QueueDepth(2, 0, 0)
    place.clock.now += 1
    assert session.depth("short") == QueueDepth(1, 0, 0)
    assert bodies(session, "short") == [b"new"]


def test_after_a_restart_of_the_machine_a_message_has_its_full_time_again(place: Place) -> None:
    """The clock began anew: its old instants lie in the future, and must mean neither now nor never."""
    session = place.session()
    session.declare(Queue(name="short", message_ttl=60.0))
    publish(session, "short", b"before")
    place.clock.now = 5.0
    publish(session, "short", b"after")
    place.clock.now = 64.0
    assert session.depth("short") == QueueDepth(2, 0, 0)
    place.clock.now = 65.0
    assert session.depth("short") == QueueDepth(0, 0, 0)


def test_a_queue_that_nobody_consumes_forgets_too(place: Place) -> None:
    session = place.session()
    session.declare(Queue(name="short", message_ttl=60.0))
    for _ in range(10):
        publish(session, "short", b"x")
        place.clock.now += 59
    assert session._db.execute("SELECT count(*) FROM messages").fetchone() == (2,)


def test_waiting_consumers_take_equal_shares(place: Place) -> None:
    first, second = place.session("first"), place.session("second")
    first.declare(PLAIN)
    consume(first, "plain", 4)
    consume(second, "plain", 4)
    publish(place.session("publisher"), "plain", *[b"%d" % number for number in range(4)])
    assert [len(take(first)), len(take(second))] == [2, 2]


def test_the_consumer_that_holds_least_takes_next(place: Place) -> None:
    busy, idle = place.session("busy"), place.session("idle")
    busy.declare(PLAIN)
    consume(busy, "plain", 4)
    publish(busy, "plain", b"1", b"2", b"3")
    consume(idle, "plain", 4)
    publish(place.session("publisher"), "plain", b"4")
    assert take(busy) == []
    assert [delivery.body for delivery in take(idle)] == [b"4"]


def test_a_share_that_its_consumer_never_takes_goes_to_another_at_its_next_tick(place: Place) -> None:
    """The idle process may hang, or its ring be lost."""
    busy, idle = place.session("busy"), place.session("idle")
    busy.declare(PLAIN)
    consume(busy, "plain", 4)
    publish(busy, "plain", b"1", b"2")
    consume(idle, "plain", 4)
    publish(place.session("publisher"), "plain", b"3")
    outcome = busy.turn([], [], unfair=True)
    assert outcome is not None
    assert [delivery.body for _, delivery in outcome.delivered] == [b"3"]


def test_a_publisher_rings_as_many_waiting_consumers_as_it_has_messages(place: Place) -> None:
    sessions = [place.session(f"{number}") for number in range(3)]
    sessions[0].declare(PLAIN)
    for session in sessions:
        consume(session, "plain", 1)
        session.wait(0)
    publisher = place.session("publisher")
    publish(publisher, "plain", b"1", b"2")
    assert sorted(session.wait(0) for session in sessions) == [False, True, True]


def test_a_consumer_with_nothing_to_take_writes_nothing(place: Place) -> None:
    """A thousand idle looks must not write to the disk, nor keep others from the file."""
    session = place.session()
    session.declare(PLAIN)
    consume(session, "plain", 1)
    session.turn([], [])
    before = session._db.total_changes
    for _ in range(10):
        assert session.turn([], []) is None
        session.tick()
    assert session._db.total_changes == before


def test_messages_that_need_not_persist_cost_no_sync(place: Place) -> None:
    session = place.session()
    session.declare(PLAIN)

    def level_after(*persistent: bool) -> int:
        session.turn(
            [(Message(routing_key="plain", body=b"", persistent=each), None, None) for each in persistent], []
        )
        return session._db.execute("PRAGMA synchronous").fetchone()[0]

    assert [level_after(False), level_after(False, True), level_after(False)] == [1, 2, 1]


def test_an_exclusive_queue_of_a_dead_process_can_be_declared_at_once(place: Place) -> None:
    """A worker started again under its old name need not wait for the others to notice."""
    victim, heir = place.session("victim"), place.session("heir")
    control = Queue(name="control", exclusive=True)
    victim.declare(control)
    with pytest.raises(QueueMismatchError, match="control"):
        heir.declare(control)
    place.kill(victim)
    heir.declare(control)
    publish(heir, "control", b"x")
    assert bodies(heir, "control") == [b"x"]


def test_a_lasting_queue_cannot_be_declared_exclusive(place: Place) -> None:
    session = place.session()
    session.declare(PLAIN)
    with pytest.raises(QueueMismatchError, match="plain cannot be exclusive"):
        session.declare(Queue(name="plain", exclusive=True))


def test_another_connections_exclusive_queue_is_not_for_taking(place: Place) -> None:
    owner, other = place.session("owner"), place.session("other")
    owner.declare(Queue(name="control", exclusive=True))
    publish(other, "control", b"drain")
    with pytest.raises(BrokerError, match="control"):
        other.get("control")
    with pytest.raises(BrokerError, match="control"):
        consume(other, "control", 1)


def test_a_queue_must_be_declared_before_it_is_used(place: Place) -> None:
    session = place.session()
    for use in (session.get, session.purge, lambda name: consume(session, name, 1)):
        with pytest.raises(BrokerError, match="there is no queue nowhere"):
            use("nowhere")


def test_a_consumed_queue_that_someone_deleted_is_made_again(place: Place) -> None:
    session, other = place.session(), place.session("other")
    session.declare(UPLOADS)
    consume(session, "uploads", 1)
    other.delete("uploads")
    with capture() as logs:
        session.tick()
    publish(other, "uploads", b"x")
    assert [delivery.body for delivery in take(session)] == [b"x"]
    assert [entry["event"] for entry in logs] == ["broker.consumer_restored"]


def test_a_file_that_was_moved_away_is_made_again(place: Place) -> None:
    session = place.session()
    session.declare(PLAIN)
    consume(session, "plain", 1)
    place.path.rename(place.path.with_name("moved"))
    with capture() as logs:
        session.tick()
    publish(place.session("publisher"), "plain", b"x")
    assert [delivery.body for delivery in take(session)] == [b"x"]
    assert [entry["event"] for entry in logs] == ["broker.reconnected"]


def test_the_counters_agree_with_the_rows_whatever_was_done(place: Place) -> None:
    session, victim = place.session(), place.session("victim")
    session.declare(UPLOADS)
    session.declare(Queue(name="bounded", max_length=2, message_ttl=5.0))
    publish(session, "uploads", *[b"%d" % number for number in range(20)])
    publish(session, "bounded", *[b"%d" % number for number in range(200)])
    deliveries = [session.get("uploads") for _ in range(6)]
    settle(session, "ack", *deliveries[:2])
    settle(session, "retry", *deliveries[2:4])
    settle(session, "release", deliveries[4])
    settle(session, "retry", *[session.get("uploads") for _ in range(3)])
    session.get("bounded")
    place.clock.now += 10
    consume(victim, "uploads", 3)
    take(victim)
    place.kill(victim)
    session.tick()
    session.purge("bounded")
    for name in ("uploads", "uploads.dead", "bounded"):
        counted = session._db.execute(
            "SELECT count(*) FILTER (WHERE holder IS NULL), count(*) FILTER (WHERE holder IS NOT NULL) "
            "FROM messages JOIN queues ON queues.id = messages.queue WHERE queues.name = ?",
            (name,),
        ).fetchone()
        depth = session.depth(name)
        assert depth is not None
        assert (depth.messages_ready, depth.messages_unacknowledged) == counted, name


def test_an_exchange_copies_to_every_bound_queue_and_refuses_without_one(place: Place) -> None:
    session = place.session()
    for name in ("a", "b"):
        session.declare(Queue(name=name, bound_to="all"))
    outcome = session.turn(
        [(Message(exchange="all", body=b"x"), None, 1), (Message(exchange="none", body=b"x"), None, 2)], []
    )
    assert outcome is not None
    assert outcome.confirmed == [1]
    ((future, error),) = outcome.refused
    assert (future, type(error)) == (2, UnroutableError)
    assert bodies(session, "a") == bodies(session, "b") == [b"x"]


def test_freed_pages_are_used_again(place: Place) -> None:
    """A queue that is filled and drained for ever does not grow its file, nor its log."""
    session = place.session()
    session.declare(PLAIN)
    consume(session, "plain", 100)
    sizes = []
    for _ in range(6):
        for _ in range(20):
            outcome = session.turn([(Message(routing_key="plain", body=b"x" * 1000), None, None)] * 100, [])
            assert outcome is not None
            settle(session, "ack", *[delivery for _, delivery in outcome.delivered])
        sizes.append(place.path.stat().st_size + place.path.with_name("broker.sqlite-wal").stat().st_size)
    assert session.depth("plain") == QueueDepth(0, 0, 1)
    assert max(sizes[1:]) <= sizes[1] * 1.1
    assert sizes[-1] < 20_000_000


def test_one_that_waited_for_its_turn_while_another_proved_to_lead_does_not_lead_too(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = place.session(), place.session()
    transact = second._file.transact

    def transact_after_the_other(work: Callable[[], float | None], **how: Any) -> float | None:
        place.clock.now += 0.1
        assert first.claim("monitor", "first") == place.clock.now
        return transact(work, **how)

    monkeypatch.setattr(second._file, "transact", transact_after_the_other)
    assert second.claim("monitor", "second") is None
