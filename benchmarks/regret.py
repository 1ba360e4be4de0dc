"""How much dearer `slo` is than the best fixed setting of its family, which only hindsight can name.

In: the uploads of a case, and its facts (`benchmarks/autoscalers.py`). Out: R of a run that chooses, R of the
best of all shadows kept to the end with nothing forgotten, R of a run that follows that one from the first
upload on, and from when on the setting followed last was followed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from upswell.lab.score import score
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY
from upswell.settings import Slo
from upswell.simulator.engine import Simulation, simulate
from upswell.simulator.jobs import in_chunks
from upswell.simulator.rehearsal import Caution
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

REMEMBER_ALL = Caution(late_remembered=math.inf, episodes_remembered=math.inf, gain=1.0)
"""Nothing is forgotten, and nothing ever chosen."""


class Regret(Struct, frozen=True, kw_only=True):
    """One case."""

    achieved: float
    """R of the run that chooses."""
    attainment: float
    best: float
    """R of the best shadow."""
    replayed: float
    """R of a run that follows the best shadow's setting from the beginning."""
    setting: str
    since: float
    """Share of the uploads that had come when the final setting was chosen; 0: the first one stayed."""
    changes: int

    @property
    def ratio(self) -> float:
        """R achieved over that of the best fixed setting."""
        return self.achieved / self.best


def world_of(facts: dict[str, Any], interval: float = 2.0) -> World:
    """Return the world of a case."""
    return World(
        slo=Slo(facts["share"], facts["slo_s"]),
        start_delay=facts["start_delay_s"],
        slots=facts.get("slots", 1),
        initial_workers=1,
        max_workers=500,
        decision_interval=interval,
    )


def regret(
    arrivals: Floats,
    services: Floats,
    facts: dict[str, Any],
    oracle_cost: float,
    make: Callable[[], RehearsedPolicy] = RehearsedPolicy,
) -> Regret:
    """Return the regret of a policy on one case.

    Args:
        arrivals: sorted instants, in seconds.
        services: seconds that each upload takes.
        facts: the case's entry in cases.json.
        oracle_cost: of the clairvoyant, in worker-seconds.
        make: returns the policy.
    """
    world = world_of(facts)
    policy = make()
    simulation = Simulation(in_chunks(arrivals, services), policy, world)
    following, since, changes = policy.policy.following, -math.inf, 0
    while not simulation.over:
        simulation.step()
        if policy.policy.following != following:
            following, since, changes = policy.policy.following, simulation.now, changes + 1
    outcome = simulation.outcome()
    costs, late, count = kept_to_the_end(arrivals, services, world)
    all_r = [
        score(cost, oracle_cost, 1 - missed / count, world.slo.share)
        for cost, missed in zip(costs.tolist(), late.tolist(), strict=True)
    ]
    best = int(np.argmin(all_r))
    fixed = SloPolicy(first=best)
    fixed.follow(best, "the best in hindsight")
    replayed = simulate(arrivals, services, fixed, world)
    return Regret(
        achieved=score(outcome.cost, oracle_cost, outcome.attainment, world.slo.share),
        attainment=outcome.attainment,
        best=all_r[best],
        replayed=score(replayed.cost, oracle_cost, replayed.attainment, world.slo.share),
        setting=str(FAMILY[best]),
        since=float(np.searchsorted(arrivals, since) / len(arrivals)),
        changes=changes,
    )


def kept_to_the_end(arrivals: Floats, services: Floats, world: World) -> tuple[Floats, Floats, float]:
    """Return each shadow's cost and late uploads when it has seen all of a trace, and the uploads it saw.

    Hindsight knows how long a start takes. A run that never starts a worker would never measure it, and its
    shadows would start theirs in a time that was only assumed.
    """
    policy = RehearsedPolicy(caution=REMEMBER_ALL)
    simulation = Simulation(in_chunks(arrivals, services), policy, replace(world, initial_measured=True))
    while not simulation.over:
        simulation.step()
    # a shadow is one objective behind, and bundles rounds
    until = simulation.now + world.slo.seconds + 2 * world.decision_interval
    while simulation.now < until:
        simulation.step()
    assert policy.stage is not None
    assert policy.stage.rehearsal is not None
    shadows = policy.stage.rehearsal.shadows
    return shadows.cost, shadows.late, shadows.count
