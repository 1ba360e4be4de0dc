"""The further cases and the regret on uploads made up here: no trace of the shared folder is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from further_cases import APART, PRACTICE, FurtherCase, draw, facts
from regret import regret


def case(**changes: object) -> FurtherCase:
    values = {
        "name": "made-up",
        "trace": "counts.csv",
        "begin": 60.0,
        "span": 120.0,
        "service": "bimodal(1, 20, 0.5)",
        "slo": 10.0,
        "share": 0.9,
        "start_delay": 5.0,
    }
    return FurtherCase(**{**values, **changes})  # pyright: ignore[reportArgumentType] - a table of values


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    (tmp_path / "counts.csv").write_text("t_seconds,count\n0,1000\n60,100\n120,50\n180,1000\n")
    (tmp_path / "jobs.csv").write_text("arrival_s,tokens\n10,5\n70,5\n80,5\n200,5\n")
    return tmp_path


def test_a_case_takes_the_uploads_of_its_window_and_no_upload_longer_than_can_be_in_time(
    traces: Path,
) -> None:
    arrivals, services = draw(case(), traces)
    assert len(arrivals) == len(services) == 150
    assert 0 <= arrivals.min() <= arrivals.max() < 120
    assert services.max() == 9.0
    assert 0 < (services < 2).sum() < 150


def test_a_case_is_the_same_each_time_and_other_than_one_of_another_name(traces: Path) -> None:
    assert np.array_equal(draw(case(), traces)[0], draw(case(), traces)[0])
    assert not np.array_equal(draw(case(), traces)[0], draw(case(name="other"), traces)[0])


def test_a_case_may_take_its_arrivals_from_jobs_and_squeeze_time(traces: Path) -> None:
    arrivals, _ = draw(case(trace="jobs.csv", squeeze=2.0), traces)
    assert arrivals.tolist() == [5.0, 10.0]


def test_twelve_cases_are_kept_apart_from_those_to_tune_on_and_span_what_they_should() -> None:
    assert len(APART) == 12
    assert not {c.name for c in APART} & {c.name for c in PRACTICE}
    windows = {(c.trace, c.begin) for c in APART}
    assert not windows & {(c.trace, c.begin) for c in PRACTICE}
    assert (min(c.slo for c in APART), max(c.slo for c in APART)) == (5, 600)
    assert (min(c.share for c in APART), max(c.share for c in APART)) == (0.9, 0.999)
    assert (min(c.start_delay for c in APART), max(c.start_delay for c in APART)) == (1, 120)
    assert (min(c.slots for c in APART), max(c.slots for c in APART)) == (1, 16)


def test_the_best_in_hindsight_is_no_dearer_than_the_run_that_chose_and_is_what_a_run_of_it_scores() -> None:
    rng = np.random.default_rng(2)
    arrivals = np.sort(rng.random(3000) * 1500.0)
    services = rng.exponential(2.0, 3000).clip(0, 18)
    made_up = case(name="steady", slo=20.0, share=0.95)
    told = facts(made_up, arrivals, services)
    found = regret(arrivals, services, told, told["oracle_cost_over_work"] * told["work_s"])
    assert found.best <= found.achieved
    assert found.replayed == pytest.approx(found.best, rel=0.1)
    assert found.changes > 0
    assert 0 < found.since < 1
