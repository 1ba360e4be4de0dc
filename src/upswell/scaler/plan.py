"""From how many workers should run and which really do, to what must be done. Pure.

What comes in: the workers of one application as seen, and a wish. What goes out: actions. It must not know
clocks, messages or fleets, and it remembers nothing: planned again after its actions have worked, the same
wish gives no action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

Phase = Literal["starting", "starting_standby", "ready", "standby", "draining", "lost", "ended"]
"""`starting`: asked for, not yet heard of. `ready`: consuming, or told to. `draining`: told to leave, or
leaving by itself. `lost`: it runs and is not heard of. `ended`: it has exited and was not yet forgotten."""

ActionKind = Literal["start", "activate", "standby", "drain", "terminate", "forget"]
"""`drain` tells a worker by message, `terminate` by SIGTERM; to it both mean the same. Nothing here kills."""


class Seen(Struct, frozen=True, kw_only=True):
    """A worker as the scaler sees it.

    `obeys`: it reads commands (one written by others does not). `unanswered`: it was told to drain by
    message, and has not shown within its time that it does.
    """

    worker_id: str
    app_id: str
    phase: Phase
    requested_at: float
    busy: int = 0
    obeys: bool = True
    unanswered: bool = False


class Wish(Struct, frozen=True):
    """How many workers should consume, and how many more should stand by."""

    ready: int
    standby: int


class ScalerAction(Struct, frozen=True):
    """One thing to do; a worker that is to be started has no id yet."""

    kind: ActionKind
    worker_id: str = ""
    standby: bool = False


def plan(workers: Sequence[Seen], wish: Wish | None, *, may_start: bool = True) -> list[ScalerAction]:
    """Return the actions that turn `workers` into the `wish`, or those that need no wish where there is none.

    While a crash loop backs off, none `may_start`.
    """
    if wish is None:
        return [ScalerAction("forget", worker.worker_id) for worker in _in(workers, "ended")]
    actions = _clean_up(workers)
    capacity = len(_in(workers, "ready", "starting"))
    if not all(worker.obeys for worker in workers):
        # Those written by others cannot be told to stand by or to become ready.
        wish = Wish(wish.ready, 0)
    if capacity <= wish.ready:
        actions += _scale_out(workers, wish, wish.ready - capacity)
    else:
        actions += _scale_in(workers, wish, capacity - wish.ready)
    return [action for action in actions if may_start or action.kind != "start"]


def _clean_up(workers: Sequence[Seen]) -> list[ScalerAction]:
    forgotten = [ScalerAction("forget", worker.worker_id) for worker in _in(workers, "ended")]
    urged = [*_in(workers, "lost"), *(worker for worker in workers if worker.unanswered)]
    return forgotten + [ScalerAction("terminate", worker.worker_id) for worker in urged]


def _scale_out(workers: Sequence[Seen], wish: Wish, missing: int) -> list[ScalerAction]:
    """Activate who stands by, which takes one message, before anyone is started."""
    standing = sorted(_in(workers, "standby"), key=_longest_there)
    called, resting = standing[:missing], standing[missing:]
    missing -= len(called)
    # A standby worker that is still starting is nearer than a new one: it is activated as soon as it is
    # there.
    awaited = min(missing, len(_in(workers, "starting_standby")))
    actions = [ScalerAction("activate", worker.worker_id) for worker in called]
    actions += [ScalerAction("start")] * (missing - awaited)
    return actions + _keep_standby(resting, _in(workers, "starting_standby")[awaited:], wish.standby)


def _scale_in(workers: Sequence[Seen], wish: Wish, surplus: int) -> list[ScalerAction]:
    """Let the idlest leave; as many as standby lacks rest there instead of being drained."""
    standing, coming = _in(workers, "standby"), _in(workers, "starting_standby")
    room = max(0, wish.standby - len(standing) - len(coming))
    resting = sorted(_in(workers, "ready"), key=_leaves_first)[: min(room, surplus)]
    others = [worker for worker in _in(workers, "ready", "starting") if worker not in resting]
    leaving = sorted(others, key=_leaves_first)[: surplus - len(resting)]
    actions = [ScalerAction("standby", worker.worker_id) for worker in resting] + [
        _goodbye(w) for w in leaving
    ]
    return actions + _keep_standby(standing, coming, wish.standby - len(resting))


def _keep_standby(standing: Sequence[Seen], coming: Sequence[Seen], wanted: int) -> list[ScalerAction]:
    surplus = len(standing) + len(coming) - wanted
    if surplus <= 0:
        return [ScalerAction("start", standby=True)] * -surplus
    leaving = sorted([*coming, *standing], key=_leaves_first)[:surplus]
    return [_goodbye(worker) for worker in leaving]


def _goodbye(worker: Seen) -> ScalerAction:
    """Tell a worker to leave; one still starting, or written by others, would not read a message."""
    reads = worker.obeys and worker.phase in ("ready", "standby")
    return ScalerAction("drain" if reads else "terminate", worker.worker_id)


def _leaves_first(worker: Seen) -> tuple[bool, int, float, str]:
    """Order workers for scale-in: those not there yet, then the fewest uploads in hand, then the youngest.

    Fewest uploads: it is gone, and off the bill, soonest. Youngest: the older ones have shown that they run,
    so a bad new image leaves before a good old one does.
    """
    there = worker.phase not in ("starting", "starting_standby")
    return there, worker.busy, -worker.requested_at, worker.worker_id


def _longest_there(worker: Seen) -> tuple[float, str]:
    return worker.requested_at, worker.worker_id


def _in(workers: Sequence[Seen], *phases: Phase) -> list[Seen]:
    return [worker for worker in workers if worker.phase in phases]
