"""What a rule does to the number of workers: set, add, multiply, at least, at most, hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.policies.rules.expressions import Expression

if TYPE_CHECKING:
    from upswell.policies.rules.expressions import Scope

ACTIONS = ("set", "add", "multiply", "at_least", "at_most", "hold")

MOST_WORKERS = 1_000_000
"""What a scale request can carry; the bounds of the settings stand around any rule."""


class Action(Struct, frozen=True):
    """One action; its number is fixed or an expression's."""

    name: str
    number: float = 0.0
    amount: Expression | None = None

    def apply(self, workers: int, current: int, scope: Scope) -> tuple[int, str]:
        """Return what becomes of `workers`, rounded up to whole ones, and the phrase that says so.

        Raises:
            ArithmeticError: the amount cannot be told.
        """
        if self.name == "hold":
            return current, f"hold, {current} stay"
        number = self.number if self.amount is None else self.amount.value(scope)
        if self.name == "set":
            after = _whole(number)
            return after, f"set {number:g}"
        if self.name == "add":
            return _whole(workers + number), f"{workers} {'-' if number < 0 else '+'} {abs(number):g}"
        if self.name == "multiply":
            return _whole(workers * number), f"{workers} x {number:g}"
        if self.name == "at_least":
            return max(workers, _whole(number)), f"at least {number:g}"
        return min(workers, _whole(number)), f"at most {number:g}"


def _whole(number: float) -> int:
    """Return the number of workers, with a little slack for what floats make of 3 x 1.1 x 10."""
    return min(MOST_WORKERS, max(0, math.ceil(min(number, MOST_WORKERS) - 1e-9)))
