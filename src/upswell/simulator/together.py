"""Several applications in step, under a common limit of workers.

In: one trace, policy, plant and priority an application, and how many workers all may have together. Out: an
outcome each. Who gets less than was wanted is decided by the very code of the monitor's `max_workers_total`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace
from numpy import float64
from numpy.typing import NDArray

from upswell.errors import SettingsError
from upswell.policies.guards.global_limit import Bid, limited
from upswell.policies.protocol import ScalingPolicy
from upswell.simulator.engine import Simulation
from upswell.simulator.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upswell.simulator.ledger import Outcome


class Entrant(Struct, frozen=True):
    """One application: its uploads in pieces, its policy, its plant; higher priorities are served first."""

    chunks: Iterable[tuple[NDArray[float64], NDArray[float64]]]
    policy: ScalingPolicy
    plant: Plant
    priority: int = 0


def simulate_together(entrants: Mapping[str, Entrant], limit: int) -> dict[str, Outcome]:
    """Return each application's outcome; all decide at the same instants.

    Raises:
        SettingsError: the plants decide at different intervals, or the limit is below 1 or their minimums.
    """
    intervals = {entrant.plant.decision_interval for entrant in entrants.values()}
    if len(intervals) > 1:
        raise SettingsError(f"decision_interval must be the same for all, got {sorted(intervals)}")
    least = sum(entrant.plant.min_workers for entrant in entrants.values())
    if limit < max(1, least):
        raise SettingsError(
            f"the common limit must be >= 1 and the sum of min_workers ({least}), got {limit}"
        )
    simulations = {
        name: Simulation(entrant.chunks, entrant.policy, replace(entrant.plant, app_id=name))
        for name, entrant in entrants.items()
    }
    running = {name: simulation for name, simulation in simulations.items() if not simulation.over}
    while running:
        bids = [_bid(simulation, entrants[name].priority) for name, simulation in running.items()]
        for simulation, decision in zip(running.values(), limited(bids, limit), strict=True):
            simulation.apply(decision.desired_workers)
        running = {name: simulation for name, simulation in running.items() if not simulation.over}
    return {name: simulation.outcome() for name, simulation in simulations.items()}


def _bid(simulation: Simulation, priority: int) -> Bid:
    """Return what one application wants, within its own bounds."""
    snapshot, decision = simulation.opinion()
    plant = simulation.plant
    bounded = min(max(decision.desired_workers, plant.min_workers), plant.max_workers)
    if bounded != decision.desired_workers:
        decision = decision.changed(bounded, f"between {plant.min_workers} and {plant.max_workers} workers")
    return Bid(snapshot, decision, plant.min_workers, priority)
