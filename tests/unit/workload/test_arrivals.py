from __future__ import annotations

import random
from itertools import islice, pairwise

import pytest

from upswell.workload.arrivals import Phase, constant, piecewise, poisson, quiet_burst_calm


def test_constant_arrivals_do_not_drift() -> None:
    """The millionth arrival comes when it is due: rounding errors are not summed up."""
    assert next(islice(constant(10.0), 1_000_000, None)) == 100_000.0


def test_poisson_arrivals_have_exponential_gaps() -> None:
    """Mean and standard deviation of an exponential gap are both 1 / rate."""
    times = [0.0, *islice(poisson(4.0, random.Random(1)), 20_000)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.25, rel=0.03)
    assert deviation == pytest.approx(0.25, rel=0.03)


def test_each_phase_has_its_own_rate_and_a_rate_of_zero_is_silence() -> None:
    phases = [Phase("a", 100, 5), Phase("silence", 100, 0), Phase("b", 100, 20)]
    times = list(piecewise(phases, random.Random(2)))
    assert times == sorted(times)
    assert sum(at < 100 for at in times) == pytest.approx(500, rel=0.15)
    assert not [at for at in times if 100 <= at < 200]
    assert sum(at >= 200 for at in times) == pytest.approx(2000, rel=0.1)
    assert times[-1] < 300


def test_the_same_seed_gives_the_same_arrivals() -> None:
    phases = quiet_burst_calm(45, quiet_rate=3, burst_rate=20)
    assert list(piecewise(phases, random.Random(7))) == list(piecewise(phases, random.Random(7)))


def test_quiet_burst_and_calm_fill_the_time() -> None:
    phases = quiet_burst_calm(45, quiet_rate=3, burst_rate=20)
    assert [phase.name for phase in phases] == ["quiet", "burst", "calm"]
    assert sum(phase.seconds for phase in phases) == pytest.approx(45)
