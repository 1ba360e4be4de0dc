"""What every scaling policy promises, bare and behind its guards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from support.snapshots import later, ordinary, snapshots
from upswell.analysis.snapshot import Snapshot, Workers
from upswell.policies.registry import REGISTRY, bare_policy, policy_for
from upswell.settings import Settings

if TYPE_CHECKING:
    from upswell.policies import ScalingPolicy

MIN, MAX = 1, 50
POLICIES = REGISTRY.names()
few = settings(max_examples=25, deadline=None)
"""Examples of each property and policy: a dozen policies make hundreds of each property."""
OWN = {"rules": {"rules_file": str(Path(__file__).parents[2] / "examples/rules/threshold.toml")}}
"""Settings that a policy cannot be without."""
BETWEEN_DECISIONS = {"flink": 600.0, "judoscale": 600.0}
"""Seconds, where not 2: their own rules let one worker go in ten minutes, or some in an hour."""
NEEDING_DATA = [name for name in POLICIES if name != "constant"]


def settings_of(name: str, **settings: Any) -> Settings:
    values = {"policy": name, "min_workers": MIN, "max_workers": MAX, **OWN.get(name, {}), **settings}
    return Settings(**values)


def wrapped(name: str, **settings: float) -> ScalingPolicy:
    return policy_for(settings_of(name, **settings))


def bare(name: str) -> ScalingPolicy:
    return bare_policy(settings_of(name))


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seen=st.lists(snapshots(), min_size=1, max_size=5))
def test_policy_stays_within_its_bounds_whatever_it_sees(name: str, seen: list[Snapshot]) -> None:
    policy = wrapped(name)
    for snapshot in later(seen):
        assert MIN <= policy.decide(snapshot).desired_workers <= MAX


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("make", [bare, wrapped])
@few
@given(snapshot=snapshots(), more=st.integers(1, 10_000))
def test_more_backlog_never_means_fewer_workers(
    make: object, name: str, snapshot: Snapshot, more: int
) -> None:
    if snapshot.messages_ready is None:
        return
    busier = replace(snapshot, messages_ready=snapshot.messages_ready + more)
    few = make(name).decide(snapshot).desired_workers  # type: ignore[operator]
    assert make(name).decide(busier).desired_workers >= few  # type: ignore[operator]


@pytest.mark.parametrize("name", NEEDING_DATA)
@few
@given(snapshot=snapshots())
def test_policy_holds_when_the_depth_of_the_queue_is_missing(name: str, snapshot: Snapshot) -> None:
    """No data is not zero: an outage of the broker's answers must not read as an empty queue."""
    blind = replace(snapshot, messages_ready=None, recent_response_times=())
    decision = bare(name).decide(blind)
    assert decision.held
    assert decision.desired_workers == blind.workers.desired
    inside = min(MAX, max(MIN, blind.workers.desired))
    assert wrapped(name).decide(blind).desired_workers == inside


@pytest.mark.parametrize("name", NEEDING_DATA)
@few
@given(snapshot=snapshots())
def test_policy_never_scales_in_when_the_uploads_in_flight_are_not_known(
    name: str, snapshot: Snapshot
) -> None:
    blind = replace(snapshot, messages_unacknowledged=None)
    assert bare(name).decide(blind).desired_workers >= blind.workers.desired


@pytest.mark.parametrize("name", POLICIES)
def test_policy_without_any_signal_keeps_the_workers_that_run(name: str) -> None:
    snapshot = Snapshot(
        app_id="e123456",
        at=1000.0,
        slo=ordinary().slo,
        window=60.0,
        slots_per_worker=4,
        workers=Workers(desired=7),
    )
    if name != "constant":
        assert wrapped(name).decide(snapshot).desired_workers == 7


@pytest.mark.parametrize("name", POLICIES)
@few
@given(snapshot=snapshots())
def test_whatever_waits_gets_a_worker_though_none_may_be_the_minimum(name: str, snapshot: Snapshot) -> None:
    """At zero workers nothing ends and nothing is reported: a policy that holds then would hold for ever."""
    policy = policy_for(settings_of(name, min_workers=0))
    waiting = replace(snapshot, messages_ready=1, workers=Workers(desired=0))
    assert policy.decide(waiting).desired_workers >= 1


@pytest.mark.parametrize("name", POLICIES)
@few
@given(snapshot=snapshots())
def test_constant_load_settles(name: str, snapshot: Snapshot) -> None:
    """The same signals in 450 decisions, workers come as wanted: in the last 60 nothing changes."""
    policy = wrapped(name)
    wanted: list[int] = []
    current = snapshot.workers.desired
    for number in range(450):
        workers = Workers(desired=current, ready=current)
        at = 1000.0 + BETWEEN_DECISIONS.get(name, 2.0) * number
        seen = replace(snapshot, at=at, workers=workers, warming_up=False)
        current = policy.decide(seen).desired_workers
        wanted.append(current)
    assert len(set(wanted[-60:])) == 1


@pytest.mark.parametrize("name", POLICIES)
@few
@given(seen=st.lists(snapshots(), min_size=1, max_size=8))
def test_the_same_snapshots_give_the_same_decisions(name: str, seen: list[Snapshot]) -> None:
    """The simulator and a replay run these very objects and must come to the same."""
    one, other = wrapped(name), wrapped(name)
    assert [one.decide(s) for s in later(seen)] == [other.decide(s) for s in later(seen)]


@pytest.mark.parametrize("name", POLICIES)
@few
@given(snapshot=snapshots())
def test_nobody_is_drained_while_the_monitor_has_not_seen_one_full_window(
    name: str, snapshot: Snapshot
) -> None:
    current = min(MAX, max(MIN, snapshot.workers.desired))
    workers = Workers(desired=current)
    new = replace(snapshot, workers=workers, warming_up=True)
    assert wrapped(name, stabilization_window=0.0).decide(new).desired_workers >= current
