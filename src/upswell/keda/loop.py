"""The number of workers for KEDA: from scale requests and statuses, and with its victims at rest.

What comes in: the newest scale request of each application, workers' statuses. What goes out: for each
application the number that KEDA may see, or why there is none; commands to workers to rest or to consume.
It must not know gRPC, and it starts and stops nothing: KEDA and the HPA behind it do.

It takes the scaler's place: `status`, `doctor` and operators' orders find it as the scaler.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import Struct

from upswell.broker.heartbeat import Pulse
from upswell.broker.orders import refused, take_orders
from upswell.events import get_logger
from upswell.keda.victims import HeardWorker, choose, number
from upswell.scaler.messaging import ScalerMessaging
from upswell.scaler.phases import as_told
from upswell.scaler.targets import target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from upswell.broker.protocol import Broker
    from upswell.messages import CommandName, OperatorAnswer, OperatorOrder, PartStatus
    from upswell.settings import Settings

_log = get_logger()

ROUND_SECONDS = 1.0
"""Between two rounds; a request or a change of a worker's state is acted on at once."""

SETTLE_INTERVALS = 3.0
"""After this many status intervals every worker has been heard: before that none is known to be too many."""

LEAST_SILENCE = 10.0
SILENT_INTERVALS = 5.0
"""A worker that is not heard for so many status intervals is gone: its pod died, or is cut off."""


class KedaAnswer(Struct, frozen=True):
    """What KEDA gets for an application: a number of workers, or none and why."""

    number: int | None
    why: str = ""


