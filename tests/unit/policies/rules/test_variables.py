"""What conditions can speak of, and that nothing seen is left without a name."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import get_origin

from hypothesis import given

from upswell.analysis.snapshot import Percentiles, Snapshot, Workers
from upswell.policies.rules.variables import VARIABLES, read
from upswell.testing.snapshots import constant_time, ordinary, snapshots

NAMED_OTHERWISE = {
    "slo": "slo_seconds and slo_share",
    "workers": "current and workers_...",
    "recent_service_times": "what a rehearsal draws from; service_time sums them up",
    "totals": "stored_total, in_time_total and dead_total",
    "platform": "its reason is a text; the guard behind all rules keeps to its ceiling",
    "failure_reasons": "texts for people; failures and failure_share count them",
}


def values(snapshot: Snapshot, wanted: int = 3) -> dict[str, object]:
    return read(VARIABLES, snapshot, wanted, UTC)


def test_every_field_of_a_snapshot_has_a_name() -> None:
    fields = set(Snapshot.__struct_fields__) - set(NAMED_OTHERWISE)
    assert fields <= set(VARIABLES)
    states = set(Workers.__struct_fields__) - {"desired"}
    assert {f"workers_{state}" for state in states} <= set(VARIABLES)


def test_numbers_are_read_from_where_their_meaning_says() -> None:
    times = Percentiles(count=9, mean=1.0, p50=2.0, p95=3.0, p99=4.0, maximum=5.0)
    seen = values(
        ordinary(
            current=5,
            response_time=times,
            service_time=times,
            messages_ready=7,
            failures=30,
            recent_response_times=(31.0, 2.0, 30.0),
        ),
        wanted=8,
    )
    expected = {
        "current": 5.0,
        "wanted": 8.0,
        "messages_ready": 7.0,
        "messages_unacknowledged": 4.0,
        "queue_depth": 11.0,
        "p50": 2.0,
        "p95": 3.0,
        "p99": 4.0,
        "response_time": 1.0,
        "response_time_p95": 3.0,
        "response_time_max": 5.0,
        "service_time": 1.0,
        "service_time_p50": 2.0,
        "service_time_p99": 4.0,
        "new_reports": 3.0,
        "slow_reports": 1.0,
        "failures": 30.0,
        "failure_share": 30 / 150,
        "offered_load": 2.0,
        "utilisation": 0.2,
        "workers_ready": 5.0,
        "slo_seconds": 30.0,
        "slo_share": 0.95,
        "slots_per_worker": 4.0,
        "app_id": "e123456",
        "warming_up": False,
    }
    assert {name: seen[name] for name in expected} == expected


def test_shares_of_nothing_are_not_known() -> None:
    assert values(ordinary(failures=0, throughput=0.0))["failure_share"] is None
    assert values(ordinary(failures=3, warming_up=True))["failure_share"] is None
    assert values(ordinary(workers=Workers(desired=2)))["utilisation"] is None


def test_what_is_stale_is_not_known() -> None:
    seen = values(ordinary(stale=("workers", "service_time"), service_time=constant_time(2.0)))
    for name in ("workers_ready", "workers_busy", "utilisation", "service_time", "offered_load"):
        assert seen[name] is None, name
    assert seen["current"] == 2.0, "what was decided is known whatever the workers say"
    assert seen["stale"] == ["workers", "service_time"]


@given(snapshot=snapshots())
def test_every_value_is_of_its_type_or_not_known(snapshot: Snapshot) -> None:
    for name, value in values(snapshot).items():
        kind = VARIABLES[name].kind
        assert value is None or type(value) is get_origin(kind) or type(value) is kind, name


def test_the_documentation_lists_every_variable_with_its_meaning() -> None:
    page = (Path(__file__).parents[4] / "docs/rules.md").read_text("utf-8")
    for name, variable in VARIABLES.items():
        assert f"| `{name}` | {variable.meaning} |" in page, name
