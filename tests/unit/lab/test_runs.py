from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from upswell.lab.contenders import choose
from upswell.lab.replay import find_differences
from upswell.lab.runs import clairvoyant, fewest_workers, run_policy
from upswell.lab.traffic import Traffic
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.world import World

WORLD = World(slo=Slo(0.95, 10.0), start_delay=3.0, max_workers=50)


def traffic(count: int = 400, seconds: float = 200.0) -> Traffic:
    rng = np.random.default_rng(1)
    return Traffic(
        case="test", arrivals=np.sort(rng.random(count) * seconds), services=rng.exponential(2.0, count)
    )


def test_the_fewest_workers_are_enough_and_one_fewer_is_not() -> None:
    uploads = traffic()
    few = fewest_workers(uploads, WORLD)
    attained = [
        simulate(uploads.arrivals, uploads.services, number, WORLD).attainment for number in (few - 1, few)
    ]
    assert attained[0] < 0.95 <= attained[1]
    run = run_policy(uploads, WORLD, choose("constant"))
    assert (run.asked, run.name) == ("constant", f"constant:{few}")
    assert run.outcome.attainment == pytest.approx(attained[1])


def test_a_constant_that_is_not_enough_says_so() -> None:
    run = run_policy(traffic(), replace(WORLD, max_workers=1), choose("constant"))
    assert run.note == "no more than max_workers, 1, which do not meet the objective"


def test_r_is_1_for_the_clairvoyants_cost_and_cost_counts_slots() -> None:
    uploads = traffic()
    best = clairvoyant(uploads, WORLD, 1.0).result
    assert best is not None
    run = run_policy(uploads, WORLD, choose("keda:2"), best)
    assert run.r is not None
    missed = max(1.0, (1 - run.outcome.attainment) / 0.05)
    assert run.r == pytest.approx(run.outcome.cost / best.cost * missed)
    two = run_policy(uploads, replace(WORLD, slots=2), choose("constant:10"))
    assert two.cost_over_work == pytest.approx(2 * two.outcome.cost / uploads.work)


def test_the_response_times_curve_ends_at_the_share_that_was_answered_at_all() -> None:
    run = run_policy(traffic(seconds=10.0), replace(WORLD, max_workers=2), choose("constant:2"))
    assert run.outcome.finished < run.outcome.uploads
    seconds, share = run.response_times[-1]
    assert share == run.outcome.finished / run.outcome.uploads
    assert seconds == run.outcome.maximum
    assert [share for _, share in run.response_times] == sorted(share for _, share in run.response_times)


@pytest.mark.parametrize(
    ("uploads", "possible", "why"),
    [
        (traffic(), 0.5, "no fleet can answer 0.95"),
        (Traffic(case="none", arrivals=np.zeros(3), services=np.zeros(3)), 1.0, "no time at all"),
        (
            Traffic(case="flood", arrivals=np.linspace(0, 1, 1_000_000), services=np.ones(1_000_000)),
            1.0,
            "thin the traffic",
        ),
    ],
)
def test_where_there_is_no_oracle_it_is_said_why_at_once(uploads: Traffic, possible: float, why: str) -> None:
    bound = clairvoyant(uploads, WORLD, possible)
    assert bound.result is None
    assert why in bound.why_none


def test_decisions_that_are_alike_differ_nowhere() -> None:
    run = run_policy(traffic(), WORLD, choose("keda"))
    assert find_differences([], run, 0.0, 5) == []
