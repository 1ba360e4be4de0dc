"""A decision as data: ordered steps, each with its numbers. `sentence.py` makes the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from upswell.analysis.sentence import sentence

Alarm = Literal["signals_lost", "bottleneck", "policy_failed", "fleet_full"]

RULES = "rules"
"""Who the rules of the user's own are, as the policy and as a guard."""

BY_HAND = "by_hand"
"""Who an operator is that set the number."""

REHEARSED = "other settings"
"""Who the other settings of `slo` are, of which a rejected option says what the rehearsal found."""

Inputs = Mapping[str, float]
NO_INPUTS: Inputs = {}


class Reason(Struct, frozen=True, gc=False):
    """Why, by whom: a constant template and the numbers that stand in it.

    `why` names its inputs and their units in braces; `sentence.py` says how. Nothing is formatted when
    deciding.
    """

    who: str
    why: str
    inputs: Inputs = NO_INPUTS


class Step(Struct, frozen=True, gc=False):
    """One step of a decision: `who` made `after` workers of `before`, and why. Equal numbers: a remark."""

    who: str
    before: int
    after: int
    why: str
    inputs: Inputs = NO_INPUTS


class Decision(Struct, frozen=True, kw_only=True, gc=False):
    """How many workers an application should have, and how that number came about.

    The first step begins at the present number, each other where the one before ended, and the last ends at
    `desired_workers`. `rejected` are options that were weighed and not taken. `held` says that nothing could
    be decided, so the number of workers stays. `alarms` last as long as their cause; the monitor logs their
    coming and going.
    """

    desired_workers: int
    steps: tuple[Step, ...]
    rejected: tuple[Reason, ...] = ()
    held: bool = False
    alarms: tuple[Alarm, ...] = ()
    standby_workers: int | None = None
    """To be kept connected and idle beyond those; None: as the settings say."""
    refused_workers: int = 0
    """So many more are wanted, and the platform refuses them at present."""

    @classmethod
    def of(cls, who: str, before: int, after: int, why: str, inputs: Inputs = NO_INPUTS) -> Decision:
        """Return a decision of one step."""
        return cls(desired_workers=after, steps=(Step(who, before, after, why, inputs),))

    @classmethod
    def hold(cls, who: str, current: int, why: str, inputs: Inputs = NO_INPUTS) -> Decision:
        """Return the decision to change nothing, because nothing can be decided."""
        return cls(desired_workers=current, steps=(Step(who, current, current, why, inputs),), held=True)

    def then(self, who: str, after: int, why: str, inputs: Inputs = NO_INPUTS) -> Decision:
        """Return this decision with one more step; with fewer workers the platform refuses none."""
        step = Step(who, self.desired_workers, after, why, inputs)
        refused = self.refused_workers if after >= self.desired_workers else 0
        return replace(self, desired_workers=after, steps=(*self.steps, step), refused_workers=refused)

    def limited(self, who: str, most: int, why: str, inputs: Inputs = NO_INPUTS) -> Decision:
        """Return this decision with no more than `most` workers, because the platform refuses the others."""
        refused = self.desired_workers - most
        return replace(self.then(who, most, why, inputs), refused_workers=refused)

    def alarmed(self, alarm: Alarm) -> Decision:
        """Return this decision with one more alarm."""
        return replace(self, alarms=(*self.alarms, alarm))

    def with_standby(self, workers: int) -> Decision:
        """Return this decision with so many workers on standby."""
        return replace(self, standby_workers=workers)

    @property
    def reason(self) -> str:
        """The decision in one sentence; made when asked for."""
        return sentence(self)

    @property
    def before(self) -> int:
        """The number of workers that the decision found."""
        return self.steps[0].before

    @property
    def wanted(self) -> int:
        """What was set by hand, else what the policy and the user's rules wanted, before any other guard."""
        by_hand = next((step for step in self.steps if step.who == BY_HAND), None)
        if by_hand is not None:
            return by_hand.after
        first = self.steps[0]
        wanted = first.after
        for step in self.steps[1:]:
            if step.who not in (first.who, RULES):
                break
            wanted = step.after
        return wanted

    @property
    def inputs(self) -> Inputs:
        """All numbers of all steps; of equal names the last one's."""
        return {name: value for step in self.steps for name, value in step.inputs.items()}
