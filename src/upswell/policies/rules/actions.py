"""What a rule does to the number of workers: set, add, multiply, at least, at most, hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.policies.rules.expressions import Expression

if TYPE_CHECKING:
    from upswell.policies.rules.expressions import Scope

MOST_WORKERS = 1_000_000
"""What a scale request can carry; the bounds of the settings stand around any rule."""


_WHY = {
    "set": "set {amount}",
    "add": "{amount:+}",
    "multiply": "x {amount}",
    "at_least": "at least {amount}",
    "at_most": "at most {amount}",
    "hold": "hold {amount}",
}
ACTIONS = tuple(_WHY)


class Action(Struct, frozen=True):
    """One action; its number is fixed or an expression's."""

    name: str
    number: float = 0.0
    amount: Expression | None = None

    @property
    def why(self) -> str:
        """The template that says what it does; its input is `amount`."""
        return _WHY[self.name]

    def apply(self, workers: int, current: int, scope: Scope) -> tuple[int, float]:
        """Return what becomes of `workers`, rounded up to whole ones, and the amount.

        Raises:
            ArithmeticError: the amount cannot be computed.
        """
        if self.name == "hold":
            return current, current
        number = self.number if self.amount is None else self.amount.value(scope)
        if self.name == "set":
            after = _whole(number)
        elif self.name == "add":
            after = _whole(workers + number)
        elif self.name == "multiply":
            after = _whole(workers * number)
        elif self.name == "at_least":
            after = max(workers, _whole(number))
        else:
            after = min(workers, _whole(number))
        return after, number


def _whole(number: float) -> int:
    """Return the number of workers, with a little slack for what floats make of 3 x 1.1 x 10."""
    return min(MOST_WORKERS, max(0, math.ceil(min(number, MOST_WORKERS) - 1e-9)))
