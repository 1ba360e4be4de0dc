"""Traces and goals that cannot be, or are strange: refused with the rule, or served in time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from upswell.errors import SettingsError, TraceError
from upswell.lab.oracle import oracle
from upswell.policies.constant import ConstantPolicy
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.rehearsed_policy import RehearsedPolicy
from upswell.simulator.world import World

WORLD = World(slo=Slo(0.95, 30.0), start_delay=5.0)

IMPOSSIBLE = pytest.mark.parametrize(
    ("arrivals", "services", "rule"),
    [
        ([2.0, 1.0], [1.0, 1.0], "sorted"),
        ([1.0, 2.0], [1.0, -1.0], ">= 0 s, got -1"),
        ([1.0], [math.nan], "finite numbers, got nan"),
        ([math.inf], [1.0], "finite numbers, got inf"),
        ([1.0, 2.0], [1.0], "one service time"),
    ],
    ids=["unsorted", "negative", "nan", "infinite", "unpaired"],
)


@IMPOSSIBLE
def test_a_trace_that_cannot_be_is_refused_everywhere(
    arrivals: list[float], services: list[float], rule: str
) -> None:
    at, seconds = np.array(arrivals), np.array(services)
    with pytest.raises(TraceError, match=rule):
        simulate(at, seconds, RehearsedPolicy(), WORLD)
    with pytest.raises(TraceError, match=rule):
        oracle(at, seconds, objective=30.0, share=0.95, start_delay=5.0)


def test_an_empty_trace_costs_nothing_and_has_no_clairvoyant() -> None:
    none = np.empty(0)
    outcome = simulate(none, none, RehearsedPolicy(), WORLD)
    assert (outcome.uploads, outcome.attainment, outcome.cost) == (0, 1.0, 0.0)
    with pytest.raises(TraceError, match="at least one upload"):
        oracle(none, none, objective=30.0, share=0.95, start_delay=5.0)


@pytest.mark.parametrize(
    "change",
    [{"objective": 0.0}, {"objective": math.nan}, {"share": 0.0}, {"start_delay": -1.0}, {"step": 0.0}],
    ids=["no objective", "nan", "no share", "negative delay", "no step"],
)
def test_a_goal_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    goal = {"objective": 30.0, "share": 0.95, "start_delay": 5.0, **change}
    with pytest.raises(SettingsError, match=r"must be >=? 0"):
        oracle(np.array([1.0]), np.array([1.0]), **goal)


def test_an_objective_shorter_than_every_service_is_missed_by_all_without_a_failure() -> None:
    arrivals, services = np.arange(0.0, 100.0), np.full(100, 60.0)
    outcome = simulate(arrivals, services, RehearsedPolicy(), WORLD)
    assert outcome.attainment == 0.0
    assert outcome.peak_workers <= WORLD.max_workers
    assert oracle(arrivals, services, objective=30.0, share=0.95, start_delay=5.0).attainment == 0.0


@pytest.mark.parametrize("delay", [0.0, 5.0])
def test_one_upload_is_enough(delay: float) -> None:
    world = World(slo=Slo(0.99, 30.0), start_delay=delay)
    outcome = simulate(np.array([3.5]), np.array([2.0]), RehearsedPolicy(), world)
    assert (outcome.attainment, outcome.finished) == (1.0, 1)
    best = oracle(np.array([3.5]), np.array([2.0]), objective=30.0, share=0.99, start_delay=delay)
    assert best.cost == pytest.approx(2.0 + delay, abs=2.0)


def test_services_of_no_time_are_served() -> None:
    outcome = simulate(np.array([0.0, 1.0]), np.zeros(2), RehearsedPolicy(), WORLD)
    assert (outcome.finished, outcome.work, outcome.cost_over_work) == (2, 0.0, math.inf)


def test_a_policy_that_wants_the_impossible_is_bounded() -> None:
    world = World(slo=Slo(0.95, 30.0), start_delay=5.0, max_workers=2)
    outcome = simulate(np.array([0.0, 5.0]), np.array([1.0, 1.0]), ConstantPolicy(9), world)
    assert outcome.peak_workers == 2
