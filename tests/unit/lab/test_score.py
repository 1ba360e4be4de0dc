from __future__ import annotations

import pytest

from upswell.errors import TraceError
from upswell.lab.score import score


def test_score_is_the_cost_ratio_while_the_objective_is_kept() -> None:
    assert score(120.0, 100.0, attainment=0.995, share=0.99) == pytest.approx(1.2)


def test_score_grows_with_the_share_that_was_missed() -> None:
    assert score(120.0, 100.0, attainment=0.96, share=0.99) == pytest.approx(4.8)


def test_score_against_an_oracle_that_did_nothing_is_refused() -> None:
    with pytest.raises(TraceError, match="must be > 0"):
        score(1.0, 0.0, 1.0, 0.99)
