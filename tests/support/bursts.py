"""Bursts that make a fleet grow and shrink all the time: the load on which unknown was read as zero."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np

from upswell.settings import Slo
from upswell.simulator.world import World
from upswell.workload.arrivals import Phase, piecewise
from upswell.workload.distributions import service_times

if TYPE_CHECKING:
    from numpy.typing import NDArray

WORLD = World(
    slo=Slo(0.95, 30.0),
    start_delay=0.14,
    stop_delay=0.8,
    initial_workers=0,
    initial_measured=True,
    max_workers=30,
)
"""Worker processes of one slot, as they start and stop on one machine."""


def bursts(seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return arrivals and services: 0.5 a second, twice 3 a second for a minute, 3.95 s each on average."""
    phases = [
        Phase("calm", 60, 0.5),
        Phase("burst", 60, 3.0),
        Phase("calm", 120, 0.5),
        Phase("burst", 60, 3.0),
    ]
    arrivals = np.array(list(piecewise(phases, Random(seed))))
    return arrivals, service_times("lognormal(3.95, 0.5)").draw(np.random.default_rng(seed), len(arrivals))
