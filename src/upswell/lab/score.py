"""How good an autoscaler was: its cost over a clairvoyant's, times what it missed of the objective.

In: what a policy cost and missed, what the oracle cost. Out: R; 1 is perfect.
"""

from __future__ import annotations

from upswell.errors import TraceError


def score(cost: float, oracle_cost: float, attainment: float, share: float) -> float:
    """Return R = (C / C0) x max(1, (1 - A) / (1 - p)); costs in the same unit.

    One and a half times the clairvoyant's cost, with twice as many late as allowed:

    >>> round(score(150.0, 100.0, 0.98, 0.99), 6)
    3.0

    Raises:
        TraceError: the oracle did nothing, so there is nothing to compare with.
    """
    if oracle_cost <= 0:
        raise TraceError(f"the oracle's cost must be > 0 to compare with, got {oracle_cost:g}")
    return cost / oracle_cost * max(1.0, (1 - attainment) / (1 - share))
