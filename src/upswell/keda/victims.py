"""Whom to put to rest before KEDA may see a smaller number, and which number that is. Pure.

What comes in: the workers of one application as heard, and how many are wanted. What goes out: whom to tell
to rest or to consume, and the number for KEDA. It must not know clocks, messages or Kubernetes.

KEDA cannot choose the pod that goes, but a ReplicaSet removes pods that are not ready first. So a worker that
is too many first stops taking; when it holds no upload it is idle and shows as not ready, and only then is it
taken off the number. At no time are more pods asked to go than are idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from upswell.scaler.plan import Target


class HeardWorker(Struct, frozen=True, kw_only=True):
    """A worker that is there, as its statuses and our newest command to it say.

    `consumes`: it takes uploads, or was told to a moment ago. `removable`: it rests with nothing in hand for
    so long that Kubernetes shows it as not ready.
    """

    worker_id: str
    consumes: bool
    busy: int = 0
    removable: bool = False
    started_at: float = 0.0


class RestChoice(Struct, frozen=True):
    """Workers to tell to consume (`activate`), and to stop taking and stay alive (`rest`)."""

    activate: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()


def choose(workers: Collection[HeardWorker], ready: int) -> RestChoice:
    """Return whom to tell what, so that `ready` workers consume."""
    consuming = [worker for worker in workers if worker.consumes]
    if len(consuming) > ready:
        idlest = sorted(consuming, key=_rests_first)[: len(consuming) - ready]
        return RestChoice(rest=_ids(idlest))
    resting = [worker for worker in workers if not worker.consumes]
    called = sorted(resting, key=_rests_first, reverse=True)[: ready - len(consuming)]
    return RestChoice(activate=_ids(called))


def number(workers: Collection[HeardWorker], wanted: Target, told: int, *, coming: bool) -> int:
    """Return the number that KEDA may see: what is wanted, and each worker too many that cannot go yet.

    `told` is the number that it saw last; `coming`: pods may be starting for it that are not heard yet, and
    that may take uploads a moment after they were chosen to go. The number never exceeds `told` for the sake
    of workers that are too many: a status is a message, and no message may start a pod.
    """
    total = wanted.ready + wanted.standby
    there = max(len(workers), told) if coming else len(workers)
    surplus = max(0, there - total)
    staying = max(0, surplus - sum(worker.removable for worker in workers))
    return max(total, min(told, total + staying))


def _rests_first(worker: HeardWorker) -> tuple[int, float, str]:
    """Order workers: the fewest uploads in hand, so that it can go soonest; then the youngest."""
    return worker.busy, -worker.started_at, worker.worker_id


def _ids(workers: Sequence[HeardWorker]) -> tuple[str, ...]:
    return tuple(worker.worker_id for worker in workers)
