"""From how many workers should run and which really do, to what must be done. Pure.

What comes in: the workers of one application as seen, and a target. What goes out: actions. It must not know
clocks, messages or fleets, and it remembers nothing: planned again after its actions have worked, the same
target gives no action.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Phase = Literal["starting", "starting_standby", "ready", "standby", "draining", "lost", "ended"]
"""`starting`: asked for, not yet heard of. `ready`: consuming, or told to. `draining`: told to leave, or
leaving by itself. `lost`: it runs and is not heard of. `ended`: it has exited and was not yet forgotten."""

ScalingActionKind = Literal["start", "activate", "standby", "drain", "terminate", "forget"]
"""`drain` tells a worker by message, `terminate` by SIGTERM; to it both mean the same. Nothing here kills."""

UNLIMITED = sys.maxsize


class ObservedWorker(Struct, frozen=True, kw_only=True):
    """A worker as the scaler sees it.

    `obeys`: it reads commands (one written by others does not). `told_to_leave`: this scaler told it to
    drain. `unanswered`: it was told so by message, and has not shown within its time that it does.
    `outdated`: an operator wants it replaced, or empties its node. `pending`: why the platform does not
    run it yet.
    """

    worker_id: str
    app_id: str
    phase: Phase
    requested_at: float
    busy: int = 0
    obeys: bool = True
    told_to_leave: bool = False
    unanswered: bool = False
    outdated: bool = False
    pending: str = ""


class Target(Struct, frozen=True):
    """How many workers should be ready, and how many more should stand by."""

    ready: int
    standby: int


class ScalingAction(Struct, frozen=True):
    """One thing to do; a worker that is to be started has no id yet."""

    kind: ScalingActionKind
    worker_id: str = ""
    standby: bool = False


def room(workers: Collection[ObservedWorker], most: int) -> int:
    """Return how many workers may be started where `most` may run.

    It counts what the fleet runs, not what statuses claim: anybody may send one that says `draining`. Those
    that this scaler told to leave, and that finish their uploads, do not count; with them twice as many may
    run.
    """
    running = [worker for worker in workers if worker.phase != "ended"]
    staying = sum(not worker.told_to_leave for worker in running)
    return max(0, min(most - staying, 2 * most - len(running)))


def plan(
    workers: Sequence[ObservedWorker], target: Target | None, *, may_start: int = UNLIMITED
) -> list[ScalingAction]:
    """Return the actions that turn `workers` into the `target`, or those that need none.

    At most `may_start` workers are started: none while a crash loop backs off.
    """
    if target is None:
        return [ScalingAction("forget", worker.worker_id) for worker in _in(workers, "ended")]
    actions = _clean_up(workers)
    if not all(worker.obeys for worker in workers):
        # Those written by others take no command to stand by or to consume.
        target = Target(target.ready, 0)
    replaced = _replaced(workers, target)
    actions += [_goodbye(worker) for worker in replaced]
    workers = [worker for worker in workers if worker not in replaced]
    target = _with_replacements(workers, target)
    capacity = len(_in(workers, "ready", "starting"))
    if capacity <= target.ready:
        actions += _scale_out(workers, target, target.ready - capacity)
    else:
        actions += _scale_in(workers, target, capacity - target.ready)
    starts = [action for action in actions if action.kind == "start"]
    return [action for action in actions if action.kind != "start"] + starts[:may_start]


def _clean_up(workers: Sequence[ObservedWorker]) -> list[ScalingAction]:
    forgotten = [ScalingAction("forget", worker.worker_id) for worker in _in(workers, "ended")]
    urged = [*_in(workers, "lost"), *(worker for worker in workers if worker.unanswered)]
    return forgotten + [ScalingAction("terminate", worker.worker_id) for worker in urged]


def _replaced(workers: Sequence[ObservedWorker], target: Target) -> list[ObservedWorker]:
    """Return the outdated workers that may leave now: as many of those there as are beyond the target."""
    leaving: list[ObservedWorker] = []
    kinds: tuple[tuple[Phase, int], ...] = (("ready", target.ready), ("standby", target.standby))
    for phase, wanted in kinds:
        there = _in(workers, phase)
        outdated = sorted((worker for worker in there if worker.outdated), key=_leaves_first)
        leaving += outdated[: max(0, len(there) - wanted)]
    return leaving


def _with_replacements(workers: Sequence[ObservedWorker], target: Target) -> Target:
    """Return the target with the new workers that must be there before outdated ones leave.

    A quarter at a time, and one at least; standby ones when no outdated worker consumes any more.
    """
    ready = sum(worker.outdated for worker in _in(workers, "ready"))
    if ready:
        return Target(target.ready + min(ready, max(1, target.ready // 4)), target.standby)
    standby = sum(worker.outdated for worker in _in(workers, "standby"))
    return Target(target.ready, target.standby + (standby > 0))


def _scale_out(workers: Sequence[ObservedWorker], target: Target, missing: int) -> list[ScalingAction]:
    """Activate who stands by, which takes one message, before anyone is started."""
    standing = sorted(_in(workers, "standby"), key=_longest_there)
    called, resting = standing[:missing], standing[missing:]
    missing -= len(called)
    # A standby worker that is still starting is nearer than a new one: it is activated as soon as it is
    # there.
    awaited = min(missing, len(_in(workers, "starting_standby")))
    actions = [ScalingAction("activate", worker.worker_id) for worker in called]
    actions += [ScalingAction("start")] * (missing - awaited)
    return actions + _keep_standby(resting, _in(workers, "starting_standby")[awaited:], target.standby)


def _scale_in(workers: Sequence[ObservedWorker], target: Target, surplus: int) -> list[ScalingAction]:
    """Let the idlest leave; as many as standby lacks rest there instead of being drained."""
    standing, coming = _in(workers, "standby"), _in(workers, "starting_standby")
    room = max(0, target.standby - len(standing) - len(coming))
    fit = [worker for worker in _in(workers, "ready") if not worker.outdated]
    resting = sorted(fit, key=_leaves_first)[: min(room, surplus)]
    others = [worker for worker in _in(workers, "ready", "starting") if worker not in resting]
    leaving = sorted(others, key=_leaves_first)[: surplus - len(resting)]
    actions = [ScalingAction("standby", worker.worker_id) for worker in resting] + [
        _goodbye(w) for w in leaving
    ]
    return actions + _keep_standby(standing, coming, target.standby - len(resting))


def _keep_standby(
    standing: Sequence[ObservedWorker], coming: Sequence[ObservedWorker], wanted: int
) -> list[ScalingAction]:
    surplus = len(standing) + len(coming) - wanted
    if surplus <= 0:
        return [ScalingAction("start", standby=True)] * -surplus
    leaving = sorted([*coming, *standing], key=_leaves_first)[:surplus]
    return [_goodbye(worker) for worker in leaving]


def _goodbye(worker: ObservedWorker) -> ScalingAction:
    """Tell a worker to leave; one still starting, or written by others, would not read a message."""
    reads = worker.obeys and worker.phase in ("ready", "standby")
    return ScalingAction("drain" if reads else "terminate", worker.worker_id)


def _leaves_first(worker: ObservedWorker) -> tuple[bool, bool, int, float, str]:
    """Order workers for scale-in: not there yet, outdated, with the fewest uploads in hand, the youngest.

    Fewest uploads: it is gone, and off the bill, soonest. Youngest: the older ones have shown that they run,
    so a bad new image leaves before a good old one does.
    """
    there = worker.phase not in ("starting", "starting_standby")
    return there, not worker.outdated, worker.busy, -worker.requested_at, worker.worker_id


def _longest_there(worker: ObservedWorker) -> tuple[float, str]:
    return worker.requested_at, worker.worker_id


def _in(workers: Sequence[ObservedWorker], *phases: Phase) -> list[ObservedWorker]:
    return [worker for worker in workers if worker.phase in phases]
