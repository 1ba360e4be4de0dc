"""The plan: which workers are started, activated, put to stand by and drained."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from upswell.scaler.plan import ObservedWorker, Phase, ScalingAction, Target, plan, room

if TYPE_CHECKING:
    from random import Random


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


@pytest.mark.parametrize(
    ("old", "new", "target", "expected"),
    [
        (["ready"] * 4, [], Target(4, 0), {"start": 1}),  # the new one first
        (["ready"] * 4, ["starting"], Target(4, 0), {}),
        (["ready"] * 4, ["ready"], Target(4, 0), {"drain": 1, "start": 1}),
        (["ready"], ["ready"] * 4, Target(4, 0), {"drain": 1}),  # the last one: none is started for it
        (["ready"] * 12, [], Target(12, 0), {"start": 3}),  # a quarter at a time
        (["ready"] * 12, ["ready", "starting"], Target(12, 0), {"drain": 1, "start": 2}),
        (["ready"] * 3, [], Target(0, 0), {"drain": 3}),
        (["ready", "standby"], [], Target(1, 1), {"activate": 1, "start standby": 1}),
        (["standby"], ["ready"], Target(1, 1), {"start standby": 1}),
        (["standby"], ["ready", "standby"], Target(1, 1), {"drain": 1}),
        (["starting"], ["ready"], Target(2, 0), {}),  # replaced once it is there
        (["ready"] * 2, ["ready"], Target(1, 1), {"drain": 2, "start standby": 1}),  # none rests in standby
    ],
)
def test_outdated_workers_leave_as_new_ones_get_ready(
    old: list[Phase], new: list[Phase], target: Target, expected: dict[str, int]
) -> None:
    workers = [seen(f"old{number}", phase, outdated=True) for number, phase in enumerate(old)]
    workers += [seen(f"new{number}", phase) for number, phase in enumerate(new)]
    assert kinds(plan(workers, target)) == expected


class Restart:
    """An application's workers, which start and leave in any order, a few at a time."""

    def __init__(self, phases: list[Phase], rng: Random) -> None:
        self.workers = {f"old{n}": seen(f"old{n}", phase, outdated=True) for n, phase in enumerate(phases)}
        self.rng = rng
        self.started = 0

    @property
    def ready(self) -> int:
        """Return how many consume."""
        return sum(worker.phase == "ready" for worker in self.workers.values())

    def act(self, actions: list[ScalingAction]) -> None:
        """Do what was planned; whoever is told obeys at once."""
        for action in actions:
            if action.kind == "start":
                self.started += 1
                name = f"new{self.started}"
                self.workers[name] = seen(name, "starting_standby" if action.standby else "starting")
            elif action.kind == "forget":
                del self.workers[action.worker_id]
            else:
                self._enter(action.worker_id, "draining")
                if action.kind in ("activate", "standby"):
                    self._enter(action.worker_id, "ready" if action.kind == "activate" else "standby")

    def go_on(self) -> None:
        """Let some of those that start be there, and some of those that drain be gone."""
        after: dict[Phase, Phase] = {"starting": "ready", "starting_standby": "standby", "draining": "ended"}
        for worker_id, worker in list(self.workers.items()):
            if worker.phase in after and self.rng.random() < 0.5:
                self._enter(worker_id, after[worker.phase])

    def _enter(self, worker_id: str, phase: Phase) -> None:
        self.workers[worker_id] = replace(self.workers[worker_id], phase=phase)


@given(
    st.lists(st.sampled_from(["ready", "standby"]), max_size=12),
    st.integers(0, 8),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
    st.sampled_from([1, 3, 10_000]),
)
def test_a_restart_replaces_all_and_never_leaves_fewer_ready_than_wanted(
    phases: list[Phase], wanted: int, standby: int, rng: Random, room: int
) -> None:
    """However few may be started at a time, and although the target changes on the way."""
    restart = Restart(phases, rng)
    target = Target(wanted, standby)
    for turn in range(400):
        if turn == 20:
            target = Target(max(0, wanted - 2), standby)
        ready = restart.ready
        restart.act(plan(list(restart.workers.values()), target, may_start=room))
        assert restart.ready >= min(ready, target.ready)
        restart.go_on()
    staying = [worker for worker in restart.workers.values() if worker.phase not in ("draining", "ended")]
    assert not any(worker.outdated for worker in staying)
    assert Counter(worker.phase for worker in staying) == +Counter(ready=target.ready, standby=target.standby)


def test_an_outdated_worker_leaves_first_when_fewer_are_wanted() -> None:
    workers = [seen("new"), seen("old", busy=3, age=9, outdated=True), seen("other")]
    assert plan(workers, Target(2, 0)) == [ScalingAction("drain", "old")]


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
