"""The world that recorded traffic is replayed in: as it was recorded, but for what was asked to be different.

In: what was recorded, what was typed. Out: a world, what stands around the policy, and the sentences that say
what had to be assumed.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from upswell.lab.contenders import Choice
from upswell.lab.runs import House
from upswell.lab.traffic import parse_slo
from upswell.policies.slo.slo import COST_OF_CPU
from upswell.settings import Settings
from upswell.simulator.world import World

if TYPE_CHECKING:
    from upswell.analysis.snapshot import Snapshot
    from upswell.lab.recorded import Recorded
    from upswell.settings import Slo

UNKNOWN_START_DELAY = 30.0
UNKNOWN_MAX_WORKERS = 500
_SHORTEST_INTERVAL = 0.05


class ReplaySetup(Struct, frozen=True, kw_only=True):
    """Where a policy is replayed, and the policy itself, guarded by the rules that there were."""

    world: World
    house: House
    choice: Choice
    notes: tuple[str, ...]


def replay_setup(
    recorded: Recorded,
    base: float,
    choice: Choice,
    *,
    slo: str | None,
    share: float | None,
    start_delay: float | None,
    min_workers: int | None,
    max_workers: int | None,
    rules_file: str | None,
    wrappers: bool,
) -> ReplaySetup:
    """Return the setup; None stands for "as recorded".

    Raises:
        SettingsError: it cannot be; the message says the rule and the value.
    """
    snapshots = [entry.snapshot for entry in recorded.entries]
    newest = snapshots[-1]
    settings, notes = _settings(recorded, min_workers, max_workers)
    if start_delay is None:
        start_delay, more = _start_delay(snapshots)
        notes += more
    settings = replace(settings, start_cost=_start_cost(snapshots, settings))
    began = next((seen for seen in snapshots if seen.at >= base), newest)
    world = World(
        slo=_objective(newest.slo, slo, share),
        start_delay=start_delay,
        start_cost=settings.assumed_start_cost,
        slots=newest.slots_per_worker,
        initial_workers=began.workers.ready + began.workers.starting,
        min_workers=settings.min_workers,
        max_workers=settings.max_workers,
        standby_workers=began.workers.standby
        if settings.standby_workers == "auto"
        else settings.standby_workers,
        decision_interval=settings.decision_interval,
        window=max(newest.window, settings.decision_interval),
    )
    world.check()
    choice, settings, rules = _ruled(choice, settings, rules_file)
    return ReplaySetup(
        world=world,
        house=House(settings, wrappers=wrappers and recorded.settings is not None),
        choice=choice,
        notes=(*notes, *rules),
    )


def _settings(
    recorded: Recorded, min_workers: int | None, max_workers: int | None
) -> tuple[Settings, tuple[str, ...]]:
    """Return what the application was scaled under; where the journal does not tell, what can be inferred."""
    settings, notes = recorded.settings, ()
    if settings is None:
        interval = recorded.interval if math.isfinite(recorded.interval) else 2.0
        settings = Settings(
            min_workers=0,
            max_workers=UNKNOWN_MAX_WORKERS,
            decision_interval=max(_SHORTEST_INTERVAL, round(interval, 2)),
        )
        notes = (
            "the journal does not tell the bounds and wrappers that there were: the policy is tried bare",
        )
    if min_workers is not None:
        settings = replace(settings, min_workers=min_workers)
    if max_workers is not None:
        settings = replace(settings, max_workers=max_workers)
    return settings, notes


def _start_delay(snapshots: list[Snapshot]) -> tuple[float, tuple[str, ...]]:
    measured = [seen.start_delay for seen in snapshots if seen.start_delay is not None]
    if measured:
        return statistics.median(measured), ()
    delay = UNKNOWN_START_DELAY
    return delay, (f"no start-up was measured; {delay:g} s is taken, --start-delay says another",)


def _start_cost(snapshots: list[Snapshot], settings: Settings) -> float:
    """Return what a start cost, as `slo.SloPolicy` would have found it."""
    measured = [seen.start_cpu for seen in snapshots if seen.start_cpu is not None]
    if settings.start_cost != "auto" or not measured:
        return settings.assumed_start_cost
    return COST_OF_CPU * statistics.median(measured)


def _objective(recorded: Slo, slo: str | None, share: float | None) -> Slo:
    if slo is None:
        return recorded if share is None else parse_slo(f"{recorded.seconds!r}", share)
    return parse_slo(slo, recorded.share if share is None and "%" not in slo else share)


def _ruled(
    choice: Choice, settings: Settings, rules_file: str | None
) -> tuple[Choice, Settings, tuple[str, ...]]:
    """Return the policy behind the rules that guarded it, where they are still there, or those named."""
    if rules_file is not None:
        return choice, replace(settings, rules_file=rules_file), ()
    there = bool(settings.rules_file) and Path(settings.rules_file).is_file()
    if there and choice.name != "rules":
        choice = choice.behind_rules()
    gone = f"the rules that were recorded are not there any more: {settings.rules_file}"
    if settings.rules_file and not there:
        return choice, replace(settings, rules_file=""), (gone,)
    return choice, settings, ()
