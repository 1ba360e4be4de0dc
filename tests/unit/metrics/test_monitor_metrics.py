"""What the monitor tells Prometheus: true sums, a bounded number of series, nothing that is not known."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from upswell.analysis.billing import Bill
from upswell.analysis.decision import Decision
from upswell.analysis.snapshot import ObservedTotals, Snapshot, Workers
from upswell.journal import JournalEntry
from upswell.metrics.figures import METRICS, OTHER, Distribution, Figure
from upswell.metrics.monitor_metrics import CHOOSE_SECONDS, MonitorMetrics
from upswell.settings import Settings, Slo

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def entry(app: str, at: float = 100.0, times: Sequence[float] = (), **fields: Any) -> JournalEntry:
    """Return a round's entry of an application that answered in these times, all of its uploads ever."""
    slo = fields.pop("slo", Slo(0.95, 20.0))
    stored = fields.pop("stored", len(times))
    in_time = fields.pop("in_time", sum(time <= slo.seconds for time in times))
    decision = fields.pop("decision", Decision.of("slo", 2, 2, "as it is"))
    bill = fields.pop("bill", None)
    fields.setdefault("workers", Workers(desired=2))
    snapshot = Snapshot(
        app_id=app,
        at=at,
        slo=slo,
        window=60.0,
        slots_per_worker=4,
        recent_response_times=tuple(times),
        totals=ObservedTotals(stored=stored, in_time=in_time, dead=fields.pop("dead", 0)),
        **fields,
    )
    changed = decision.desired_workers != decision.before
    return JournalEntry(
        app_id=app, at=at, epoch=1, changed=changed, snapshot=snapshot, decision=decision, bill=bill
    )


def metrics(*apps: str, most: int = 200, **settings: Any) -> MonitorMetrics:
    return MonitorMetrics(Settings(apps={app: {} for app in apps}, metrics_apps=most, **settings))


def values(found: MonitorMetrics, metric: str) -> dict[tuple[str, ...], Any]:
    return {figure.labels: figure.value for figure in found.figures() if figure.metric == metric}


def total(found: MonitorMetrics, metric: str) -> float:
    return sum(values(found, metric).values())


def series_of(figures: Iterable[Figure]) -> int:
    """Return how many series Prometheus makes of these figures."""
    return sum(len(f.value.buckets) + 3 if isinstance(f.value, Distribution) else 1 for f in figures)


def test_one_bucket_ends_at_the_objective_and_holds_the_uploads_in_time() -> None:
    found = metrics("a")
    found.take([entry("a", times=[0.1, 19.9, 20.0, 20.1, 5000.0], dead=2)])
    (distribution,) = values(found, "upswell_response_time_seconds").values()
    assert dict(distribution.buckets)[20.0] == 3
    assert dict(distribution.buckets)[0.1] == 1
    assert distribution.count == 5
    assert distribution.total == pytest.approx(5060.1)
    assert values(found, "upswell_uploads_in_time_total") == {("a",): 3}
    assert values(found, "upswell_uploads_total")[("a", "dead")] == 2


def test_another_objective_begins_another_histogram() -> None:
    found = metrics("a")
    found.take([entry("a", times=[1.0])])
    found.take([entry("a", times=[2.0], stored=2, slo=Slo(0.9, 7.0))])
    (distribution,) = values(found, "upswell_response_time_seconds").values()
    assert (7.0 in dict(distribution.buckets), distribution.count) == (True, 1)
    assert values(found, "upswell_uploads_total")[("a", "stored")] == 2


def test_what_is_not_known_has_no_figure() -> None:
    found = metrics("a")
    found.take([entry("a")])
    known = {figure.metric for figure in found.figures()}
    assert not known & {
        "upswell_queue_messages",
        "upswell_queue_oldest_age_seconds",
        "upswell_arrivals_total",
        "upswell_cost_total",
    }
    found.take([entry("a", messages_ready=0, oldest_age=0.0)])
    assert values(found, "upswell_queue_messages") == {("a", "ready"): 0}
    assert values(found, "upswell_queue_oldest_age_seconds") == {("a",): 0.0}


def test_each_worker_is_in_one_state() -> None:
    found = metrics("a")
    workers = Workers(desired=6, starting=1, ready=4, busy=5, standby=2, draining=3)
    found.take([entry("a", workers=workers)])
    states = {state: count for (_, state), count in values(found, "upswell_workers").items()}
    assert states == {"starting": 1, "standby": 2, "idle": 2, "busy": 2, "draining": 3}


