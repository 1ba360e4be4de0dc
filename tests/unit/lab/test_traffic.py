from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from upswell.errors import SettingsError, TraceError
from upswell.lab.traffic import TrafficSource, check_reach, parse_slo, read_traffic
from upswell.settings import Slo

if TYPE_CHECKING:
    from pathlib import Path


def source(**changes: object) -> TrafficSource:
    named: dict[str, object] = {"jobs": None, "trace": None, "arrivals": None, "service": None}
    numbers: dict[str, object] = {"duration": "1h", "seed": 1, "thin": 1.0, "squeeze": 1.0}
    return TrafficSource(**{**named, **numbers, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "share", "slo"),
    [
        ("60", 0.99, Slo(0.99, 60.0)),
        ("0.5", None, Slo(0.95, 0.5)),
        ("99% < 2min", None, Slo(0.99, 120.0)),
        ("99% < 60s", 0.99, Slo(0.99, 60.0)),
    ],
)
def test_an_objective_is_seconds_and_a_share_or_the_text_of_both(
    text: str, share: float | None, slo: Slo
) -> None:
    assert parse_slo(text, share) == slo


@pytest.mark.parametrize(
    ("text", "share", "rule"),
    [
        ("99% < 60s", 0.9, "give share only once"),
        ("0", None, "> 0 s"),
        ("-1", None, "> 0 s"),
        ("nan", None, "> 0 s, got 'nan'"),
        ("fast", None, "must have the form"),
        ("60", 1.0, "share must be > 0 and < 1, got 1"),
        ("60", 99.0, "got 99"),
    ],
)
def test_what_is_no_objective_is_refused_with_its_rule(text: str, share: float | None, rule: str) -> None:
    with pytest.raises(SettingsError, match=rule):
        parse_slo(text, share)


def test_counts_become_uploads_and_what_was_drawn_or_changed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "week.csv"
    path.write_text("t_seconds,count\n0,400\n60,0\n120,200\n")
    traffic = read_traffic(source(trace=str(path), service="exponential(2)", thin=0.5, squeeze=2.0))
    assert traffic.case == "week"
    assert len(traffic.arrivals) == pytest.approx(300, abs=50)
    assert traffic.arrivals[-1] <= 90
    told = " ".join(traffic.notes)
    for words in (
        "3 counts of 60 s",
        "thinned to 0.5",
        "exponential (mean 2)",
        "seed 1",
        "compressed 2 times",
    ):
        assert words in told


def test_the_same_seed_gives_the_same_uploads_and_another_gives_others() -> None:
    one, same, other = (
        read_traffic(source(arrivals="poisson(1)", service="exponential(2)", seed=seed)) for seed in (1, 1, 2)
    )
    assert one.arrivals.tolist() == same.arrivals.tolist()
    assert one.services.tolist() == same.services.tolist()
    assert one.arrivals.tolist() != other.arrivals.tolist()


def test_traffic_without_an_upload_is_refused() -> None:
    with pytest.raises(TraceError, match="no uploads in the traffic"):
        read_traffic(source(arrivals="poisson(0.0000001)", service="2"))


def test_an_objective_shorter_than_every_service_is_refused_with_one_that_can_be_met() -> None:
    services = np.array([2.0, 3.0, 10.0])
    with pytest.raises(
        TraceError, match=r"95% < 1s cannot be met: the shortest service takes 2 s; .*: 95% < 10.1s"
    ):
        check_reach(services, Slo(0.95, 1.0))


def test_services_longer_than_the_objective_are_told_and_so_is_what_can_be_met() -> None:
    services = np.array([2.0] * 9 + [100.0])
    possible, notes = check_reach(services, Slo(0.95, 60.0))
    assert possible == 0.9
    assert "1 of 10 uploads take longer than 60 s" in notes[0]
    assert "90.00% within 60 s, or 95% < 101s" in notes[1]
    assert check_reach(services, Slo(0.8, 60.0))[1] == notes[:1]
    assert check_reach(services, Slo(0.8, 100.0)) == (1.0, ())
