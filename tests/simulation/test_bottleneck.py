"""The bottleneck check in virtual time: it finds a shared limit, goes back to it, fires on nothing else."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import pytest

from support.virtual_plant import VirtualPlant
from upswell.policies.guards.bottleneck import PAUSE_WINDOWS
from upswell.policies.registry import policy_for
from upswell.settings import Settings

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from upswell.policies import ScalingPolicy


def slo(*, check: bool = True, most: int = 50) -> ScalingPolicy:
    return policy_for(Settings(min_workers=1, max_workers=most, bottleneck_check=check))


def exponential(rng: random.Random) -> float:
    return rng.expovariate(1 / 0.2)


def heavy_tailed(rng: random.Random) -> float:
    return rng.lognormvariate(math.log(0.2) - 1.125, 1.5)


def storm(at: float) -> float:
    """20 uploads a second; after 400 s far more than a store of 100 a second takes."""
    return 20.0 if at < 400 else 150.0


def reasons(plant: VirtualPlant, seconds: float) -> list[str]:
    return [plant.step().reason for _ in range(round(seconds / 2))]


def test_behind_a_store_of_100_uploads_a_second_only_the_workers_that_fill_it_stay() -> None:
    """0.2 s an upload, 4 slots a worker: 20 slots do 100 a second, and 5 workers are enough."""
    plant = VirtualPlant(slo(), arrivals=storm, capacity=100.0, draw=exponential).run(1800)
    assert max(plant.history) == 50  # more were needed as far as anyone could see
    assert plant.desired in (5, 6)
    assert plant.decision is not None
    assert plant.decision.alarms == ("bottleneck",)
    assert "a shared bottleneck: " in plant.decision.reason
    unchecked = VirtualPlant(slo(check=False), arrivals=storm, capacity=100.0, draw=exponential).run(1800)
    assert plant.stored > 0.99 * unchecked.stored
    assert plant.worker_seconds < 0.2 * unchecked.worker_seconds


def test_the_sentences_say_what_was_measured() -> None:
    plant = VirtualPlant(slo(), arrivals=storm, capacity=100.0, draw=exponential).run(400)
    said = reasons(plant, 500)
    (first, *_) = [reason for reason in said if "are tried" in reason]
    assert "50 workers did " in first
    assert first.endswith(": 5 workers could do the same, so 25 are tried")


def test_a_bottleneck_that_is_gone_is_found_by_the_next_probe() -> None:
    plant = VirtualPlant(slo(), arrivals=storm, capacity=100.0, draw=exponential).run(900)
    plant.capacity = 1000.0
    said = reasons(plant, PAUSE_WINDOWS * 60 + 120)
    assert any("more did no more; 8 are tried again" in reason for reason in said)
    assert plant.decision is not None
    assert plant.decision.alarms == ()
    assert plant.desired >= 8  # 150 a second keep 30 slots busy


def test_a_probe_that_finds_nothing_new_goes_back_and_the_next_comes_later() -> None:
    plant = VirtualPlant(slo(), arrivals=storm, capacity=100.0, draw=exponential).run(900)
    tried = [(2 * n, "more did no more; " in reason) for n, reason in enumerate(reasons(plant, 4000))]
    begun = [at for (at, on), (_, before) in zip(tried[1:], tried, strict=False) if on and not before]
    pauses = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert len(pauses) >= 2
    assert pauses[0] > 2 * PAUSE_WINDOWS * 60
    assert pauses[1] > 4 * PAUSE_WINDOWS * 60
    assert plant.desired in (5, 6)


@pytest.mark.parametrize(("draw", "seed"), [(exponential, 1), (heavy_tailed, 2)])
def test_noise_and_storms_without_a_bottleneck_start_no_trial(
    draw: Callable[[random.Random], float], seed: int
) -> None:
    """Half an hour of storms beyond max_workers, and lulls between them."""

    def storms(at: float) -> float:
        return 25.0 if int(at // 300) % 2 == 0 else 275.0

    plant = VirtualPlant(slo(most=10), arrivals=storms, draw=draw, seed=seed)
    assert not any("tried" in reason for reason in reasons(plant, 1800))


def test_light_load_starts_no_trial_though_slots_are_shared() -> None:
    """Without uploads that wait nothing tells what more workers could do."""
    plant = VirtualPlant(slo(), arrivals=lambda at: 20.0, capacity=25.0, draw=exponential)
    assert not any("tried" in reason for reason in reasons(plant, 1800))


def test_uploads_that_grew_cost_one_short_trial_and_no_cap() -> None:
    """Slower slots alone are no bottleneck: with fewer workers throughput falls, and they come back."""
    large = False

    def draw(rng: random.Random) -> float:
        return exponential(rng) * (4.0 if large else 1.0)

    plant = VirtualPlant(slo(most=10), arrivals=lambda at: 20.0 if at < 400 else 150.0, draw=draw).run(400)
    large = True
    said = [plant.step() for _ in range(450)]
    assert not any(decision.alarms for decision in said)
    trial = [decision for decision in said if "are tried" in decision.reason]
    assert 0 < len(trial) < 30
    assert said[-1].desired_workers == 10
