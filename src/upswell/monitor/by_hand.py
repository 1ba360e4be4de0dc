"""What operators ordered of the monitor: workers set by hand, the policy resumed, an end.

What comes in: orders, and decisions. What goes out: answers, and the decisions as they were ordered. What is
set by hand outlives the monitor: it is kept in a file before it is answered.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from upswell.analysis.sentence import instant
from upswell.broker.orders import refused, unknown_app
from upswell.errors import JournalError
from upswell.events import get_logger
from upswell.messages import OperatorAnswer
from upswell.policies.guards.by_hand import set_by_hand
from upswell.policies.guards.platform import within_platform

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from upswell.analysis.decision import Decision
    from upswell.analysis.snapshot import Snapshot
    from upswell.journal import KeptByApp
    from upswell.messages import ByHand, OperatorOrder, ScaleRequest
    from upswell.monitor.applications import Applications, Watched

_log = get_logger()


class OrdersByHand:
    """Obeys operators.

    Args:
        applications: those of the settings may be set by hand.
        kept: what was set before, and from now on; None: it is forgotten with this object.
        clock: our own clock.
        stopping: set when an operator orders the monitor to end.
    """

    def __init__(
        self,
        applications: Callable[[], Applications],
        kept: KeptByApp[ByHand] | None,
        clock: Callable[[], float],
        stopping: asyncio.Event,
    ) -> None:
        self._applications = applications
        self._kept = kept
        self._clock = clock
        self._stopping = stopping
        self._orders = dict(kept) if kept is not None else {}

    def __contains__(self, app_id: str) -> bool:
        """Return whether an application's workers are set by hand."""
        return app_id in self._orders

    def order(self, app_id: str) -> ByHand | None:
        """Return what was ordered for an application, None: nothing."""
        return self._orders.get(app_id)

    def recall(self) -> None:
        """Take up what the monitor that led before kept in the same folder, or told from another one."""
        if self._kept is not None:
            try:
                self._kept.read()
            except JournalError as error:
                _log.error("monitor.by_hand_not_kept", error=error)
            self._orders = dict(self._kept)

    def follow(self, request: ScaleRequest) -> None:
        """Keep what the leader was ordered, in case that this monitor takes over from it."""
        if request.order == self._orders.get(request.app_id):
            return
        known = {app_id for app_id, watched in self._applications() if watched.policy is not None}
        if request.app_id not in known:
            return
        try:
            self._keep(request.app_id, request.order)
        except JournalError as error:
            _log.error("monitor.by_hand_not_kept", error=error)
        if request.order is None:
            del self._orders[request.app_id]
        else:
            self._orders[request.app_id] = request.order

    def decide(self, watched: Watched, snapshot: Snapshot, decision: Decision) -> Decision:
        """Return a decision as it was ordered, the policy's own where nothing was, or its time is over."""
        app_id = snapshot.app_id
        order = self._orders.get(app_id)
        if order is None or watched.policy is None:
            return decision
        if order.until is not None and snapshot.at >= order.until:
            _log.info("monitor.by_hand_over", app=app_id, workers=order.workers, by=order.by)
            del self._orders[app_id]
            with suppress(JournalError):  # one that stays in the file is over after a restart, too
                self._keep(app_id, None)
            return decision
        return within_platform(snapshot, set_by_hand(decision, order, watched.settings.max_workers))

    def obey(self, order: OperatorOrder) -> OperatorAnswer:
        """Do what is ordered and say what became of it."""
        if order.order == "stop":
            self._stopping.set()
            return OperatorAnswer(accepted=True, text="the monitor stops")
        app_id = order.app_id
        known = {name: watched for name, watched in self._applications() if watched.policy is not None}
        watched = known.get(app_id or "")
        if app_id is None or watched is None:
            return unknown_app("monitor", app_id, known)
        if order.order == "set" and order.by_hand is not None:
            return self._set(app_id, watched, order.by_hand)
        if order.order == "resume":
            return self._resume(app_id)
        return refused(f"the monitor does not know what to do with {order.order}")

    def _set(self, app_id: str, watched: Watched, order: ByHand) -> OperatorAnswer:
        limit = watched.settings.max_workers
        if order.workers > limit:
            return refused(f"workers must be <= max_workers of {app_id} ({limit}), got {order.workers}")
        if order.until is not None and order.until <= self._clock():
            return refused(f"the time must end after the monitor's now, got {instant(order.until)}")
        try:
            self._keep(app_id, order)
        except JournalError as error:
            return refused(str(error))
        self._orders[app_id] = order
        _log.info("monitor.by_hand", app=app_id, workers=order.workers, until=order.until, by=order.by)
        until = "until `upswell resume`" if order.until is None else f"until {instant(order.until)}"
        what = f"set to {order.workers} by hand" if order.workers else "paused: nothing consumes, all is kept"
        return OperatorAnswer(accepted=True, text=f"{app_id} is {what}, {until}")

    def _resume(self, app_id: str) -> OperatorAnswer:
        order = self._orders.get(app_id)
        if order is None:
            return OperatorAnswer(accepted=True, text=f"{app_id}: nothing is set by hand, the policy decides")
        try:
            self._keep(app_id, None)
        except JournalError as error:
            return refused(str(error))
        del self._orders[app_id]
        _log.info("monitor.by_hand_over", app=app_id, workers=order.workers, by=order.by)
        was = f"set to {order.workers}" if order.workers else "paused"
        return OperatorAnswer(
            accepted=True, text=f"{app_id}: the policy decides again (was {was} by {order.by})"
        )

    def _keep(self, app_id: str, order: ByHand | None) -> None:
        if self._kept is not None:
            self._kept.keep(app_id, order)
