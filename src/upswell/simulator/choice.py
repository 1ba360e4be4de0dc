"""The best of all settings, by what their shadow fleets cost and missed.

In: sums over the rehearsed uploads, and what was expected before. Out: which setting to follow. It must not
know Python objects, only arrays and numbers: `kernel.py` compiles this same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from upswell.policies.slo.staffing import Floats

COST, LATE, STARTS, SPREAD, LATE_BEFORE = range(5)
"""Rows of the sums, a column a setting, old uploads counting less: worker-seconds, late uploads, workers that
were asked for, squares of what was late in each episode, uploads that were late before the present one."""
_SQUARE = 2.0
"""The power that is a product everywhere: others differ in the last digit from machine to machine."""


def best(  # noqa: PLR0917 - numba calls by position only where that is fast
    sums: Floats,
    expected_cost: Floats,
    expected_late: Floats,
    following: int,
    count: float,
    prior: float,
    allowed: float,
    limit: float,
    start_cost: float,
    deviations: float,
    exponent: float,
    gain: float,
) -> int:
    """Return the setting to follow: the best, unless it gains too little over the one followed.

    Args:
        sums: what was rehearsed.
        expected_cost: of each setting, before anything was: see `SettingPrior`.
        expected_late: its late uploads.
        following: the setting followed now.
        count: uploads rehearsed.
        prior: late uploads allowed that the prior counts for.
        allowed: share of uploads that may be late.
        limit: late uploads above which a setting gets dearer.
        start_cost: seconds of a worker that a start costs beyond its time.
        deviations: standard deviations added to the late uploads.
        exponent: how fast a setting gets dearer.
        gain: least share by which another must be cheaper.
    """
    late = sums[LATE] + prior * expected_late
    # Uploads of an episode share their fate, so it counts with the square of what was late in it.
    present = sums[LATE] - sums[LATE_BEFORE]
    variance = sums[SPREAD] + present * present + prior * expected_late + 1
    late = late + deviations * np.sqrt(np.maximum(variance, late + 1))
    cost = expected_cost
    if count:
        # The prior is what its uploads would have cost, had they cost here what these did.
        paid = sums[COST] + start_cost * sums[STARTS]
        unit = np.median(paid / expected_cost) / count
        cost = paid + unit * prior / allowed * expected_cost
    excess = np.maximum(1.0, late / limit)
    score = cost * (excess * excess if exponent == _SQUARE else excess**exponent)
    chosen = int(np.argmin(score))
    return following if score[chosen] > score[following] * (1 - gain) else chosen
