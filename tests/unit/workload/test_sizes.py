from __future__ import annotations

import random
import statistics

import pytest

from upswell.workload.sizes import lognormal, pareto, pareto_mean


def test_pareto_sizes_stay_within_their_ends_and_have_the_mean_of_the_formula() -> None:
    rng = random.Random(1)
    sizes = [pareto(rng, alpha=1.3, smallest=1_000, largest=1_000_000) for _ in range(100_000)]
    assert min(sizes) >= 1_000
    assert max(sizes) <= 1_000_000
    assert statistics.fmean(sizes) == pytest.approx(
        pareto_mean(alpha=1.3, smallest=1_000, largest=1_000_000), rel=0.05
    )


def test_pareto_sizes_are_heavy_tailed() -> None:
    """The largest tenth holds most of all bytes: what makes uploads queue behind a large one."""
    rng = random.Random(1)
    sizes = sorted(pareto(rng, alpha=1.1, smallest=1_000, largest=10_000_000) for _ in range(20_000))
    assert sum(sizes[-2_000:]) > 0.5 * sum(sizes)


def test_lognormal_sizes_have_their_median_and_stay_within_their_ends() -> None:
    rng = random.Random(1)
    sizes = [lognormal(rng, median=10_000, sigma=1.5, smallest=100, largest=1_000_000) for _ in range(20_000)]
    assert min(sizes) >= 100
    assert max(sizes) <= 1_000_000
    assert statistics.median(sizes) == pytest.approx(10_000, rel=0.05)
