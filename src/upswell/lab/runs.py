"""One policy tried on some traffic, and the clairvoyant beside it.

In: traffic, a world, a choice of policy. Out: a `Run` with everything that a table, a plot or a sentence
needs. It prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.errors import SettingsError
from upswell.lab.oracle import OracleResult, oracle, work_curve
from upswell.lab.score import score
from upswell.settings import Settings
from upswell.simulator.engine import Simulation, simulate_fixed
from upswell.simulator.jobs import in_chunks
from upswell.simulator.outcome import SimulatedOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upswell.analysis.snapshot import Snapshot
    from upswell.lab.contenders import Choice
    from upswell.lab.traffic import Traffic
    from upswell.policies.protocol import ScalingPolicy
    from upswell.simulator.jobs import Chunk
    from upswell.simulator.world import World


OnProgress = Callable[[float], None]
"""Given the share that is done, from 0 to 1."""

CURVE_POINTS = 200
_TOLD_EVERY = 200
"""Steps between two calls of the progress bar."""
_ORACLE_CELLS = 3e9
"""What the oracle's tables may hold together: some ten times what the largest of our cases needs."""
_ORACLE_CELLS_A_STEP = 2e6
"""What one of them may: it keeps hundreds at a time."""
_LOOKS = 1_000_000
_STEPS_A_SLO = 16
"""The oracle's own first grid."""


class Made(Struct, frozen=True):
    """A decision that changed the number of workers."""

    at: float
    before: int
    decision: Decision


class Run(Struct, frozen=True, kw_only=True):
    """What became of one policy; `r` is None where there is no oracle to compare with."""

    asked: str
    """The policy as it was asked for."""
    name: str
    """The policy with what was found out about it."""
    note: str
    outcome: SimulatedOutcome
    cost_over_work: float
    """Billed slot-seconds over the sum of the service times."""
    r: float | None
    response_times: tuple[tuple[float, float], ...]
    """(seconds, share of all uploads answered within them)."""
    made: tuple[Made, ...]

    @property
    def bill(self) -> Bill:
        """The cost as the monitor would have added it up."""
        outcome = self.outcome
        return Bill(
            since=0.0,
            at=0.0,
            starting=outcome.cost_starting,
            standby=outcome.cost_standby,
            busy=outcome.cost_busy,
            idle=outcome.cost_idle,
            draining=outcome.cost_draining,
            stored=outcome.finished,
            in_time=outcome.uploads - outcome.late,
            dead=outcome.dead,
        )

    @property
    def unfinished(self) -> str:
        """What to say of uploads that had not finished when the run ended; empty where all had."""
        left = self.outcome.uploads - self.outcome.finished
        if not left:
            return ""
        uploads = "1 upload" if left == 1 else f"{left:,} uploads"
        return f"{uploads} not finished: late, not in the percentiles, not in the cost"


class Bound(Struct, frozen=True, kw_only=True):
    """The clairvoyant, or why it could not be computed."""

    result: OracleResult | None
    why_none: str = ""


class House(Struct, frozen=True):
    """What stands around every policy that is tried.

    `settings` are a monitor's, `wrappers` whether they all stand around (then a peer decides as often as the
    monitor does); else a policy is tried bare, within the world's bounds.
    """

    settings: Settings
    wrappers: bool = False

    @property
    def price(self) -> float:
        """What a worker costs an hour; 0 where that is not known."""
        return self.settings.price_per_worker_hour

    def settings_in(self, world: World) -> Settings:
        """Return the settings as they hold in a world."""
        return replace(
            self.settings,
            slo=str(world.slo),
            slots=world.slots,
            min_workers=world.min_workers,
            max_workers=world.max_workers,
            decision_interval=world.decision_interval,
            window=world.window,
        )


BARE = House(Settings())


class Recorder:
    """A policy that remembers what another decided, where that changed something."""

    def __init__(self, policy: ScalingPolicy) -> None:
        self._policy = policy
        self.made: list[Made] = []

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the other's decision."""
        decision = self._policy.decide(snapshot)
        before = snapshot.workers.desired
        if decision.desired_workers != before:
            self.made.append(Made(snapshot.at, before, decision))
        return decision


def run_policy(
    traffic: Traffic,
    world: World,
    choice: Choice,
    best: OracleResult | None = None,
    *,
    house: House = BARE,
    until: float = 0.0,
    on_progress: OnProgress = lambda _share: None,
) -> Run:
    """Return what a policy makes of the traffic.

    It ends when all uploads have, or one objective after the last came; not before the instant `until`.

    Raises:
        SettingsError: the world is invalid, or the policy lacks its rules.
    """
    if not house.wrappers:
        interval = choice.entry.interval or world.decision_interval
        world = replace(world, decision_interval=interval, window=max(world.window, interval))
    asked, note = choice.text, choice.note
    if choice.is_constant:
        choice, world, note = _settled(traffic, replace(world, tail=0.0), choice)  # it would never go
    policy = choice.policy(
        house.settings_in(world), traffic.mean_service, seed=world.seed, in_wrappers=house.wrappers
    )
    recorder = Recorder(policy)
    simulation = Simulation(_chunks(traffic), recorder, world, keep_timeline=True)
    _pass_time(simulation, float(traffic.arrivals[-1]), until, on_progress)
    outcome = simulation.outcome()
    return Run(
        asked=asked,
        name=choice.text,
        note=note,
        outcome=outcome,
        cost_over_work=outcome.cost_over_work * world.slots,
        r=_r(outcome, world, best),
        response_times=_curve(simulation, outcome),
        made=tuple(recorder.made),
    )


