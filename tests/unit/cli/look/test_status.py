from __future__ import annotations

from upswell.cli.look.status import Roster
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
