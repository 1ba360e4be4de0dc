"""Who is heard is known, however many were heard before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.client import roster as module
from upswell.client.roster import Roster
from upswell.messages import WorkerStatus, encode

if TYPE_CHECKING:
    import pytest


def status(worker_id: str, after: float = 0.0, moved: int | None = None) -> bytes:
    return encode(
        WorkerStatus(
            app_id="photos",
            worker_id=worker_id,
            state="ready",
            busy=0,
            slots=1,
            at=1_795_000_000.0 + after,
            moved_bytes=moved,
        )
    )


def test_at_the_bound_whoever_is_silent_makes_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HEARD", 3)
    roster = Roster()
    for number in range(3):
        roster.take(status(f"old-{number}"), 0.0)
    roster.take(status("old-0"), 15.0)
    roster.take(status("new-0"), 15.0)
    roster.take(status("new-1"), 16.0)
    roster.take(status("too-many"), 17.0)
    assert {worker.worker_id for worker in roster.workers(17.0)} == {"old-0", "new-0", "new-1"}
    assert roster.bytes_per_second("old-1") is None


def test_a_rate_is_that_of_the_last_seconds_however_long_a_worker_is_known() -> None:
    """The page listens for days: a night without uploads must not make the morning's rate small."""
    roster = Roster()
    for second in range(3600):
        roster.take(status("w1", second, 0), float(second))
    for second in range(3600, 3660):
        roster.take(status("w1", second, (second - 3599) * 1000), float(second))
    assert roster.bytes_per_second("w1") == 1000.0


def test_a_worker_that_begins_anew_under_its_name_is_measured_from_there() -> None:
    roster = Roster()
    for second in range(60):
        roster.take(status("w1", second, 1_000_000 + second * 1000), float(second))
    for second in range(60, 63):
        roster.take(status("w1", second, (second - 60) * 500), float(second))
    assert roster.bytes_per_second("w1") == 500.0