def test_cost_counts_from_now_on_at_the_price_of_the_moment() -> None:
    found = MonitorMetrics(Settings(apps={"a": {}}, price_per_worker_hour=2.0, currency="EUR"))
    for seconds in (1000.0, 4600.0):
        found.take([entry("a", bill=Bill(since=0.0, at=1.0, busy=seconds))])
    assert values(found, "upswell_cost_total") == {("a", "EUR"): 2.0}
    assert values(found, "upswell_worker_seconds_total")[("a", "busy")] == 3600.0


def test_decisions_and_alarms_are_counted() -> None:
    found = metrics("a")
    out = Decision.of("slo", 2, 5, "more").alarmed("bottleneck")
    for decision in (out, Decision.of("slo", 5, 5, "same"), Decision.of("slo", 5, 1, "fewer"), out):
        found.take([entry("a", decision=decision)])
    assert values(found, "upswell_scale_decisions_total") == {("a", "out"): 2, ("a", "in"): 1}
    assert values(found, "upswell_alarm")[("a", "bottleneck")] == 1
    assert values(found, "upswell_alarm")[("a", "signals_lost")] == 0


def test_an_application_that_only_messages_name_has_no_series_of_its_own() -> None:
    found = metrics("a")
    found.take([entry("a", times=[1.0]), entry("forged", times=[1.0, 1.0])])
    assert values(found, "upswell_uploads_total")[(OTHER, "stored")] == 2
    assert not any("forged" in figure.labels for figure in found.figures())
    assert values(found, "upswell_applications") == {("scaled",): 1, ("unknown",): 1}


def test_ten_thousand_applications_have_a_bounded_number_of_series() -> None:
    apps = [f"app{number}" for number in range(10_000)]
    found = metrics(*apps, most=50)
    found.take(
        [
            entry(app, times=[1.0] * (number % 100), messages_ready=number, oldest_age=1.0)
            for number, app in enumerate(apps)
        ]
    )
    figures = list(found.figures())
    shown = {figure.labels[0] for figure in figures if figure.metric == "upswell_workers"}
    assert len(shown) == 51
    assert OTHER in shown
    assert all(int(app.removeprefix("app")) % 100 == 99 for app in shown - {OTHER})
    assert series_of(figures) < 51 * 50
    assert total(found, "upswell_uploads_total") == sum(number % 100 for number in range(10_000))
    assert values(found, "upswell_queue_messages")[(OTHER, "ready")] > 10**7


def test_sums_stay_true_and_no_series_falls_while_the_busiest_change() -> None:
    rng = random.Random(5)
    apps = [f"app{number}" for number in range(40)]
    found = metrics(*apps, most=7)
    stored: Counter[str] = Counter()
    seen: defaultdict[tuple[str, ...], float] = defaultdict(float)
    ever_gained = 0.0
    for step in range(60):
        batch = {app: rng.choice((0, 0, 1, 50)) for app in apps}
        stored.update(batch)
        at = step * CHOOSE_SECONDS / 2
        found.take([entry(app, at, [1.0] * batch[app], stored=stored[app]) for app in apps])
        now = values(found, "upswell_uploads_total")
        for labels, value in now.items():  # as rate() sees it: a series that is new begins at 0
            assert value >= seen[labels]
            ever_gained += value - seen[labels]
        seen = defaultdict(float, now)
    assert ever_gained == sum(stored.values())


def test_figures_have_the_labels_that_their_metric_says() -> None:
    found = metrics("a", "b", most=1, price_per_worker_hour=1.0)
    bill = Bill(since=0.0, at=1.0, busy=1.0)
    found.take(
        [entry(app, messages_ready=1, arrivals=3, oldest_age=1.0, bill=bill, times=[1.0]) for app in "ab"]
    )
    for figure in found.figures():
        assert len(figure.labels) == len(METRICS[figure.metric].labels)


def test_one_that_leads_no_more_keeps_its_counts_and_shows_nothing_as_it_is() -> None:
    """What it saw last may be weeks old; what another billed meanwhile is not its own."""
    found = metrics("photos", price_per_worker_hour=3600.0)
    found.take([entry("photos", bill=Bill(since=0.0, at=1.0, busy=0.0))])
    found.take([entry("photos", bill=Bill(since=0.0, at=1.0, busy=5.0))])
    found.take([])
    assert values(found, "upswell_desired_workers") == {}
    assert total(found, "upswell_cost_total") == 5.0
    found.take([entry("photos", bill=Bill(since=0.0, at=1.0, busy=100.0))])
    assert total(found, "upswell_cost_total") == 5.0
    assert values(found, "upswell_desired_workers") == {("photos",): 2}
