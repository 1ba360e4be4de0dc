"""The plan: which workers are started, activated, put to stand by and drained."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.scaler.plan import ObservedWorker, Phase, ScalingAction, Target, plan, room


def seen(
    worker_id: str, phase: Phase = "ready", *, busy: int = 0, age: float = 0.0, **more: bool
) -> ObservedWorker:
    return ObservedWorker(
        worker_id=worker_id, app_id="a1", phase=phase, busy=busy, requested_at=1000.0 - age, **more
    )


def kinds(actions: list[ScalingAction]) -> Counter[str]:
    return Counter(a.kind + (" standby" if a.kind == "start" and a.standby else "") for a in actions)


@pytest.mark.parametrize(
    ("phases", "target", "expected"),
    [
        ([], Target(2, 0), {"start": 2}),
        ([], Target(0, 0), {}),
        (["ready"], Target(1, 0), {}),
        (["starting"], Target(1, 0), {}),
        (["ready"], Target(3, 0), {"start": 2}),
        (["ready", "standby"], Target(2, 0), {"activate": 1}),
        (["ready", "standby"], Target(2, 1), {"activate": 1, "start standby": 1}),
        (["ready", "standby"], Target(4, 1), {"activate": 1, "start": 2, "start standby": 1}),
        (["ready", "starting_standby"], Target(2, 1), {"start standby": 1}),
        (["ready"], Target(1, 2), {"start standby": 2}),
        (["ready", "standby", "standby"], Target(1, 1), {"drain": 1}),
        (["ready", "ready"], Target(1, 0), {"drain": 1}),
        (["ready", "ready"], Target(1, 1), {"standby": 1}),
        (["ready", "ready", "ready"], Target(1, 1), {"standby": 1, "drain": 1}),
        (["ready", "starting"], Target(1, 0), {"terminate": 1}),
        (["ready", "draining"], Target(1, 0), {}),
        (["draining", "draining"], Target(1, 0), {"start": 1}),
        (["ready", "ended"], Target(2, 0), {"forget": 1, "start": 1}),
        (["ready", "lost"], Target(2, 0), {"terminate": 1, "start": 1}),
        (["ready", "standby", "starting"], Target(0, 0), {"drain": 2, "terminate": 1}),
    ],
)
def test_plan_gives_the_actions_that_are_missing(
    phases: list[Phase], target: Target, expected: dict[str, int]
) -> None:
    workers = [seen(f"w{number}", phase) for number, phase in enumerate(phases)]
    assert kinds(plan(workers, target)) == expected


def test_scale_in_drains_the_worker_with_the_fewest_uploads_in_hand() -> None:
    workers = [seen("w1", busy=3), seen("w2", busy=1), seen("w3", busy=2)]
    assert plan(workers, Target(2, 0)) == [ScalingAction("drain", "w2")]


def test_scale_in_drains_the_youngest_of_equally_busy_workers() -> None:
    """The older ones have shown that they run; a bad new image leaves first."""
    workers = [seen("w1", age=500.0), seen("w2", age=5.0), seen("w3", age=50.0)]
    assert plan(workers, Target(2, 0)) == [ScalingAction("drain", "w2")]


def test_scale_in_ends_a_worker_that_is_not_there_yet_before_one_that_works() -> None:
    workers = [seen("w1"), seen("w2", "starting", age=900.0)]
    assert plan(workers, Target(1, 0)) == [ScalingAction("terminate", "w2")]


def test_the_worker_that_has_stood_by_longest_is_activated_first() -> None:
    workers = [seen("w1", "standby", age=5.0), seen("w2", "standby", age=50.0)]
    assert plan(workers, Target(1, 1)) == [ScalingAction("activate", "w2")]


def test_a_worker_that_does_not_answer_the_drain_command_gets_sigterm() -> None:
    assert plan([seen("w1", "draining", unanswered=True)], Target(0, 0)) == [ScalingAction("terminate", "w1")]


def test_a_worker_written_by_others_is_drained_by_sigterm_and_never_put_to_stand_by() -> None:
    workers = [seen("w1", obeys=False), seen("w2", obeys=False, age=10.0)]
    assert plan(workers, Target(1, 1)) == [ScalingAction("terminate", "w1")]


def test_nothing_is_started_while_a_crash_loop_backs_off_but_standby_workers_are_activated() -> None:
    workers = [seen("w1", "standby")]
    assert plan(workers, Target(3, 1), may_start=0) == [ScalingAction("activate", "w1")]


def test_without_a_wish_only_those_that_ended_are_forgotten() -> None:
    workers = [seen("w1"), seen("w2", "ended"), seen("w3", "lost"), seen("w4", "draining", unanswered=True)]
    assert plan(workers, None) == [ScalingAction("forget", "w2")]


PHASES: list[Phase] = ["starting", "starting_standby", "ready", "standby", "draining", "lost", "ended"]
FLEETS = st.lists(st.tuples(st.sampled_from(PHASES), st.integers(0, 4), st.floats(0, 1e4)), max_size=12).map(
    lambda rows: [seen(f"w{n}", phase, busy=busy, age=age) for n, (phase, busy, age) in enumerate(rows)]
)
TARGETS = st.builds(Target, st.integers(0, 8), st.integers(0, 4))


def after(workers: list[ObservedWorker], actions: list[ScalingAction]) -> list[ObservedWorker]:
    """Return the workers once every action has worked and every start has ended."""
    effect: dict[str, Phase] = {
        "activate": "ready",
        "standby": "standby",
        "drain": "draining",
        "terminate": "draining",
    }
    by_id = {worker.worker_id: worker for worker in workers}
    for number, action in enumerate(actions):
        if action.kind == "start":
            by_id[f"new{number}"] = seen(f"new{number}", "standby" if action.standby else "ready")
        elif action.kind == "forget":
            del by_id[action.worker_id]
        else:
            by_id[action.worker_id] = replace(by_id[action.worker_id], phase=effect[action.kind])
    arrived: dict[Phase, Phase] = {"starting": "ready", "starting_standby": "standby"}
    return [replace(w, phase=arrived.get(w.phase, w.phase)) for w in by_id.values()]


@given(FLEETS, TARGETS)
def test_a_plan_carried_out_leads_to_the_target_and_stays_there(
    workers: list[ObservedWorker], target: Target
) -> None:
    """Twice: a standby worker still starting is activated when it has come, by the next plan."""
    for _ in range(2):
        workers = after(workers, plan(workers, target))
    phases = Counter(worker.phase for worker in workers)
    assert (phases["ready"], phases["standby"]) == (target.ready, target.standby)
    assert [a for a in plan(workers, target) if a.kind != "forget"] == []


@given(FLEETS, TARGETS)
def test_no_worker_gets_two_actions_and_none_that_leaves_is_called_back(
    workers: list[ObservedWorker], target: Target
) -> None:
    actions = plan(workers, target)
    named = [action.worker_id for action in actions if action.worker_id]
    assert len(named) == len(set(named))
    leaving = {worker.worker_id for worker in workers if worker.phase == "draining"}
    assert leaving.isdisjoint(named)


@given(FLEETS, TARGETS)
def test_no_plan_both_starts_a_worker_and_drains_one_that_consumes(
    workers: list[ObservedWorker], target: Target
) -> None:
    """A restart for nothing costs a start-up and, with a wrong policy, never ends."""
    active = {worker.worker_id for worker in workers if worker.phase in ("ready", "starting")}
    actions = plan(workers, target)
    drained = [a for a in actions if a.kind in ("drain", "terminate") and a.worker_id in active]
    started = [a for a in actions if a.kind == "start" and not a.standby]
    assert not (drained and started)


@given(FLEETS, TARGETS)
def test_scale_in_never_picks_a_busier_worker_than_one_it_leaves(
    workers: list[ObservedWorker], target: Target
) -> None:
    picked = {action.worker_id for action in plan(workers, target) if action.kind in ("drain", "standby")}
    busy = {worker.worker_id: worker.busy for worker in workers if worker.phase == "ready"}
    gone = [count for worker_id, count in busy.items() if worker_id in picked]
    kept = [count for worker_id, count in busy.items() if worker_id not in picked]
    assert not gone or not kept or max(gone) <= min(kept)


@pytest.mark.parametrize(
    ("staying", "told_to_leave", "expected"),
    [(0, 0, 3), (2, 0, 1), (3, 0, 0), (13, 0, 0), (0, 3, 3), (1, 3, 2), (1, 4, 1), (0, 6, 0), (0, 9, 0)],
)
def test_no_more_are_started_than_the_limit_leaves_room_for(
    staying: int, told_to_leave: int, expected: int
) -> None:
    """A status may claim anything: who was not told to leave counts, and in all at most twice as many run."""
    workers = [seen(f"s{n}", "draining") for n in range(staying)]
    workers += [seen(f"l{n}", "draining", told_to_leave=True) for n in range(told_to_leave)]
    workers += [seen("e1", "ended")]
    assert room(workers, 3) == expected


def test_where_only_some_may_be_started_ready_ones_come_before_standby_ones() -> None:
    assert plan([], Target(2, 1), may_start=2) == [ScalingAction("start"), ScalingAction("start")]
