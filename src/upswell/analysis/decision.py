"""What a policy decided, and why."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

Alarm = Literal["signals_lost", "bottleneck"]

_NO_NUMBERS: dict[str, float] = {}


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """How many workers are wanted, the sentence that explains it, and the numbers in it.

    `rejected` holds the options that were weighed and not taken, each a short sentence. `held` says that
    nothing could be decided, so that the number of workers stays as it is. `wished` is what the policy itself
    wanted, where a wrapper changed it. `alarms` name what a person should know of: they last as long as their
    cause, and the monitor logs their coming and going.
    """

    desired_workers: int
    reason: str
    numbers: dict[str, float] = _NO_NUMBERS
    rejected: tuple[str, ...] = ()
    held: bool = False
    wished: int | None = None
    alarms: tuple[Alarm, ...] = ()

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
            wished=self.desired_workers if self.wished is None else self.wished,
        )

    def alarmed(self, alarm: Alarm) -> Decision:
        """Return this decision with one alarm more."""
        return replace(self, alarms=(*self.alarms, alarm))
