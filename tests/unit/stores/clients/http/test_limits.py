from __future__ import annotations

import pytest

from upswell.errors import TemporaryUploadError
from upswell.stores.clients.http import limits
from upswell.stores.clients.http.limits import Patience, ReadLimits


@pytest.fixture(autouse=True)
def _window_of_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WINDOW_SECONDS", 10.0)


def body(min_throughput: float) -> ReadLimits:
    found = ReadLimits(Patience(1.0, 1.0, min_throughput), give_up_at=1e9)
    found.expect_body()
    return found


def test_a_sender_that_is_fast_enough_is_left_alone() -> None:
    sender = body(100.0)
    for _ in range(40):
        sender.received(1.0, 100)


def test_a_trickle_is_refused_when_one_window_was_waited() -> None:
    sender = body(100.0)
    for _ in range(9):
        sender.received(1.0, 5)
    with pytest.raises(TemporaryUploadError, match=r"min_throughput \(100 bytes/s\): 5"):
        sender.received(1.0, 5)


def test_a_slow_start_is_made_good_within_the_window_and_a_slow_end_is_not_made_good_by_a_fast_start() -> (
    None
):
    sender = body(100.0)
    sender.received(9.0, 0)
    sender.received(1.0, 10_000)
    with pytest.raises(TemporaryUploadError, match=r": 0$"):
        sender.received(10.0, 0)


def test_time_that_is_not_spent_waiting_does_not_count() -> None:
    """The reader was busy elsewhere: bytes that lie ready take no waiting."""
    sender = body(1e9)
    for _ in range(1000):
        sender.received(0.0, 1)


def test_without_a_minimum_nothing_is_too_slow() -> None:
    body(0.0).received(3600.0, 0)


def test_headers_have_a_deadline_and_no_minimum() -> None:
    sender = ReadLimits(Patience(1.0, 30.0, 100.0), give_up_at=1e9)
    sender.expect_headers(0.0)
    sender.received(20.0, 1)
    assert sender.wait(20.0) == 10.0