def _chunks(traffic: Traffic) -> Iterator[Chunk]:
    return in_chunks(traffic.arrivals, traffic.services)


def _pass_time(simulation: Simulation, last: float, until: float, on_progress: OnProgress) -> None:
    begin = simulation.now
    span = max(last - begin, 1e-9)
    steps = 0
    while not simulation.over or simulation.now < until:
        simulation.step()
        steps += 1
        if steps % _TOLD_EVERY == 0:
            on_progress(min(1.0, (simulation.now - begin) / span))


def _settled(traffic: Traffic, world: World, choice: Choice) -> tuple[Choice, World, str]:
    """Return a constant fleet's number, the world that begins with it, and what to say of it."""
    note = choice.note
    if choice.number is not None:
        workers = int(choice.number)
    else:
        workers = fewest_workers(traffic, world)
        if simulate_fixed(_chunks(traffic), workers, world).attainment < world.slo.share:
            note = f"no more than max_workers, {workers}, which do not meet the objective"
    settled = replace(choice, text=f"constant:{workers}", number=float(workers))
    return settled, replace(world, initial_workers=workers, max_workers=max(workers, world.max_workers)), note


def _r(outcome: SimulatedOutcome, world: World, best: OracleResult | None) -> float | None:
    if best is None:
        return None
    cost = outcome.cost + world.start_cost * outcome.starts
    return score(cost, best.cost / world.slots, outcome.attainment, world.slo.share)


def _curve(simulation: Simulation, outcome: SimulatedOutcome) -> tuple[tuple[float, float], ...]:
    """Return the distribution of response times; its tail is drawn finer than its body."""
    ended = outcome.finished / outcome.uploads if outcome.uploads else 1.0
    shares = np.unique(np.concatenate((np.linspace(0, 1, CURVE_POINTS), 1 - np.logspace(-4, -1, 50))))
    return tuple((simulation.response_time(float(share)), float(share) * ended) for share in shares)


def fewest_workers(traffic: Traffic, world: World) -> int:
    """Return the smallest constant fleet that meets the objective, or `max_workers` where none does."""
    few, enough = 0, world.max_workers
    while enough - few > 1:
        middle = (few + enough) // 2
        if simulate_fixed(_chunks(traffic), middle, world).attainment >= world.slo.share:
            enough = middle
        else:
            few = middle
    return enough


def clairvoyant(traffic: Traffic, world: World, possible: float) -> Bound:
    """Return what the cheapest fleet would have cost that knew every upload in advance.

    `possible` is the share of uploads that any fleet could answer in time.
    """
    slo = world.slo
    if callable(world.start_delay):
        raise SettingsError("the oracle needs one start-up delay, not a distribution")
    if possible < slo.share:
        return Bound(result=None, why_none=f"no fleet can answer {slo.share:.4g} of the uploads in time")
    if traffic.work <= 0:
        return Bound(result=None, why_none="the uploads take no time at all, so every cost ratio is infinite")
    cells, most = _cells(traffic, slo.seconds)
    if cells > _ORACLE_CELLS or most > _ORACLE_CELLS_A_STEP:
        return Bound(
            result=None,
            why_none=f"its tables would have {cells:.2g} cells, {most:.2g} in one step; "
            f"at most {_ORACLE_CELLS:.0g} and {_ORACLE_CELLS_A_STEP:.0g} fit: thin the traffic",
        )
    result = oracle(
        traffic.arrivals,
        traffic.services,
        objective=slo.seconds,
        share=slo.share,
        start_delay=world.start_delay,
        start_cost=world.start_cost,
    )
    return Bound(result=result)


def _cells(traffic: Traffic, objective: float) -> tuple[float, float]:
    """Return about how many cells the oracle's tables have (amounts of work x workers): in all, in a step."""
    step = objective / _STEPS_A_SLO
    begin = float(traffic.arrivals[0])
    span = float(traffic.arrivals[-1]) - begin + objective
    every = max(step, span / _LOOKS)
    times = begin + np.arange(0.0, span + every, every)
    earliest = work_curve(times, traffic.arrivals, traffic.services)
    latest_start = traffic.arrivals + np.maximum(objective - traffic.services, 0.0)
    latest = work_curve(times, latest_start, traffic.services)
    workers = float(np.diff(latest).max(initial=0.0)) / every + 1
    cells = (np.maximum(earliest - latest, 0.0) / step + 1) * workers
    return float(cells.sum()) * every / step, float(cells.max())
