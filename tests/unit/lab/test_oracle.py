from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upswell.lab.oracle import cheapest_path, oracle, replay, work_curve


def brute_force(latest: list[int], earliest: list[int], start_cost: float, most: int) -> float:
    """Try every number of workers in every step."""
    best = float("inf")
    steps = len(latest) - 1
    for schedule in itertools.product(range(most + 1), repeat=steps):
        done, cost, before = 0, 0.0, 0
        for step, workers in enumerate(schedule):
            done = min(done + workers, earliest[step + 1])
            cost += workers + start_cost * max(0, workers - before)
            before = workers
            if done < latest[step + 1]:
                break
        else:
            best = min(best, cost)
    return best


@st.composite
def curves(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    steps = draw(st.integers(1, 6))
    earliest = np.concatenate(
        ([0], np.cumsum(draw(st.lists(st.integers(0, 3), min_size=steps, max_size=steps))))
    )
    slack = draw(st.lists(st.integers(0, 4), min_size=steps, max_size=steps))
    latest = np.maximum.accumulate(np.maximum(0, earliest - np.concatenate(([0], slack))))
    latest[-1] = earliest[-1]
    return latest.astype(np.int64), earliest.astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(curves(), st.sampled_from([0.0, 0.5, 1.0, 2.5]))
def test_cheapest_path_is_as_cheap_as_trying_everything(
    both: tuple[np.ndarray, np.ndarray], start_cost: float
) -> None:
    latest, earliest = both
    cost, workers = cheapest_path(latest, earliest, start_cost)
    assert cost == pytest.approx(brute_force(latest.tolist(), earliest.tolist(), start_cost, 4))
    starts = np.maximum(np.diff(workers, prepend=0), 0).sum()
    assert workers.sum() + start_cost * starts == pytest.approx(cost)


def test_path_found_in_segments_is_the_path_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    earliest = np.concatenate(([0], np.cumsum(rng.integers(0, 4, 60))))
    latest = np.maximum.accumulate(np.maximum(0, earliest - 6))
    latest[-1] = earliest[-1]
    cost, workers = cheapest_path(latest, earliest, 2.0)
    monkeypatch.setattr("upswell.lab.oracle._SEGMENT", 7)
    again, in_segments = cheapest_path(latest, earliest, 2.0)
    assert again == cost
    assert in_segments.tolist() == workers.tolist()


def test_work_curve_rises_while_an_upload_is_served() -> None:
    curve = work_curve(np.array([0.0, 1.0, 2.0, 3.0, 9.0]), np.array([1.0, 2.0]), np.array([2.0, 5.0]))
    assert curve.tolist() == [0.0, 0.0, 1.0, 3.0, 7.0]


def test_replay_bills_starts_workers_and_the_upload_that_a_leaving_worker_finishes() -> None:
    cost, late = replay(
        np.array([0.0]), np.array([5.0]), [(0.0, 1), (3.0, 0)], objective=5.0, start_delay=2.0
    )
    assert (cost, late) == (2 + 5, 0)


def test_replay_takes_a_leaving_worker_back_without_a_start() -> None:
    cost, _ = replay(
        np.array([0.0]),
        np.array([10.0]),
        [(0.0, 1), (2.0, 0), (4.0, 1), (10.0, 0)],
        objective=99.0,
        start_delay=100.0,
    )
    assert cost == 100 + 10


def test_replay_counts_what_was_never_begun_as_late() -> None:
    _, late = replay(
        np.array([0.0, 0.0]), np.array([5.0, 5.0]), [(0.0, 1), (1.0, 0)], objective=9.0, start_delay=0.0
    )
    assert late == 1


def test_oracle_of_a_lone_upload_is_one_start_and_its_work() -> None:
    found = oracle(np.array([100.0]), np.array([16.0]), objective=64.0, share=0.99, start_delay=8.0)
    assert found.cost == pytest.approx(16 + 8, abs=4)
    assert found.attainment == 1.0


def test_oracle_keeps_the_objective_and_costs_at_least_the_work() -> None:
    rng = np.random.default_rng(2)
    arrivals, services = np.sort(rng.uniform(0, 2000, 800)), rng.exponential(5.0, 800).clip(0, 50)
    found = oracle(arrivals, services, objective=60.0, share=0.95, start_delay=20.0)
    assert found.attainment >= 0.95
    assert found.cost >= services.sum()
    assert found.lower_bound <= found.cost


def test_oracle_takes_finer_steps_where_uploads_are_shorter_than_one() -> None:
    rng = np.random.default_rng(4)
    arrivals = np.sort(rng.uniform(0, 600, 60))
    found = oracle(arrivals, np.full(60, 0.3), objective=20.0, share=0.99, start_delay=1.0)
    assert found.attainment >= 0.99


@pytest.mark.parametrize("seed", range(6))
def test_oracle_is_hardly_dearer_than_the_best_of_all_schedules_replayed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrivals = np.sort(rng.uniform(0, 16, 5))
    services = rng.uniform(1.0, 9.0, 5)
    goal = {"objective": 16.0, "start_delay": 3.0}
    best = math.inf
    for counts in itertools.product(range(3), repeat=8):  # so many workers in each step of 4 s
        changes = [(4.0 * step, count) for step, count in enumerate(counts)]
        cost, late = replay(arrivals, services, [*changes, (32.0, 0)], **goal)
        if late == 0:
            best = min(best, cost)
    found = oracle(arrivals, services, share=1.0, step=4.0, **goal)
    assert found.attainment == 1.0
    finer = oracle(arrivals, services, share=1.0, step=1.0, **goal)
    assert min(found.cost, finer.cost) <= 1.1 * best
