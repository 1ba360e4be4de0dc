from __future__ import annotations

from msgspec.structs import replace

from upswell.broker.protocol import QueueDepth
from upswell.cli.look.status import AppState
from upswell.cli.look.status_table import in_flight, workers
from upswell.client.roster import Roster
from upswell.messages import WorkerStatus, encode


def status(worker_id: str, state: str) -> bytes:
    return encode(WorkerStatus(app_id="e1", worker_id=worker_id, state=state, busy=1, slots=4, at=1.0))


def test_a_worker_counts_with_its_newest_state_until_it_stops_or_falls_silent() -> None:
    roster = Roster()
    roster.take(status("a", "ready"), now=0.0)
    roster.take(status("b", "ready"), now=5.0)
    roster.take(status("a", "draining"), now=6.0)
    assert {w.worker_id: w.state for w in roster.workers(now=7.0)} == {"a": "draining", "b": "ready"}
    roster.take(status("a", "stopped"), now=8.0)
    assert [w.worker_id for w in roster.workers(now=8.0)] == ["b"]
    assert roster.workers(now=5.0 + Roster.SILENT_SECONDS + 1) == []


def test_rubbish_among_the_statuses_is_let_pass() -> None:
    roster = Roster()
    for body in (b"", b"rubbish", b"[" * 100_000, status("a", "ready").replace(b"ready", b"happy")):
        roster.take(body, now=0.0)
    assert roster.workers(now=0.0) == []


def test_consumers_that_sent_no_status_are_counted_as_not_heard() -> None:
    """They run uploads on slots that nobody knows: "1 ready" alone would be untrue."""
    state = AppState(
        app_id="e1",
        slo="95% < 30s",
        upload_queue="e1_upload",
        depth=QueueDepth(messages_ready=0, messages_unacknowledged=3, consumers=3),
        dead=None,
        workers={"ready": 1},
        busy_slots=1,
        slots=4,
        latest=None,
        decisions=[],
    )
    assert state.unheard == 2
    assert workers(state) == "1 ready, 2 not heard"
    assert workers(replace(state, depth=None)) == "1 ready"
    assert replace(state, depth=None).unheard is None


def seen(unacknowledged: int | None, consumers: int, ready: int, busy: int) -> AppState:
    return AppState(
        app_id="e1",
        slo="95% < 30s",
        upload_queue="e1_upload",
        depth=QueueDepth(messages_ready=0, messages_unacknowledged=unacknowledged, consumers=consumers),
        dead=None,
        workers={"ready": ready} if ready else {},
        busy_slots=busy,
        slots=4,
        latest=None,
        decisions=[],
    )


def test_in_flight_is_what_the_workers_say_where_the_broker_does_not() -> None:
    """RabbitMQ tells the depth of a queue without what is in flight; "0" would be untrue."""
    told = {
        "3": seen(3, consumers=9, ready=1, busy=2),
        "2": seen(None, consumers=1, ready=1, busy=2),
        "2 or more": seen(None, consumers=2, ready=1, busy=2),
        "unknown": seen(None, consumers=2, ready=0, busy=0),
    }
    assert {words: in_flight(state.in_flight) for words, state in told.items()} == {
        words: words for words in told
    }
