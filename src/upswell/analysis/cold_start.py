"""What no fleet can do that must be started first: answer within less than a start-up takes.

In: the objective, the start-up delay measured, what is kept at all times. Out: a sentence, empty where all is
well. It must not know: policies, fleets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from upswell.settings import Settings


def cold_start(own: Settings, start_delay: float | None) -> str:
    """Return what an application's objective needs that its settings do not give; empty where nothing.

    Args:
        own: the application's settings.
        start_delay: seconds from asking for a worker to its being ready, as measured; None: unknown.
    """
    objective = own.objective
    if start_delay is None or start_delay < objective.seconds or own.min_workers or own.standby_workers:
        return ""
    hour = own.price_per_worker_hour
    price = f"{hour:.4g} {own.currency} an hour" if hour else "a worker-hour an hour"
    return (
        f"no fleet that starts in {start_delay:.3g} s can answer {objective.share * 100:g} % within "
        f"{objective.seconds:g} s from zero workers; min_workers = 1 or standby_workers = 1 would keep one "
        f"ready, for {price}"
    )
