"""Virtual time: uploads arrive, workers serve them, and at each interval the policy decides.

In: a trace, a policy (the very object that the monitor runs) and a world. Out: a `SimulatedOutcome`.
Between two decisions only the uploads that start cost time; a fleet that never changes is one sweep.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING

from msgspec.structs import replace

from upswell.policies.constant import ConstantPolicy
from upswell.simulator.jobs import JobStream, check, in_chunks
from upswell.simulator.observer import Observer
from upswell.simulator.outcome import Accounts, SimulatedOutcome
from upswell.simulator.pool import Due, WorkerPool
from upswell.simulator.slotted import SlottedPool

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.protocol import ScalingPolicy
    from upswell.simulator.jobs import Chunk
    from upswell.simulator.world import World


class Simulation:
    """One application in virtual time, a decision interval at a time (`step`).

    The monitor is taken to have watched an empty queue for one window before the first upload, with the
    initial workers ready.
    """

    def __init__(
        self,
        chunks: Iterable[Chunk],
        policy: ScalingPolicy,
        world: World,
        *,
        keep_timeline: bool = False,
    ) -> None:
        world.check()
        self.world = world
        self._policy = policy
        self._rng = Random(world.seed)  # noqa: S311 - chance in a model, no secret
        self.stream = JobStream(chunks)
        self._begin = math.floor(self.stream.first) - world.phase * world.decision_interval
        self.now = float(self._begin)
        self._accounts = Accounts(world.slo.seconds, world.stop_delay)
        pool = WorkerPool if world.single else SlottedPool
        self.pool = pool(world, self._accounts, self._rng, self.now)
        self._observer = Observer(world, self._rng, self.now)
        self._number = 0
        self._served_at: float | None = None
        self.wanted = world.initial_workers
        self._peak = world.initial_workers
        self._scalings = 0
        self._timeline: list[tuple[float, int, int, int]] | None = [] if keep_timeline else None

    @property
    def over(self) -> bool:
        """Whether every upload has ended, or the last one's time is up; with a tail, also the fleet."""
        if not self.stream.ended:
            return False
        idle = self.stream.over and self.pool.in_flight == 0 and self.pool.waiting(self.stream) == 0
        if not (idle or self.now > self.stream.last + self.world.slo.seconds):
            return False
        if self._served_at is None:
            self._served_at = self.now
        is_gone = idle and self.pool.billed <= self.world.min_workers
        return is_gone or self.now >= self._served_at + self.world.tail

    def step(self) -> None:
        """Let one decision interval pass, then decide."""
        decision = self._policy.decide(self.observe())
        self.apply(
            min(max(decision.desired_workers, self.world.min_workers), self.world.max_workers),
            decision.standby_workers,
        )

    def observe(self) -> Snapshot:
        """Let one decision interval pass and return what the monitor sees at its end."""
        world, pool, stream = self.world, self.pool, self.stream
        number = self._number
        self._number = number + 1
        now = self._begin + (number + 1) * world.decision_interval
        self.now = now
        stream.arrive_until(now)
        pool.serve(stream, now)
        ended = pool.take_ended(number)
        if ended[0]:
            self._accounts.respond(ended[1], math.fsum(ended[2]))
        pool.tick(now)
        return self._observer.look(now, ended, self.wanted, pool, pool.waiting(stream))

    def apply(self, wanted: int, standby: int | None = None) -> None:
        """Scale the fleet to a number within the world's bounds; None on standby: as many as now."""
        pool = self.pool
        if standby is not None:
            pool.stand_by(self.now, min(standby, self.world.max_workers - wanted))
        if wanted != self.wanted:
            self._scalings += 1
            self.wanted = wanted
        if wanted != pool.size:
            pool.scale(self.now, wanted)
            self._peak = max(self._peak, pool.billed)
        if self._timeline is not None:
            self._timeline.append((self.now, pool.size, pool.waiting(self.stream) + pool.in_flight, wanted))

    @property
    def settled(self) -> bool:
        """Whether nothing about the fleet is on its way to change."""
        pool = self.pool
        return pool.size == self.wanted and not pool.starting and not pool.draining

    def sweep(self) -> None:
        """Serve the rest of the trace with the present workers in one go: nothing is decided."""
        pool, stream = self.pool, self.stream
        under_way, pool.due = pool.due.rest(), Due(math.inf)
        more = True
        while more:
            self._accounts.respond(under_way[1::3], math.fsum(under_way[2::3]))
            more = stream.arrive_chunk()
            pool.serve(stream, math.inf)
            under_way = pool.due.take(0)
        self._accounts.respond(under_way[1::3], math.fsum(under_way[2::3]))
        pool.in_flight = 0
        last = max(self.now, pool.last_end())
        self.now = min(last, max(self.now, stream.last + self.world.slo.seconds))

    def response_time(self, share: float) -> float:
        """Return the seconds within which a share of the uploads answered so far were."""
        return self._accounts.percentile(share)

    def outcome(self) -> SimulatedOutcome:
        """Return what the run cost and missed; call it once, at the end."""
        accounts = self._accounts
        accounts.uploads, accounts.work = self.stream.total, self.stream.work
        self.pool.close(self.now)
        accounts.close(self.now)
        return accounts.outcome(
            peak=self._peak, scalings=self._scalings, timeline=tuple(self._timeline or ())
        )


def simulate(
    arrivals: NDArray[np.float64],
    services: NDArray[np.float64],
    policy: ScalingPolicy | int,
    world: World,
    *,
    keep_timeline: bool = False,
) -> SimulatedOutcome:
    """Return what a policy makes of a trace: sorted arrivals and service times, in seconds.

    It decides every `world.decision_interval` seconds; a number is a fleet that never changes. With
    `keep_timeline` the outcome holds one entry a decision.

    Raises:
        TraceError: the uploads are not sorted, not finite, or take less than no time.
        SettingsError: the world is invalid.
    """
    check(arrivals, services)
    return simulate_chunks(in_chunks(arrivals, services), policy, world, keep_timeline=keep_timeline)


def simulate_chunks(
    chunks: Iterable[Chunk], policy: ScalingPolicy | int, world: World, *, keep_timeline: bool = False
) -> SimulatedOutcome:
    """Return what a policy makes of a trace larger than memory, which comes in pieces."""
    if isinstance(policy, int):
        return simulate_fixed(chunks, policy, world)
    simulation = Simulation(chunks, policy, world, keep_timeline=keep_timeline)
    never_changes = isinstance(policy, ConstantPolicy) and world.plain and not keep_timeline
    while not simulation.over:
        simulation.step()
        if never_changes and simulation.settled:
            simulation.sweep()
            break
    return simulation.outcome()


def simulate_fixed(chunks: Iterable[Chunk], workers: int, world: World) -> SimulatedOutcome:
    """Return what a fleet makes of a trace that has `workers` from the start and never changes."""
    simulation = Simulation(chunks, ConstantPolicy(workers), replace(world, initial_workers=workers))
    if world.plain:
        simulation.sweep()
    else:
        while not simulation.over:
            simulation.observe()
    return simulation.outcome()
