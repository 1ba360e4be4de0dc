from __future__ import annotations

import random
from typing import Any

import pytest

from upswell.handlers.protocol import Stored
from upswell.worker.outcomes import backoff, url_of, waiting_time


def test_backoff_doubles_with_each_attempt_up_to_thirty_seconds() -> None:
    rng = random.Random(7)
    for attempt, longest in [(1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (1000, 30.0)]:
        waits = [backoff(attempt, 0.5, rng) for _ in range(200)]
        assert 0.75 * longest <= min(waits) < max(waits) <= longest


@pytest.mark.parametrize(
    ("published_at", "waited"), [(None, None), (90.0, 10.0), (100.0, 0.0), (1e11, 0.0), (-2e8, None)]
)
def test_waiting_time_is_never_negative_and_unknown_where_it_cannot_be(
    published_at: float | None, waited: float | None
) -> None:
    assert waiting_time(published_at, 100.0) == waited


@pytest.mark.parametrize("url", [None, "", "x" * 8193, "s3://b/a\nb", "s3://b/\ud800", 7])
def test_an_address_that_no_report_can_carry_is_left_out(url: Any) -> None:
    assert url_of(Stored("k", 1, url=url)) is None


def test_an_address_is_told_as_the_handler_tells_it() -> None:
    assert (
        url_of(Stored("k", 1, url="s3://bucket/föhn \U0001f469\u200d.jpg"))
        == "s3://bucket/föhn \U0001f469\u200d.jpg"
    )
