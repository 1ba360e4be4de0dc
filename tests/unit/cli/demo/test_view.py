"""What the demo says of decisions, and which workers it counts."""

from __future__ import annotations

from typing import get_args

from upswell.analysis.decision import Decision
from upswell.cli.demo.view import SHOWN, change
from upswell.scaler.plan import Phase


def test_only_a_decision_that_changes_the_number_of_workers_is_a_line() -> None:
    assert change(Decision.of("slo", 2, 2, "calm")) is None
    assert change(Decision.of("slo", 2, 3, "a burst")) == "scale out 2 → 3: a burst"


def test_the_workers_counted_are_in_phases_that_the_scaler_knows() -> None:
    """`ready` was called `active` once, and the demo counted none."""
    assert set(SHOWN) <= set(get_args(Phase))
