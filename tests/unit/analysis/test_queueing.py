"""Queueing formulas against published tables and textbook values."""

from __future__ import annotations

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.analysis import queueing


@pytest.mark.parametrize(
    ("slots", "load", "blocked"),
    [
        (1, 0.0101, 0.01),
        (5, 1.361, 0.01),
        (10, 4.461, 0.01),
        (20, 12.03, 0.01),
        (100, 84.06, 0.01),
        (10, 6.216, 0.05),
    ],
)
def test_erlang_b_gives_the_values_of_the_traffic_tables(slots: int, load: float, blocked: float) -> None:
    """Offered load at 1 % and 5 % blocking, as in every published Erlang B table."""
    assert queueing.erlang_b(slots, load) == pytest.approx(blocked, rel=0.01)


@pytest.mark.parametrize(
    ("slots", "load", "waits"),
    [(1, 0.5, 0.5), (2, 1.0, 1 / 3), (2, 1.5, 9 / 14), (3, 2.0, 4 / 9), (5, 4.0, 0.5541)],
)
def test_erlang_c_gives_the_textbook_values(slots: int, load: float, waits: float) -> None:
    """M/M/1: rho; M/M/2: 2 rho^2 / (1 + rho); larger ones as tabulated."""
    assert queueing.erlang_c(slots, load) == pytest.approx(waits, rel=1e-4)


def test_an_overloaded_queue_makes_everybody_wait_for_ever() -> None:
    assert queueing.erlang_c(3, 3.0) == 1.0


@pytest.mark.parametrize(("beta", "waits"), [(0.0, 1.0), (0.5, 0.5045), (1.0, 0.2234), (2.0, 0.0269)])
def test_halfin_and_whitts_limit_gives_its_published_values(beta: float, waits: float) -> None:
    assert queueing.halfin_whitt(beta) == pytest.approx(waits, abs=2e-4)


def late_share(slots: int, load: float, service: float, wait: float) -> float:
    """Return the share of uploads that wait longer in M/M/c, as in textbooks: C exp(-(c - a) wait / s)."""
    return (
        1.0 if load >= slots else queueing.erlang_c(slots, load) * math.exp(-(slots - load) * wait / service)
    )


@given(load=st.floats(0.01, 299), late=st.floats(0.001, 0.5), wait=st.floats(0, 30))
def test_slots_needed_is_the_fewest_that_keeps_the_late_share(load: float, late: float, wait: float) -> None:
    slots = queueing.slots_needed(load, 2.0, wait, late)
    assert late_share(slots, load, 2.0, wait) <= late
    assert slots - 1 <= load or late_share(slots - 1, load, 2.0, wait) > late


@given(load=st.floats(100, 300), late=st.floats(0.01, 0.5))
def test_the_limit_is_within_two_slots_of_the_exact_formula(load: float, late: float) -> None:
    """It takes over where the exact formula gets slow."""
    exact = queueing.slots_needed(load, 2.0, 0.0, late)
    assert abs(queueing._slots_needed_by_limit(load, 2.0, 0.0, late) - exact) <= 2


@given(load=st.floats(0, 5000), more=st.floats(0, 500))
def test_more_load_never_needs_fewer_slots(load: float, more: float) -> None:
    """Between the two formulas a slot or two may be lost to the limit's error, nowhere else."""
    crossing = load <= queueing.EXACT_UP_TO < load + more
    fewer = queueing.slots_needed(load, 2.0, 1.0, 0.05)
    assert queueing.slots_needed(load + more, 2.0, 1.0, 0.05) >= fewer - 2 * crossing


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(queueing).failed == 0
    assert doctest.testmod(queueing).attempted > 3
