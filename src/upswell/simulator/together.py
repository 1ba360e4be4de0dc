"""Several applications in step, under a common limit of workers.

In: one trace, policy and plant an application, and how many workers all may have together. Out: an outcome
each. Shares are max-min fair: who wants little gets it, the others the same; what is fair by priority is a
wrapper's business, not the world's.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from msgspec import Struct
from numpy import float64
from numpy.typing import NDArray

from upswell.errors import SettingsError
from upswell.policies.protocol import ScalingPolicy
from upswell.simulator.engine import Simulation
from upswell.simulator.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upswell.simulator.ledger import Outcome


class Entrant(Struct, frozen=True):
    """One application: its uploads in pieces, its policy, its plant."""

    chunks: Iterable[tuple[NDArray[float64], NDArray[float64]]]
    policy: ScalingPolicy
    plant: Plant


def simulate_together(entrants: Mapping[str, Entrant], limit: int) -> dict[str, Outcome]:
    """Return each application's outcome; all decide at the same instants.

    Raises:
        SettingsError: the plants decide at different intervals, or the limit is below their minimums.
    """
    intervals = {entrant.plant.decision_interval for entrant in entrants.values()}
    if len(intervals) > 1:
        raise SettingsError(f"decision_interval must be the same for all, got {sorted(intervals)}")
    least = sum(entrant.plant.min_workers for entrant in entrants.values())
    if limit < least:
        raise SettingsError(f"the common limit must be >= the sum of min_workers ({least}), got {limit}")
    simulations = {
        name: Simulation(entrant.chunks, entrant.policy, entrant.plant) for name, entrant in entrants.items()
    }
    running = {name: simulation for name, simulation in simulations.items() if not simulation.over}
    while running:
        wishes = {name: simulation.wish() for name, simulation in running.items()}
        minimums = [simulation.plant.min_workers for simulation in running.values()]
        shares = allot(list(wishes.values()), limit, minimums)
        for simulation, share in zip(running.values(), shares, strict=True):
            simulation.apply(share)
        running = {name: simulation for name, simulation in running.items() if not simulation.over}
    return {name: simulation.outcome() for name, simulation in simulations.items()}


def allot(wishes: Sequence[int], limit: int, minimums: Sequence[int]) -> list[int]:
    """Return max-min fair shares: nobody more than wished for, nobody less than the minimum.

    >>> allot([1, 9, 9], 10, [0, 0, 0])
    [1, 5, 4]
    """
    shares = list(minimums)
    left = limit - sum(shares)
    unmet = [(share, index) for index, share in enumerate(shares) if wishes[index] > share]
    heapify(unmet)
    while left > 0 and unmet:
        # The one with the least gets the next worker, the first of equals first.
        share, index = heappop(unmet)
        shares[index] = share + 1
        left -= 1
        if wishes[index] > share + 1:
            heappush(unmet, (share + 1, index))
    return shares
