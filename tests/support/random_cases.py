"""Whole cases drawn at random: arrivals, services and the world they meet, over every ratio that matters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from support.processes import PROCESSES, SERVICES
from upswell.settings import Slo
from upswell.simulator.world import World

if TYPE_CHECKING:
    from support.processes import Floats

LOADS = (0.05, 200.0)
"""Mean busy slots."""
OBJECTIVES = (5.0, 300.0)
"""Seconds."""
SERVICE_SHARES = (0.02, 0.3)
"""Mean service time, in objectives."""
START_SHARES = (0.05, 2.0)
"""Start-up delay, in objectives; one case in eight has none."""
USUAL_UPLOADS, MOST_UPLOADS, FEWEST_UPLOADS = 12_000, 60_000, 400
_LONGEST_SPAN = 40_000.0
_SHORTEST_SPAN = 30.0
"""In objectives or start-up delays."""
_LONGEST_SERVICE = 0.9
"""Of the objective: longer ones would be late under any policy."""


class Case(NamedTuple):
    """One case: what comes, and the world."""

    name: str
    arrivals: Floats
    services: Floats
    world: World


def draw(seed: int, number: int) -> Case:
    """Return a case; the same seed and number give the same one. The process goes round with the number."""
    rng = np.random.default_rng([seed, number])
    process = PROCESSES[number % len(PROCESSES)]
    service = SERVICES[rng.integers(len(SERVICES))]

    def between(bounds: tuple[float, float]) -> float:
        return float(np.exp(rng.uniform(*np.log(bounds))))

    objective = between(OBJECTIVES)
    start_delay = objective * between(START_SHARES) * float(rng.random() > 1 / 8)
    span = _SHORTEST_SPAN * max(objective, start_delay)
    # Low loads need short services, or there are too few uploads to judge by; high ones long ones.
    load = between(LOADS)
    mean = min(objective * between(SERVICE_SHARES), load * _LONGEST_SPAN / FEWEST_UPLOADS)
    load = min(load, MOST_UPLOADS * mean / span)
    rate = load / mean
    span = min(_LONGEST_SPAN, max(span, USUAL_UPLOADS / rate))
    arrivals = process(rng, rate, span)[:MOST_UPLOADS]
    services = service(rng, mean, len(arrivals)).clip(0, _LONGEST_SERVICE * objective)
    name = (
        f"{process.__name__}, {service.__name__} {mean:.3g} s, within {objective:.3g} s, "
        f"start-up {start_delay:.3g} s, load {load:.3g}"
    )
    world = World(slo=Slo(0.99, objective), start_delay=start_delay, window=max(60.0, math.ceil(objective)))
    return Case(name, arrivals, services, world)
