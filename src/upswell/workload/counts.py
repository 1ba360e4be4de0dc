"""A trace of counts as uploads: `t_seconds,count` says how many came in [t, t + step).

In: the two columns and a generator of random numbers. Out: sorted arrivals. Where in its bin an upload came
is not in the trace; it is drawn uniformly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upswell.errors import TraceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_UPLOADS = 50_000_000
"""What a trace may grow to: half a gigabyte of arrivals and as much of service times."""
_TOLERANCE = 1e-6


def step_of(times: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Return the seconds that a row stands for: the smallest distance of two rows; others are gaps.

    Raises:
        TraceError: fewer than two rows, rows not sorted, or counts that are no whole numbers >= 0.
    """
    if len(times) < 2:  # noqa: PLR2004 - a distance needs two
        raise TraceError(f"a trace of counts must have at least two rows, got {len(times)}")
    _whole(times, counts)
    steps = np.diff(times)
    row = int(np.argmin(steps))
    if steps[row] <= 0:
        raise TraceError(
            f"t_seconds must be sorted, each after the one before, got {times[row + 1]:g} after "
            f"{times[row]:g} (row {row + 2})"
        )
    return float(steps[row])


def _whole(times: NDArray[np.float64], counts: NDArray[np.float64]) -> None:
    """Raise a TraceError at the first row that is no instant >= 0 or no whole number >= 0."""
    for name, values in (("t_seconds", times), ("count", counts)):
        wrong = ~np.isfinite(values) | (values < 0)
        if name == "count":
            wrong |= np.abs(values - np.round(values)) > _TOLERANCE
        if wrong.any():
            row = int(np.argmax(wrong))
            rule = "a whole number >= 0" if name == "count" else "a number >= 0"
            raise TraceError(f"{name} must be {rule}, got {values[row]:g} (row {row + 1})")


def spread(
    times: NDArray[np.float64],
    counts: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    thin: float = 1.0,
) -> NDArray[np.float64]:
    """Return sorted arrivals, uniform within each row's step, which begins at its `times` (seconds).

    `thin` is the share of the uploads to keep, each drawn independently.

    Raises:
        TraceError: as `step_of`, or more uploads than `MOST_UPLOADS`.
    """
    step = step_of(times, counts)
    whole = np.round(counts).astype(np.int64)
    if thin < 1:
        whole = rng.binomial(whole, thin)
    total = int(whole.sum())
    if total > MOST_UPLOADS:
        raise TraceError(f"a trace must have at most {MOST_UPLOADS:,} uploads, got {total:,}; thin it")
    return np.sort(np.repeat(times, whole) + rng.random(total) * step)
