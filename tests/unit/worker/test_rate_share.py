from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.messages import WorkerStatus
from upswell.worker.rate_share import RateShare


def status(worker_id: str, busy: int, **changes: Any) -> WorkerStatus:
    values: dict[str, Any] = {"app_id": "e1", "state": "ready", "slots": 8, "at": 0.0}
    return WorkerStatus(**{**values, "worker_id": worker_id, "busy": busy, **changes})


def share(worker_id: str = "w0", limit: float = 1000.0, own_limit: float = 0.0) -> RateShare:
    return RateShare("e1", worker_id, limit=limit, own_limit=own_limit, interval=1.0)


def test_a_worker_alone_has_all_of_it() -> None:
    assert share().rate(0.0, 3) == 1000.0


def test_each_upload_gets_the_same_on_whichever_worker_it_is() -> None:
    mine = share()
    mine.hear(status("w1", busy=6), 0.0)
    mine.hear(status("w0", busy=9), 0.0)  # its own
    assert mine.rate(0.0, 2) == 250.0
    assert mine.rate(0.0, 6) == 500.0


def test_idle_workers_and_other_applications_take_nothing() -> None:
    mine = share()
    mine.hear(status("w1", busy=0, state="standby"), 0.0)
    mine.hear(status("w2", busy=5, app_id="e2"), 0.0)
    assert mine.rate(0.0, 1) == 1000.0


@pytest.mark.parametrize("how", ["silent", "stopped"])
def test_the_share_of_a_worker_that_is_gone_falls_to_the_others(how: str) -> None:
    mine = share()
    mine.hear(status("w1", busy=1), 0.0)
    assert mine.rate(5.0, 1) == 500.0
    if how == "stopped":
        mine.hear(status("w1", busy=0, state="stopped"), 5.0)
    assert mine.rate(5.0 if how == "stopped" else 5.1, 1) == 1000.0


def test_a_workers_own_limit_holds_besides() -> None:
    assert share(own_limit=300.0).rate(0.0, 1) == 300.0


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10))
def test_workers_that_know_of_each_other_keep_to_the_limit_together(busy: list[int]) -> None:
    workers = [share(f"w{number}") for number in range(len(busy))]
    for worker in workers:
        for number, count in enumerate(busy):
            worker.hear(status(f"w{number}", count), 0.0)
    total = sum(worker.rate(0.0, count) for worker, count in zip(workers, busy, strict=True))
    assert total == pytest.approx(1000.0)
