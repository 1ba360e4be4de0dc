"""The arithmetic of benchmarks/reality.py on a real run made up by hand: no process, no clock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import reality
from reality_run import Life, Measured
from upswell.fleets.mounts import mounts

ARRIVALS, SERVICES = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 2.0, 0.5])


def measured(**changes: Any) -> Measured:
    workers = {
        "first": Life(90.0, ready_at=90.4),
        "second": Life(101.1, ready_at=101.9, told_at=103.0, last_upload_at=104.0, gone_at=104.7),
    }
    values: dict[str, Any] = {
        "broker": "sqlite",
        "began_at": 100.0,
        "ended_at": 106.0,
        "worker_seconds": 9.6,
        "responses": {0: 1.1, 1: 1.1, 2: 3.1},
        "services": {0: 1.01, 1: 1.01, 2: 2.01},
        "published": {0: 0.0, 1: 1.0, 2: 2.03},
        "report_lags": [0.01, 0.03],
        "workers": workers,
        "decisions": [(101.0, 2, "more"), (102.9, 1, "fewer")],
        "timeline": [(0.0, 1), (1.1, 2), (4.7, 1)],
    }
    return Measured(**{**values, **changes})


def test_each_delay_is_taken_from_what_was_seen_of_workers_and_uploads() -> None:
    known = reality.facts(measured(), ARRIVALS, SERVICES)
    assert known.start_delays == pytest.approx([0.4, 0.8])
    assert known.stop_delay == pytest.approx(0.7)  # since its last upload, which ended after it was told
    assert known.order_lag == pytest.approx(0.1)
    assert known.overhead == pytest.approx(0.01)
    assert known.report_lag == pytest.approx(0.02)
    assert known.publish_lag == pytest.approx(0.01)


def test_a_worker_that_left_after_the_last_answer_says_nothing_of_how_long_leaving_takes() -> None:
    assert reality.facts(measured(ended_at=104.0), ARRIVALS, SERVICES).stop_delays == []


def test_an_upload_that_was_never_answered_is_late() -> None:
    figures = reality.real_figures(measured(), 4, 3.0)
    assert figures.attainment == 0.5
    assert (figures.peak_workers, figures.starts, figures.scalings) == (2, 1, 2)


def test_generated_trace_is_the_same_for_a_seed_and_lasts_as_asked() -> None:
    arrivals, services = reality.generated(60.0, 7)
    again, same = reality.generated(60.0, 7)
    assert (arrivals == again).all()
    assert (services == same).all()
    assert 50 < arrivals[-1] <= 60
    assert (np.diff(arrivals) >= 0).all()


def test_a_squeezed_trace_keeps_its_shape_and_gets_a_bearable_load() -> None:
    rng = np.random.default_rng(3)
    arrivals = np.sort(rng.random(20_000)) * 86_400
    services = rng.exponential(10.0, 20_000)
    at, work = reality.squeezed(arrivals, services, 100.0, 1)
    assert len(at) == len(work) == 500
    assert (at[0], at[-1]) == pytest.approx((0.0, 100.0))
    assert work.sum() == pytest.approx(0.3 * reality.SLOTS * reality.MAX_WORKERS * 100)
    assert work.std() / work.mean() == pytest.approx(1.0, abs=0.2)


def test_prediction_of_a_fleet_that_never_changes_is_its_size_times_the_run() -> None:
    arrivals, services = reality.generated(20.0, 2)
    known = reality.facts(measured(), ARRIVALS, SERVICES)
    values = {**reality.SETTINGS, "policy": "constant", "min_workers": 8}
    found = reality.predictions(arrivals, services, known, values, count=3)
    assert [f.starts for f in found] == [0, 0, 0]
    assert all(8 * 19 <= f.worker_seconds <= 8 * 30 for f in found)
    slower = replace(known, overhead=2.5)
    late = reality.predictions(arrivals, services, slower, values, count=3)
    assert late[0].attainment < found[0].attainment


def test_goals_are_missed_when_either_figure_is_too_far_off() -> None:
    known = reality.facts(measured(), ARRIVALS, SERVICES)
    real = reality.real_figures(measured(), 4, 3.0)
    near = replace(real, worker_seconds=real.worker_seconds * 1.09, attainment=real.attainment + 0.009)
    assert reality.compare(measured(), real, [near, near], known).meets_goals
    for wrong in (
        replace(near, worker_seconds=real.worker_seconds * 1.11),
        replace(near, attainment=real.attainment - 0.011),
    ):
        comparison = reality.compare(measured(), real, [wrong, wrong], known)
        assert not comparison.meets_goals
        assert any("outside" in line for line in reality.explain(comparison))


def test_a_container_finds_the_handler_in_the_folder_that_it_shares() -> None:
    settings = reality.settings_for(Path(), "", {**reality.BURSTS, "fleet": "docker"})
    folders = [mount.path for mount in mounts(settings.for_app("reality")) if mount.read_only]
    assert folders == [str(Path(reality.__file__).parent)]
    assert settings.worker_variables == ["PYTHONPATH"]
