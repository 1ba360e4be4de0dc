from __future__ import annotations

import numpy as np
import pytest

from upswell.errors import TraceError
from upswell.workload import distributions


@pytest.mark.parametrize(
    ("text", "mean", "squared_variation"),
    [
        ("lognormal(10, 1)", 10.0, 1.0),
        ("lognormal(2, 0.5)", 2.0, 0.5),
        ("exponential(3)", 3.0, 1.0),
        ("uniform(2, 4)", 3.0, 1 / 27),
        ("pareto(5, 4)", 5.0, 0.125),
        ("7.5", 7.5, 0.0),
        ("constant(0)", 0.0, 0.0),
        ("lognormal(4, 0)", 4.0, 0.0),
    ],
)
def test_a_named_distribution_has_the_mean_and_variation_that_it_names(
    text: str, mean: float, squared_variation: float
) -> None:
    drawn = distributions.service_times(text).draw(np.random.default_rng(1), 400_000)
    assert drawn.mean() == pytest.approx(mean, rel=0.01)
    assert drawn.var() == pytest.approx(squared_variation * mean**2, rel=0.15, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("poisson(5)", 5.0), ("regular(5)", 5.0), ("daily(2, 6, 600)", 4.0), ("on_off(9, 20, 40)", 3.0)],
)
def test_a_named_process_has_its_rate_and_is_sorted_within_its_time(text: str, rate: float) -> None:
    drawn = distributions.arrivals(text, 60_000).draw(np.random.default_rng(1), 60_000)
    assert len(drawn) / 60_000 == pytest.approx(rate, rel=0.05)
    assert (np.diff(drawn) >= 0).all()
    assert drawn[0] >= 0
    assert drawn[-1] < 60_000


def test_the_same_seed_draws_the_same() -> None:
    process = distributions.arrivals("on_off(5, 10, 10)", 100)
    once, again = (process.draw(np.random.default_rng(7), 100).tolist() for _ in range(2))
    assert once == again


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("normal(2)", "must be one of constant"),
        ("lognormal", "must be one of constant"),
        ("lognormal(10)", r"must be lognormal\(mean, squared_variation\) with a number for each"),
        ("lognormal(ten, 1)", "a number for each"),
        ("lognormal(-1, 1)", "mean must be > 0, got -1"),
        ("lognormal(nan, 1)", "mean must be > 0, got nan"),
        ("exponential(inf)", "mean must be > 0, got inf"),
        ("pareto(5, 1)", "shape must be > 1, got 1"),
        ("uniform(4, 2)", "low <= high"),
        ("-3", "seconds must be >= 0, got -3"),
        ("nan", "seconds must be >= 0, got nan"),
    ],
)
def test_what_is_no_distribution_is_refused_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(TraceError, match=rule):
        distributions.service_times(text)


def test_more_arrivals_than_memory_is_for_are_refused() -> None:
    with pytest.raises(TraceError, match="at most 50,000,000 uploads"):
        distributions.arrivals("poisson(1000000)", 3600)
