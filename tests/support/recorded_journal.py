"""A journal as a monitor writes it, of a simulated afternoon: one burst, scaled by the threshold policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from upswell.analysis.billing import Billing
from upswell.journal import Journal, JournalEntry, ReportRow
from upswell.policies.guarded import Guarded
from upswell.policies.guards.bounds import Bounds
from upswell.policies.threshold import ThresholdPolicy
from upswell.settings import Slo
from upswell.simulator.engine import Simulation
from upswell.simulator.jobs import in_chunks
from upswell.simulator.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.simulator.outcome import SimulatedOutcome

BEGIN = 1_795_000_000.0
SLO = Slo(0.95, 10.0)


class _Recording:
    """Decides by the threshold policy, and keeps the rounds as the monitor would."""

    def __init__(self, journal: Journal, app: str, *, told: bool) -> None:
        self._journal, self._app, self._told = journal, app, told
        self._policy = Guarded(ThresholdPolicy(), Bounds(1, 20))
        self._ledger = Billing()
        self._round = 0

    def decide(self, snapshot: Snapshot) -> Decision:
        decision = self._policy.decide(snapshot)
        at = BEGIN + snapshot.at
        pairs = zip(snapshot.recent_response_times, snapshot.recent_service_times, strict=True)
        rows = [
            ReportRow(
                self._app,
                at - response,
                at,
                response - service,
                service if self._told else None,
                "stored",
                f"r{self._round}-{number}",
            )
            for number, (response, service) in enumerate(pairs)
        ]
        seen = replace(snapshot, at=at, app_id=self._app)
        changed = decision.desired_workers != snapshot.workers.desired
        entry = JournalEntry(
            app_id=self._app,
            at=at,
            epoch=1,
            changed=changed,
            snapshot=seen,
            decision=decision,
            bill=self._ledger.observe(seen),
        )
        self._journal.record([entry], rows)
        self._round += 1
        if self._round % 50 == 0:
            self._journal.flush()
        return decision


def write_journal(
    path: Path, *, app: str = "e1", told: bool = True, settings: dict[str, Any] | None = None
) -> SimulatedOutcome:
    """Write it and return what the recorded fleet really cost and missed.

    `told`: whether the reports tell service times. `settings`: what the application was scaled under.
    """
    rng = np.random.default_rng(3)
    arrivals = np.sort(np.concatenate([rng.random(300) * 600, 200 + rng.random(200) * 40]))
    services = rng.lognormal(0.5, 0.5, len(arrivals))
    journal = Journal(path, 50_000_000)
    if settings is not None:
        journal.remember_settings({app: settings})
    world = World(slo=SLO, start_delay=5.0, slots=2)
    simulation = Simulation(in_chunks(arrivals, services), _Recording(journal, app, told=told), world)
    while not simulation.over:
        simulation.step()
    journal.close()
    return simulation.outcome()
