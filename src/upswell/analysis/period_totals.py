"""What an hour, a day or a week brought: uploads against the objective, and what they cost. Pure.

The error budget is the number of uploads that may miss the objective: 5 of 100 where it says 95 %. An upload
misses it when it is late or dead. An objective that changed meanwhile counts as it was at each upload.
"""

from __future__ import annotations

from msgspec import Struct

ROUNDING = 1e-6
"""The sum of many (1 - share) is off by less than this."""


class PeriodTotals(Struct, frozen=True, kw_only=True, gc=False):
    """One application's sums over `hours` observed hours; `begin` and `end` are UTC seconds since 1970.

    `allowed` uploads may miss the objective. `failed` are attempts, of which each is made again. `scalings`
    are decisions that changed the number of workers.
    """

    app_id: str
    begin: float
    end: float
    hours: int = 1
    stored: int = 0
    in_time: int = 0
    dead: int = 0
    failed: int = 0
    allowed: float = 0.0
    worker_seconds: float = 0.0
    peak_workers: int = 0
    scalings: int = 0

    @property
    def ended(self) -> int:
        """Uploads that were stored or given up."""
        return self.stored + self.dead

    @property
    def late(self) -> int:
        """Uploads that were stored, and too late."""
        return self.stored - self.in_time

    @property
    def missed(self) -> int:
        """Uploads that missed the objective: late or dead."""
        return self.ended - self.in_time

    @property
    def attainment(self) -> float | None:
        """Share of the uploads that met the objective; None where none ended."""
        return self.in_time / self.ended if self.ended else None

    @property
    def held(self) -> bool | None:
        """Whether the objective was held; None where no upload ended."""
        return self.missed <= self.allowed + ROUNDING if self.ended else None

    @property
    def budget_left(self) -> float | None:
        """Share of the error budget that is left, negative where it is overdrawn; None where there is none.

        >>> PeriodTotals(app_id="a", begin=0.0, end=3600.0, stored=100, in_time=98, allowed=5.0).budget_left
        0.6
        """
        return 1 - self.missed / self.allowed if self.allowed else None
