"""The family against the oracle: R of the best fixed setting with each idea removed, or one more added.

    python benchmarks/ablation.py FOLDER [--cases azure-code,swim-2010] [--settings 24]

In: a folder of cases, as for `autoscalers.py`. Out: a row an idea, R for each case. Nothing is chosen while
a case runs: a setting is fixed, and the best one is named in hindsight, so only the family counts.

Ideas removed are read off the shadows of one run. Ideas added are real runs, each under the settings that
were best among the shadows: their number is --settings, and the row `as it is` is of real runs under these.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from autoscalers import clairvoyant, read_cases
from regret import kept_to_the_end, world_of
from upswell.lab.score import score
from upswell.policies.slo.scalar_staffing import ScalarRule
from upswell.policies.slo.slo import SloPolicy
from upswell.policies.slo.staffing import FAMILY, Floats, StaffingSetting
from upswell.simulator.engine import simulate
from upswell.simulator.jobs import read_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.policies.slo.slo import Signals
    from upswell.simulator.world import World

_DAY = 86_400.0
_PARTS = 16
"""Of the queue, at whose ends deadlines are looked at."""

REMOVED: dict[str, Callable[[StaffingSetting], bool]] = {
    "without foresight": lambda setting: not setting.foresight,
    "with foresight alone": lambda setting: setting.foresight,
    "without a floor": lambda setting: setting.beta is None,
    "with a floor alone": lambda setting: setting.beta is not None,
    "keep 0.5 alone": lambda setting: setting.keep == 0.5,
    "keep 1 alone": lambda setting: setting.keep == 1.0,
    "half of the patiences": lambda setting: setting.patience in {0.05, 0.1, 0.2, 0.4, 0.75},
    "one patience": lambda setting: setting.patience == 0.4,
}


class Idea(SloPolicy):
    """One setting, told what it would have to know. By itself it is the setting as it is."""

    def __init__(self, index: int, arrivals: Floats, services: Floats) -> None:
        super().__init__(first=index)
        self.follow(index, "fixed in hindsight")
        self.arrivals, self.services = arrivals, services
        self.now = self.since = 0.0
        self.objective = 0.0
        self.arrived = 0
        """Uploads that came so far."""

    def decide(self, snapshot: Snapshot) -> Decision:
        """Note the time, then decide."""
        self.now, self.objective = snapshot.at, snapshot.slo.seconds
        self.arrived = int(np.searchsorted(self.arrivals, self.now, side="right"))
        return super().decide(snapshot)

    def _apply(self, snapshot: Snapshot, signals: Signals) -> ScalarRule:
        rule = super()._apply(snapshot, signals)
        self._rule = told = IdeaRule(horizon=rule.horizon, delay=rule.delay, beta=rule.beta, policy=self)
        return told

    def need(  # noqa: PLR0917 - what the rule takes
        self,
        rule: IdeaRule,
        in_flight: int,
        waiting: int,
        present: int,
        load: float,
        means: tuple[float, float],
    ) -> tuple[int, str]:
        """Return what the setting needs; an idea overrides this."""
        return rule.plainly(in_flight, waiting, present, load, means)

    @property
    def delay(self) -> float:
        """Seconds of a start-up."""
        return self._start_delay or 0.0


class IdeaRule(ScalarRule, frozen=True, kw_only=True):
    """The rule, as an idea changes it."""

    policy: Idea

    def need(
        self, in_flight: int, waiting: int, present: int, load: float, means: tuple[float, float]
    ) -> tuple[int, str]:
        """Ask the idea."""
        return self.policy.need(self, in_flight, waiting, present, load, means)

    def plainly(
        self, in_flight: int, waiting: int, present: int, load: float, means: tuple[float, float]
    ) -> tuple[int, str]:
        """Return what the rule says."""
        return super().need(in_flight, waiting, present, load, means)


class Sizes(Idea):
    """Knows how long each upload that waits will take, as if its size told exactly."""

    def need(self, rule, in_flight, waiting, present, load, means):  # noqa: ANN001, ANN201, D102, PLR0917
        if waiting:
            taken = self.services[max(0, self.arrived - waiting) : self.arrived]
            means = float(np.minimum(taken, rule.horizon).mean()), means[1]
        return rule.plainly(in_flight, waiting, present, load, means)


class Deadlines(Idea):
    """Counts from each upload's arrival, not from now: what has waited must begin the sooner."""

    def need(self, rule, in_flight, waiting, present, load, means):  # noqa: ANN001, ANN201, D102, PLR0917
        slots, why = rule.plainly(in_flight, waiting, present, load, means)
        came = self.arrivals[max(0, self.arrived - waiting) : self.arrived]
        for end in {-(-len(came) * part // _PARTS) for part in range(1, _PARTS + 1)} if len(came) else ():
            left = max(rule.horizon - (self.now - came[end - 1]), rule.delay + self.objective / 20)
            work = in_flight * min(means[1], left) + end * min(means[0], left)
            done = min(present, work / left) * rule.delay
            by_then = min(in_flight + end, int(np.ceil((work - done) / (left - rule.delay) - 1e-9)))
            slots = max(slots, by_then)
        return slots, why


class Trend(Idea):
    """Takes the load to go on as it changed over the last four start-ups, for one start-up more."""

    def need(self, rule, in_flight, waiting, present, load, means):  # noqa: ANN001, ANN201, D102, PLR0917
        span = 4 * max(self.delay, 2.5)
        middle, begin = np.searchsorted(self.arrivals, (self.now - span / 2, self.now - span))
        newer, older = self.arrived - middle, middle - begin
        if newer > older:
            load *= 1 + min(1.0, 1.5 * (newer - older) / (newer + older))
        return rule.plainly(in_flight, waiting, present, load, means)


class Season(Idea):
    """Has at least the floor of a day before, a start-up ahead."""

    def need(self, rule, in_flight, waiting, present, load, means):  # noqa: ANN001, ANN201, D102, PLR0917
        span = 4 * max(self.delay, 2.5)
        begin = self.now + self.delay - _DAY
        first, last = np.searchsorted(self.arrivals, (begin - span / 2, begin + span / 2))
        before = (
            (last - first) / span * float(self.services[max(0, self.arrived - 1000) : self.arrived].mean())
        )
        return rule.plainly(in_flight, waiting, present, max(load, before), means)


class Foreknown(Idea):
    """Knows the uploads of the next start-up, a perfect forecast; they begin as late as the setting says."""

    def need(self, rule, in_flight, waiting, present, load, means):  # noqa: ANN001, ANN201, D102, PLR0917
        delay = self.delay
        coming = int(np.searchsorted(self.arrivals, self.now + delay, side="right")) - self.arrived
        ahead = IdeaRule(horizon=rule.horizon - rule.delay + delay, delay=delay, beta=rule.beta, policy=self)
        return ahead.plainly(in_flight, waiting + coming, present, load, means)


ADDED: dict[str, type[Idea]] = {
    "as it is": Idea,
    "+ sizes known": Sizes,
    "+ deadlines": Deadlines,
    "+ trend": Trend,
    "+ yesterday": Season,
    "+ next start-up known": Foreknown,
}


def removed(all_r: Floats) -> dict[str, float]:
    """Return R of the best setting of each part of the family."""
    found = {"the family": float(all_r.min())}
    for name, keep in REMOVED.items():
        found[name] = float(
            min(r for setting, r in zip(FAMILY, all_r.tolist(), strict=True) if keep(setting))
        )
    return found


def added(
    arrivals: Floats, services: Floats, world: World, oracle_cost: float, settings: list[int]
) -> dict[str, float]:
    """Return R of the best of these settings in real runs with each idea, and with twice the decisions."""

    def r(idea: type[Idea], index: int, tried: World) -> float:
        outcome = simulate(arrivals, services, idea(index, arrivals, services), tried)
        return score(outcome.cost, oracle_cost, outcome.attainment, world.slo.share)

    found = {name: min(r(idea, index, world) for index in settings) for name, idea in ADDED.items()}
    often = replace(world, decision_interval=world.decision_interval / 2)
    found["+ decided each second"] = min(r(Idea, index, often) for index in settings)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cases")
    parser.add_argument("--settings", type=int, default=24)
    arguments = parser.parse_args()
    folder, cases = read_cases(arguments.folder, arguments.cases)
    for case, facts in cases.items():
        arrivals, services = read_jobs(folder / f"{case}.csv.gz")
        world, oracle_cost = world_of(facts), clairvoyant(folder, case, facts, own=False)
        costs, late, count = kept_to_the_end(arrivals, services, world)
        all_r = np.array(
            [
                score(cost, oracle_cost, 1 - missed / count, world.slo.share)
                for cost, missed in zip(costs.tolist(), late.tolist(), strict=True)
            ]
        )
        show(case, removed(all_r))
        best: list[Any] = np.argsort(all_r)[: arguments.settings].tolist()
        show(case, added(arrivals, services, world, oracle_cost, best))


def show(case: str, found: dict[str, float]) -> None:
    """Print a row an idea, and what it changes against the first."""
    first = next(iter(found.values()))
    for name, r in found.items():
        print(f"{case:15s} {name:24s} {r:7.3f} {r / first - 1:+7.1%}", flush=True)


if __name__ == "__main__":
    main()