class KedaScaler:
    """Keeps an answer for each application of the settings; `name` is that of its own status queue.

    The broker is connected, and its caller closes it.
    """

    def __init__(
        self, *, broker: Broker, settings: Settings, name: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._settings = settings
        self._apps = {app_id: settings.for_app(app_id) for app_id in settings.apps}
        self._news = asyncio.Event()
        self._name = name
        self._messaging = ScalerMessaging(broker, settings, name, changed=self._news, clock=clock)
        self._idle_since: dict[str, float] = {}
        self._told: dict[str, int] = {}
        self._raised_at: dict[str, float] = {}
        self._answers = dict.fromkeys(self._apps, KedaAnswer(None, "it has just started"))
        self._answered = asyncio.Condition()
        self.ended = False
        self.pulse = Pulse("scaler", name, settings.report_queue, interval=ROUND_SECONDS)

    def part_status(self) -> PartStatus:
        """Return the heartbeat of this moment."""
        unknown = [
            f"{app_id}: {answer.why}" for app_id, answer in self._answers.items() if answer.number is None
        ]
        return self.pulse.status(notes=["KEDA starts and stops the workers", *unknown])

    @property
    def apps(self) -> Sequence[str]:
        """The applications that are answered for."""
        return sorted(self._apps)

    def answer(self, app_id: str) -> KedaAnswer | None:
        """Return the answer for an application; None where it is not in the settings."""
        return self._answers.get(app_id)

    async def next_answer(self, app_id: str, known: KedaAnswer | None) -> KedaAnswer | None:
        """Return the answer for an application as soon as it is another than the `known` one, or all ends."""
        async with self._answered:
            await self._answered.wait_for(lambda: self.ended or self._answers.get(app_id) != known)
            return self._answers.get(app_id)

    async def end(self) -> None:
        """Let whoever waits for the next answer go."""
        async with self._answered:
            self.ended = True
            self._answered.notify_all()

    def reload(self, settings: Settings) -> None:
        """Go on with other settings."""
        self._apps = {app_id: settings.for_app(app_id) for app_id in settings.apps}
        self._settings = settings
        self._messaging.apps = frozenset(settings.apps)
        self._answers = {
            app_id: self._answers.get(app_id, KedaAnswer(None, "it is new")) for app_id in self._apps
        }
        self._news.set()

    async def start(self) -> None:
        """Declare the queues and begin to listen.

        Raises:
            BrokerError: a queue cannot be used.
        """
        await self._messaging.open()
        await take_orders(self._broker, "scaler", self._name, self._settings.report_queue, _refuse)

    async def run(self) -> None:
        """Keep the answers up to date until cancelled; `start` comes first."""
        while True:
            try:
                await self.run_once(self._clock())
            except Exception:  # noqa: BLE001 - a loop outlives whatever one round met
                _log.exception("keda.round_failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._news.wait()
            self._news.clear()

    async def run_once(self, now: float) -> None:
        """Look at what was heard, tell workers, and renew each answer."""
        if self._messaging.check_clock(now):
            self._idle_since = dict.fromkeys(self._idle_since, now)
        if not await self._messaging.probe(now):
            await self._publish(
                {app_id: KedaAnswer(None, "the broker does not answer") for app_id in self._apps}
            )
            return
        workers = self._present(now)
        await self._publish({app_id: self._decide(app_id, workers[app_id], now) for app_id in self._apps})
        self.pulse.worked()

    def _present(self, now: float) -> Mapping[str, list[HeardWorker]]:
        """Return the workers that are there and stay, by application."""
        silence = max(LEAST_SILENCE, SILENT_INTERVALS * self._settings.status_interval)
        heard = {
            worker_id: status
            for worker_id, status in self._messaging.heard.items()
            if status.state in ("ready", "standby") and now - status.at <= silence
        }
        self._messaging.prune(heard, now)
        found: defaultdict[str, list[HeardWorker]] = defaultdict(list)
        idle_since: dict[str, float] = {}
        for worker_id, status in heard.items():
            consumes = as_told(status.state, self._messaging.told.get(worker_id), now) == "ready"
            if not consumes and status.state == "standby" and not status.busy:
                idle_since[worker_id] = self._idle_since.get(worker_id, now)
            removable = now - idle_since.get(worker_id, now) >= self._settings.keda_unready_seconds
            found[status.app_id].append(
                HeardWorker(
                    worker_id=worker_id,
                    consumes=consumes,
                    busy=status.busy,
                    removable=removable and worker_id in idle_since,
                    started_at=status.started_at,
                )
            )
        self._idle_since = idle_since
        return found

    def _decide(self, app_id: str, workers: Sequence[HeardWorker], now: float) -> KedaAnswer:
        """Tell an application's workers what to do, and return what KEDA may see."""
        why = self._unknown(app_id, now)
        if why:
            return KedaAnswer(None, why)
        settings = self._apps[app_id]
        wanted = target(settings, self._messaging.requests.get(app_id), 0)
        choice = choose(workers, wanted.ready)
        self._tell(app_id, choice.rest, "standby")
        self._tell(app_id, choice.activate, "activate")
        before = self._told.get(app_id)
        coming = now - self._raised_at.get(app_id, -math.inf) <= settings.start_timeout
        told = number(workers, wanted, settings.max_workers if before is None else before, coming=coming)
        if told != before:
            total = wanted.ready + wanted.standby
            _log.info("keda.number", app_id=app_id, number=told, wanted=total, workers=len(workers))
        if before is not None and told > before:
            self._raised_at[app_id] = now
        self._told[app_id] = told
        return KedaAnswer(told)

    def _unknown(self, app_id: str, now: float) -> str:
        """Return why there is no number; empty where there is one."""
        silent = self._messaging.requests.silent_for(app_id, now)
        longest = self._messaging.requests.longest_silence
        if self._messaging.requests.get(app_id) is None:
            return "no monitor has decided yet: `upswell status` shows whether one runs"
        if silent > longest:
            return f"the newest decision must be at most {longest:g} s old, it is {silent:.0f} s old"
        if now - self._messaging.listening_since <= SETTLE_INTERVALS * self._settings.status_interval:
            return "the workers have not all been heard yet"
        return ""

    def _tell(self, app_id: str, workers: Sequence[str], command: CommandName) -> None:
        for worker_id in workers:
            self._messaging.send(worker_id, command)
            _log.info("keda.worker_told", app_id=app_id, worker_id=worker_id, command=command)

    async def _publish(self, answers: Mapping[str, KedaAnswer]) -> None:
        """Put the answers in place, and say where signals were lost or are back."""
        async with self._answered:
            for app_id, answer in answers.items():
                before = self._answers.get(app_id)
                if answer.number is None and before is not None and before.number is not None:
                    _log.warning("keda.signals_lost", app_id=app_id, reason=answer.why)
                elif answer.number is not None and (before is None or before.number is None):
                    _log.info("keda.signals_back", app_id=app_id, number=answer.number)
            self._answers = dict(answers)
            self._answered.notify_all()


def _refuse(order: OperatorOrder) -> OperatorAnswer:
    """Answer an operator: whoever starts the workers replaces and ends them."""
    return refused(
        f"the workers are KEDA's, so upswell keda cannot {order.order} them: use `kubectl rollout restart`,"
        " or `upswell scale` and `upswell pause`, which the monitor obeys"
    )
