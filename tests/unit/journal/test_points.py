"""The points of charts: what happened is in exactly one of them, at each step, and they are bounded."""

from __future__ import annotations

import itertools
import sqlite3
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import Workers
from upswell.dashboard.page_journal import MOST_ROWS, PageJournal
from upswell.journal import Journal, JournalEntry, ReportRow
from upswell.journal.points import BYTES_A_POINT, COLUMNS, FINEST_FOR, SHARES, STEPS, PointCounter, standing
from upswell.testing.snapshots import ordinary

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = 1_795_000_000.0


def entry(
    at: float, *, app: str = "photos", arrivals: int = 0, ready: int = 2, epoch: int = 1, **seen: object
) -> JournalEntry:
    snapshot = replace(
        ordinary(at=at),
        app_id=app,
        arrivals=arrivals,
        workers=Workers(desired=ready, ready=ready, busy=1),
        **seen,
    )
    decision = Decision.of("slo", ready, ready + 1, "because")
    return JournalEntry(app_id=app, at=at, epoch=epoch, changed=True, snapshot=snapshot, decision=decision)


def report(at: float, took: float = 1.0, outcome: str = "stored", app: str = "photos") -> ReportRow:
    return ReportRow(app, at - took, at, 0.1, took, outcome)


def named(row: tuple[object, ...]) -> dict[str, object]:
    return dict(zip(COLUMNS, row, strict=True))


def test_each_upload_and_arrival_is_in_one_point_of_each_step() -> None:
    counter, rows = PointCounter(), list[dict[str, object]]()
    for number in range(1201):
        at = BEGIN + 2.0 * number
        ended = [report(at), report(at, 90.0), report(at, 1.0, "dead")]
        rows += [named(row) for row in counter.take([entry(at, arrivals=3 * number)], ended)]
    for step in STEPS:
        mine = [row for row in rows if row["step"] == step]
        seconds = sum(float(str(row["seconds"])) for row in mine)
        rounds = round(seconds / 2)
        assert 1200 - step / 2 <= rounds <= 1200
        for name, each in (("arrived", 3), ("stored", 2), ("in_time", 1), ("dead", 1)):
            assert sum(int(str(row[name])) for row in mine) == each * rounds, (step, name)


def test_percentiles_are_near_and_never_beyond_the_maximum() -> None:
    counter = PointCounter()
    counter.take([entry(BEGIN)], [])
    took = [number / 100 for number in range(1, 1001)]
    (row,) = counter.take([entry(BEGIN + 2)], [report(BEGIN + 2, seconds) for seconds in took])
    point = named(row)
    assert point["p50"] == pytest.approx(5000, rel=0.05)
    assert point["p95"] == pytest.approx(9500, rel=0.05)
    assert point["p99"] == pytest.approx(9900, rel=0.05)
    assert point["maximum"] == 10_000
    assert int(str(point["p99"])) <= 10_000


def test_an_interval_without_uploads_has_no_percentiles() -> None:
    """No data is not zero."""
    counter = PointCounter()
    counter.take([entry(BEGIN)], [])
    (row,) = counter.take([entry(BEGIN + 2, ready=3)], [])
    assert [named(row)[name] for name in ("p50", "p95", "p99", "maximum")] == [None] * 4


def test_a_restarted_monitor_counts_no_arrival_twice() -> None:
    counter = PointCounter()
    counter.take([entry(BEGIN, arrivals=500)], [])
    rows = counter.take([entry(BEGIN + 2, arrivals=700)], [])
    rows += counter.take([entry(BEGIN + 4, arrivals=40, epoch=2)], [])
    rows += counter.take([entry(BEGIN + 6, arrivals=41, epoch=2)], [])
    assert [named(row)["arrived"] for row in rows] == [200, 0, 1]


def test_where_nothing_happens_the_finest_step_is_rare_and_never_silent() -> None:
    counter = PointCounter()
    rows = [row for number in range(301) for row in counter.take([entry(BEGIN + 2.0 * number)], [])]
    finest = [float(str(row[2])) for row in rows if row[1] == STEPS[0]]
    assert len(finest) == pytest.approx(30, abs=2)
    assert max(later - earlier for earlier, later in itertools.pairwise(finest)) <= 22


def test_with_very_many_applications_the_finest_step_is_left_out() -> None:
    counter = PointCounter()
    for number in range(20):
        at = BEGIN + 2.0 * number
        entries = [entry(at, app=f"app{n}") for n in range(FINEST_FOR + 1)]
        rows = counter.take(entries, [report(at, app="app1")])
        assert all(row[1] != STEPS[0] for row in rows)


def test_the_points_of_each_step_are_bounded(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 1_000_000)
    for number in range(3000):
        at = BEGIN + 2.0 * number
        journal.record([entry(at, arrivals=number)], [])
        if number % 50 == 0:
            journal.flush()
    journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as file:
        (count,) = file.execute("SELECT count(*) FROM points WHERE step = ?", [STEPS[0]]).fetchone()
    assert count <= SHARES[0] * 1_000_000 / BYTES_A_POINT * 1.5
    reader = PageJournal(tmp_path / "journal.sqlite")
    newest = BEGIN + 2.0 * 2999
    assert reader.chart("photos", newest - 600, newest).columns["at"][-1] == pytest.approx(newest, abs=3)


def test_a_long_period_has_no_more_rows_than_a_chart_can_show(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", 100_000_000)
    for number in range(4000):
        at = BEGIN + 300.0 * number
        journal.record([entry(at, arrivals=number)], [report(at, app="photos")])
        if number % 50 == 0:
            journal.flush()
    journal.close()
    reader = PageJournal(tmp_path / "journal.sqlite")
    chart = reader.chart("photos", BEGIN, BEGIN + 4000 * 300.0)
    assert 0 < len(chart.columns["at"]) <= MOST_ROWS + 1
    assert sum(chart.columns["stored"]) == 3999
    assert chart.columns["at"] == sorted(chart.columns["at"])


@pytest.mark.parametrize(
    ("changes", "expected"), [({"attainment": 0.5}, 2), ({"failures": 3, "attainment": 1.0}, 1)]
)
def test_an_application_in_trouble_comes_first(changes: dict[str, object], expected: int) -> None:
    assert standing(entry(BEGIN, **changes)).trouble == expected


def test_an_alarm_is_the_worst_trouble() -> None:
    alarmed = entry(BEGIN)
    alarmed = replace(alarmed, decision=alarmed.decision.alarmed("bottleneck"))
    assert standing(alarmed).trouble == 3
