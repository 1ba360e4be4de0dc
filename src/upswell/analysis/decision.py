"""What a policy decided, and why."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

_NO_NUMBERS: dict[str, float] = {}


class Decision(Struct, frozen=True, kw_only=True):
    """How many workers are wanted, the sentence that explains it, and the numbers in it.

    `rejected` holds the options that were weighed and not taken, each a short sentence. `held` says that
    nothing could be decided, so that the number of workers stays as it is.
    """

    desired_workers: int
    reason: str
    numbers: dict[str, float] = _NO_NUMBERS
    rejected: tuple[str, ...] = ()
    held: bool = False

    @classmethod
    def hold(cls, current: int, why: str) -> Decision:
        """Return the decision to change nothing, because `why`."""
        return cls(desired_workers=current, reason=f"hold {current}: {why}", held=True)

    @classmethod
    def by_rule(cls, desired_workers: int, reason: str, numbers: dict[str, float] = _NO_NUMBERS) -> Decision:
        """Return the decision of a fixed rule, which weighs no options: it gives one number."""
        return cls(
            desired_workers=desired_workers,
            reason=reason,
            numbers=numbers,
            rejected=(f"any other number than {desired_workers}: the rule gives one only",),
        )

    def changed(self, desired_workers: int, why: str) -> Decision:
        """Return this decision as a wrapper changed it; what it wanted before stands among the rejected."""
        return replace(
            self,
            desired_workers=desired_workers,
            reason=f"{self.reason}; {why}",
            rejected=(*self.rejected, f"{self.desired_workers} workers: {why}"),
        )
