"""What operators order of the scaler: replace these workers by new ones; drain all, and end.

What comes in: orders, and the workers as the scaler sees them. What goes out: answers, who is outdated, and
whether all shall leave. It must not know how a worker is started or told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.broker.orders import refused, unknown_app
from upswell.events import get_logger
from upswell.messages import OperatorAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from upswell.messages import OperatorOrder
    from upswell.scaler.plan import ObservedWorker

_log = get_logger()

_MOST = 5_000
"""Workers that one order may name."""


class ScalerOrders:
    """Obeys operators.

    `seen` gives the workers as the last round saw them; None while no round has seen the fleet. `on_down` is
    called when all workers shall leave, `on_news` when there is something to do at once.
    """

    def __init__(
        self,
        apps: Callable[[], Collection[str]],
        seen: Callable[[], Collection[ObservedWorker] | None],
        on_down: Callable[[], None],
        on_news: Callable[[], None],
    ) -> None:
        self._apps = apps
        self._seen = seen
        self._on_down = on_down
        self._on_news = on_news
        self.outdated: set[str] = set()

    def forget(self, listed: Iterable[str]) -> None:
        """Drop what is known of workers that no fleet lists."""
        self.outdated.intersection_update(listed)

    def obey(self, order: OperatorOrder) -> OperatorAnswer:
        """Do what is ordered, as far as it is not done yet, and say how far it is."""
        seen = self._seen()
        if seen is None:
            return refused("the scaler cannot see its workers at present: try again, or look into its log")
        running = [worker for worker in seen if worker.phase != "ended"]
        if order.order == "down":
            self._on_down()
            return _answer("all workers drain", running)
        if order.order != "restart":
            return refused(f"the scaler does not know what to do with {order.order}")
        if order.app_id is not None and order.app_id not in self._apps():
            return unknown_app("scaler", order.app_id, self._apps())
        running = [worker for worker in running if order.app_id in (None, worker.app_id)]
        return self._restart(order, running)

    def _restart(self, order: OperatorOrder, running: list[ObservedWorker]) -> OperatorAnswer:
        if order.workers is None:
            apps = self._apps()
            fit = [worker for worker in running if worker.phase != "draining" and worker.app_id in apps]
            chosen = [worker.worker_id for worker in fit][:_MOST]
            if chosen:
                _log.info("scaler.restart", app_id=order.app_id or "all", workers=len(chosen))
        else:
            chosen = list(order.workers)
        left = [worker for worker in running if worker.worker_id in set(chosen)]
        new = {worker.worker_id for worker in left} - self.outdated
        if new:
            self.outdated |= new
            self._on_news()
        return _answer("these workers are replaced", left, chosen)


def _answer(text: str, left: list[ObservedWorker], workers: Iterable[str] = ()) -> OperatorAnswer:
    return OperatorAnswer(
        accepted=True,
        text=text,
        workers=tuple(workers),
        workers_left=len(left),
        uploads_left=sum(worker.busy for worker in left),
    )
