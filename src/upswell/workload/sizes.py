"""How large uploads are: heavy-tailed distributions of bytes, cut at both ends.

What comes in: parameters and a `random.Random`. What goes out: whole numbers of bytes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


def pareto(rng: random.Random, *, alpha: float, smallest: int, largest: int) -> int:
    """Draw from the Pareto distribution of shape `alpha`, truncated to `smallest` to `largest` bytes.

    By inversion of F(x) = (1 - (L/x)^a) / (1 - (L/H)^a); see Crovella, Harchol-Balter and Murta, "Task
    assignment in a distributed system", 1998, where it is called bounded Pareto.
    """
    tail = 1 - rng.random() * (1 - (smallest / largest) ** alpha)
    return min(largest, math.floor(smallest * tail ** (-1 / alpha)))


def pareto_mean(*, alpha: float, smallest: int, largest: int) -> float:
    """Return the mean of `pareto` in bytes (`alpha` other than 1).

    >>> round(pareto_mean(alpha=1.5, smallest=1000, largest=10**9))
    2997
    """
    ratio = smallest / largest
    scale = alpha / (alpha - 1) * smallest / (1 - ratio**alpha)
    return scale * (1 - ratio ** (alpha - 1))


def lognormal(rng: random.Random, *, median: int, sigma: float, smallest: int, largest: int) -> int:
    """Draw from that lognormal distribution; what falls outside the ends is drawn again."""
    while True:
        size = math.floor(rng.lognormvariate(math.log(median), sigma))
        if smallest <= size <= largest:
            return size
