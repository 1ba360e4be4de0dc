"""The simulator against published queueing formulas, with confidence intervals over replications."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace

from upswell.analysis.decision import Decision
from upswell.settings import Slo
from upswell.simulator.engine import simulate
from upswell.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.analysis.snapshot import Snapshot

    Draw = Callable[[np.random.Generator, int], np.ndarray]

WORLD = World(slo=Slo(0.95, 1e9), start_delay=1.0, max_workers=10_000)
REPLICATIONS = 20
UPLOADS = 20_000
STUDENT_999 = 3.883
"""Two-sided 99.9 % quantile of Student's t with 19 degrees of freedom."""


def erlang_c(servers: int, load: float) -> float:
    """Probability of waiting in M/M/c, from Erlang B's recursion (Cooper 1981)."""
    blocking = 1.0
    for count in range(1, servers + 1):
        blocking = load * blocking / (count + load * blocking)
    return servers * blocking / (servers - load * (1 - blocking))


def mean_waits(
    servers: int, load: float, draw: Draw, replications: int = REPLICATIONS, world: World = WORLD
) -> np.ndarray:
    """Return each replication's mean waiting time; the mean service time is 1, `servers` are workers."""
    waits = []
    for seed in range(replications):
        rng = np.random.default_rng(seed)
        arrivals = np.cumsum(rng.exponential(1 / load, UPLOADS))
        waits.append(simulate(arrivals, draw(rng, UPLOADS), servers, world).mean_waiting)
    return np.array(waits)


def assert_within_confidence(waits: np.ndarray, expected: float) -> None:
    half_width = STUDENT_999 * waits.std(ddof=1) / math.sqrt(len(waits))
    # an empty start shortens the waits a little: the bias of 20,000 uploads is far below 1 %
    assert abs(waits.mean() - expected) <= half_width + 0.01 * expected
    assert half_width < 0.2 * expected, "too few uploads to tell right from wrong"


def exponential(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.exponential(1.0, count)


def constant(_rng: np.random.Generator, count: int) -> np.ndarray:
    return np.ones(count)


def lognormal(rng: np.random.Generator, count: int) -> np.ndarray:
    """Mean 1, squared coefficient of variation 1."""
    sigma = math.sqrt(math.log(2))
    return rng.lognormal(-sigma * sigma / 2, sigma, count)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_waits_as_long_as_in_mm1(load: float) -> None:
    assert_within_confidence(mean_waits(1, load, exponential), load / (1 - load))


@pytest.mark.parametrize(("servers", "load"), [(2, 1.2), (5, 4.0), (20, 17.0)])
def test_waits_as_long_as_erlang_c_says_for_mmc(servers: int, load: float) -> None:
    assert_within_confidence(
        mean_waits(servers, load, exponential), erlang_c(servers, load) / (servers - load)
    )


@pytest.mark.parametrize(("workers", "slots", "load"), [(1, 2, 1.2), (2, 10, 17.0)])
def test_slots_are_servers(workers: int, slots: int, load: float) -> None:
    servers = workers * slots
    world = replace(WORLD, slots=slots)
    waits = mean_waits(workers, load, exponential, world=world)
    assert_within_confidence(waits, erlang_c(servers, load) / (servers - load))


def test_a_bottleneck_for_two_is_a_server_of_half_the_speed() -> None:
    # Everything takes twice as long: M/M/1 at twice the load, waits counted in the longer services.
    world = replace(WORLD, decision_interval=60.0, slow_down=lambda _running: 2.0)
    waits = mean_waits(1, 0.4, exponential, world=world)
    assert_within_confidence(waits, 2.0 * 0.8 / (1 - 0.8))


@pytest.mark.parametrize(("draw", "squared_variation"), [(constant, 0.0), (lognormal, 1.0)])
def test_waits_as_long_as_pollaczek_and_khinchine_say_for_mg1(draw: Draw, squared_variation: float) -> None:
    load = 0.6
    assert_within_confidence(mean_waits(1, load, draw), load / (1 - load) * (1 + squared_variation) / 2)


@pytest.mark.parametrize(("servers", "utilisation"), [(2, 0.8), (4, 0.9), (8, 0.8)])
def test_waits_as_long_as_crommelin_says_for_mdc(servers: int, utilisation: float) -> None:
    """Crommelin (1932): the exact mean wait of M/D/c as a sum of Poisson tails."""
    load = servers * utilisation
    assert_within_confidence(mean_waits(servers, load, constant), crommelin(servers, load))


def crommelin(servers: int, load: float) -> float:
    """Mean wait of M/D/c with service time 1: Franx (2001), eq. for E[W]; sums of Poisson probabilities."""
    total = 0.0
    for batch in range(1, 4000):
        mean, least = batch * load, batch * servers
        term = _poisson(least, mean)
        below = term
        tail, step = 0.0, least
        while below > 1e-17:
            tail += below
            step += 1
            below *= mean / step
        contribution = tail - _tail_from(least + 1, mean) * servers / load
        total += contribution
        if contribution < 1e-15:
            break
    return total


def _poisson(count: int, mean: float) -> float:
    return math.exp(count * math.log(mean) - mean - math.lgamma(count + 1))


def _tail_from(least: int, mean: float) -> float:
    term, tail, step = _poisson(least, mean), 0.0, least
    while term > 1e-17:
        tail += term
        step += 1
        term *= mean / step
    return tail


def test_crommelin_gives_the_known_wait_of_md1() -> None:
    """With one server it must be Pollaczek and Khinchine's: load / (2 (1 - load))."""
    assert crommelin(1, 0.8) == pytest.approx(0.8 / 0.4, rel=1e-6)


class Steady:
    """Decides the same number always, so that the engine stops at every interval."""

    def __init__(self, workers: int) -> None:
        self.seen: list[tuple[int | None, float | None]] = []
        self._decision = Decision.of("steady", workers, workers, "steady")

    def decide(self, snapshot: Snapshot) -> Decision:
        """Return the same number, and note the depth."""
        self.seen.append((snapshot.queue_depth, snapshot.arrival_rate))
        return self._decision


def test_deciding_often_changes_no_response_time_of_a_fixed_fleet() -> None:
    rng = np.random.default_rng(7)
    arrivals = np.cumsum(rng.exponential(0.25, 5_000))
    services = exponential(rng, 5_000)
    world = World(slo=Slo(0.95, 1e9), initial_workers=5, decision_interval=0.5, window=30)
    swept, stepped = simulate(arrivals, services, 5, world), simulate(arrivals, services, Steady(5), world)
    assert stepped.mean_waiting == pytest.approx(swept.mean_waiting)
    assert (stepped.p99, stepped.maximum) == pytest.approx((swept.p99, swept.maximum))
    assert stepped.cost == pytest.approx(swept.cost, rel=0.001)


def test_uploads_in_the_system_follow_littles_law() -> None:
    rng = np.random.default_rng(3)
    arrivals = np.cumsum(rng.exponential(0.25, 40_000))
    services = exponential(rng, 40_000)
    policy = Steady(5)
    world = World(slo=Slo(0.95, 1e9), initial_workers=5, decision_interval=0.5, window=30)
    outcome = simulate(arrivals, services, policy, world)
    mean_depth = np.mean([depth for depth, _ in policy.seen])
    mean_response = outcome.mean_waiting + services.mean()
    assert mean_depth == pytest.approx(40_000 / arrivals[-1] * mean_response, rel=0.02)
