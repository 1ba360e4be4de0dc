"""Recorded traffic under another policy or objective, and where the two histories of decisions differ.

In: what was recorded, what is to be tried. Out: a `Replayed`. It prints nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from upswell.journal import JournalEntry
from upswell.lab.recorded import Recorded
from upswell.lab.replay_world import replay_setup
from upswell.lab.runs import OnProgress, Run, run_policy
from upswell.lab.traffic import check_reach
from upswell.simulator.world import World

if TYPE_CHECKING:
    from upswell.analysis.billing import Bill
    from upswell.lab.contenders import Choice


class Difference(Struct, frozen=True, kw_only=True):
    """A stretch of time in which one side wanted more; the numbers and reasons are those of its widest point.

    Instants in seconds since 1970.
    """

    begin: float
    end: float
    widest_at: float
    recorded: int
    replayed: int
    recorded_reason: str
    replayed_reason: str
    worker_seconds: float
    """By how much the replayed policy wanted more (or, negative, less), summed over the stretch."""


class Replayed(Struct, frozen=True, kw_only=True):
    """The past and its replay. `base` is the instant at which the simulated time is 0."""

    recorded: Recorded
    run: Run
    world: World
    base: float
    price: float
    notes: tuple[str, ...]
    differences: list[Difference]

    @property
    def bills(self) -> tuple[Bill | None, Bill]:
        """The recorded cost (None: unknown), and that of the replay."""
        return self.recorded.bill(self.world.slo), self.run.bill


def replay(
    recorded: Recorded,
    choice: Choice,
    *,
    differences: int,
    on_progress: OnProgress = lambda _share: None,
    **asked: Any,
) -> Replayed:
    """Replay what was recorded under a policy.

    `differences` is how many stretches to return in which the two decided differently, `asked` what shall be
    other than recorded, as of `replay_setup`.

    Raises:
        SettingsError: the world or the policy is invalid.
        TraceError: not one upload can be answered in time.
    """
    traffic = recorded.traffic
    base = float(math.floor(float(traffic.arrivals[0])))
    recorded = replace(recorded, traffic=replace(traffic, arrivals=traffic.arrivals - base))
    setup = replay_setup(recorded, base, choice, **asked)
    _, late = check_reach(traffic.services, setup.world.slo)
    run = run_policy(
        recorded.traffic,
        setup.world,
        setup.choice,
        house=setup.house,
        until=recorded.ended - base,
        on_progress=on_progress,
    )
    notes = (f"{run.name}: {note}" for note in (run.note, run.unfinished) if note)
    return Replayed(
        recorded=recorded,
        run=run,
        world=setup.world,
        base=base,
        price=setup.house.price,
        notes=(*traffic.notes, *setup.notes, *late, *notes),
        differences=find_differences(recorded.entries, run, base, differences),
    )


class _Point(Struct, frozen=True):
    at: float
    until: float
    entry: JournalEntry
    replayed: int

    @property
    def gap(self) -> int:
        return self.replayed - self.entry.decision.desired_workers


def find_differences(entries: list[JournalEntry], run: Run, base: float, count: int) -> list[Difference]:
    """Return the `count` stretches with the most worker-seconds between the two, in the order of time.

    `entries` are in the order of time; `base` is the instant that is 0 in the simulated run.
    """
    stretches: list[list[_Point]] = []
    previous = 0
    for point in _points(entries, run, base):
        sign = (point.gap > 0) - (point.gap < 0)
        if sign and sign == previous:
            stretches[-1].append(point)
        elif sign:
            stretches.append([point])
        previous = sign
    differences = [_difference(stretch, run, base) for stretch in stretches]
    largest = sorted(differences, key=lambda one: -abs(one.worker_seconds))[:count]
    return sorted(largest, key=lambda one: one.begin)


def _points(entries: list[JournalEntry], run: Run, base: float) -> list[_Point]:
    """Return both sides at each recorded decision within the simulated time."""
    times = [at + base for at, _, _, _ in run.outcome.timeline]
    wanted = [number for _, _, _, number in run.outcome.timeline]
    points: list[_Point] = []
    for index, entry in enumerate(entries):
        place = bisect_right(times, entry.at) - 1
        if place < 0 or entry.at > times[-1]:
            continue
        until = entries[index + 1].at if index + 1 < len(entries) else times[-1]
        points.append(_Point(entry.at, min(until, times[-1]), entry, wanted[place]))
    return points


def _difference(stretch: list[_Point], run: Run, base: float) -> Difference:
    widest = max(stretch, key=lambda point: abs(point.gap))
    place = bisect_right([made.at for made in run.made], widest.at - base) - 1
    reason = run.made[place].decision.reason if place >= 0 else "nothing was changed since the start"
    return Difference(
        begin=stretch[0].at,
        end=stretch[-1].until,
        widest_at=widest.at,
        recorded=widest.entry.decision.desired_workers,
        replayed=widest.replayed,
        recorded_reason=widest.entry.decision.reason,
        replayed_reason=reason,
        worker_seconds=sum(point.gap * (point.until - point.at) for point in stretch),
    )
