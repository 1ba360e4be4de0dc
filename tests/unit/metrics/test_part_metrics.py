"""What a part tells of itself: only while it does its work is it how things are."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from upswell.metrics.part_metrics import ScalerMetrics
from upswell.settings import Settings


@pytest.mark.parametrize(("state", "shown"), [("working", 1), ("waiting", 0)])
def test_a_scaler_that_waits_tells_its_counts_and_nothing_of_the_fleet(state: str, shown: int) -> None:
    """Another leads; two that told of the same workers would be added up."""
    scaler = SimpleNamespace(
        costs=SimpleNamespace(starts=1, start_failures=0, drains=0, crashes=0),
        reaches_fleet=False,
        full_applications=0,
        part_status=lambda: SimpleNamespace(state=state),
        workers=lambda: [SimpleNamespace(app_id="photos", phase="ready")],
    )
    figures = Counter(figure.metric for figure in ScalerMetrics(cast("Any", scaler), Settings()).figures())
    assert figures["upswell_fleet_workers"] == shown
    assert figures["upswell_fleet_reachable"] == shown
    assert figures["upswell_worker_starts_total"] == 1
