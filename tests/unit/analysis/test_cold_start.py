from __future__ import annotations

import pytest

from upswell.analysis.cold_start import cold_start
from upswell.settings import Settings


def test_what_no_fleet_can_answer_from_zero_is_said_with_what_would_help_and_its_price() -> None:
    own = Settings(slo="99% < 30s", min_workers=0, price_per_worker_hour=0.04, currency="EUR")
    assert cold_start(own, 60.0) == (
        "no fleet that starts in 60 s can answer 99 % within 30 s from zero workers; min_workers = 1 or "
        "standby_workers = 1 would keep one ready, for 0.04 EUR an hour"
    )


@pytest.mark.parametrize(
    ("changes", "start_delay"),
    [({}, 10.0), ({}, None), ({"min_workers": 1}, 60.0), ({"standby_workers": 1}, 60.0)],
)
def test_nothing_is_said_where_a_worker_is_ready_in_time_or_always_there_or_nothing_is_known(
    changes: dict[str, int], start_delay: float | None
) -> None:
    own = Settings(**{"slo": "99% < 30s", "min_workers": 0, **changes})
    assert not cold_start(own, start_delay)
