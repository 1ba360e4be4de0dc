"""The scaler: starts and drains workers until those that run are those that are desired.

What comes in: the newest scale request of each application, workers' statuses, what the fleet really runs.
What goes out: workers started, activated, put to stand by and drained. It must not know why they
are desired, and it never kills: only `abandon_all`, the second Ctrl-C of `upswell up`, does. It starts
nothing for an application that is not in the settings.

It holds no memory that matters: killed and started again, it finds the workers by their fleet's labels, their
states by their next status, and its orders by the next request. So of several scalers any may take over: one
leads, the others hear all that it hears and touch no worker. Whether it still leads is asked just before each
action.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from upswell.broker.heartbeat import Pulse
from upswell.broker.leadership import SoleCandidate
from upswell.broker.orders import take_orders
from upswell.errors import FleetError, FleetFullError, JournalError, NotLeadingError
from upswell.events import get_logger
from upswell.fleets.environment import passed_on, worker_environment
from upswell.fleets.protocol import WorkerSpec
from upswell.fleets.worker_settings import remember_settings, worker_settings
from upswell.scaler.ceilings import FleetCeilings, platform_limits, platform_notes
from upswell.scaler.costs import ScalingCosts
from upswell.scaler.exits import WorkerExits
from upswell.scaler.messaging import ScalerMessaging
from upswell.scaler.orders import ScalerOrders
from upswell.scaler.phases import see
from upswell.scaler.plan import ObservedWorker, ScalingAction, Target, plan, room
from upswell.scaler.targets import target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from upswell.broker.leadership import Leadership
    from upswell.broker.protocol import Broker
    from upswell.fleets.protocol import Fleet, FleetWorker
    from upswell.journal import KeptByApp
    from upswell.messages import OperatorAnswer, OperatorOrder, PartStatus, ScaleRequest
    from upswell.settings import Settings

_log = get_logger()

ROUND_SECONDS = 1.0
"""Between two looks at the fleet; a request or a change of a worker's state is acted on at once."""

AFTER_ACTIVATION_SECONDS = 0.05
"""A round that follows an activation waits for so long: it would only take the processor from the worker."""

SETTLE_INTERVALS = 3.0
"""After this many status intervals a worker that has not reported is taken for starting."""

START_AT_ONCE = 8
"""Workers asked for at once: so many may still start when a scaler stopped in the midst of it wakes."""

OUTSIDE_SECONDS = 10.0
"""A scaler that has not led for so long is a standby; until then it may just have lost the broker."""

LOOK_SECONDS = 5.0
"""An order that comes this soon after a term's begin is given again: by then the fleet was seen, mostly."""

ABANDON_SECONDS = 5.0
"""How long workers that must exit at once may take to put their uploads back."""


class Scaler:
    """Reconciles one fleet towards the newest requests."""

    def __init__(
        self,
        *,
        broker: Broker,
        fleet: Fleet,
        settings: Settings,
        name: str,
        clock: Callable[[], float] = time.time,
        by_hand: KeptByApp[ScaleRequest] | None = None,
        leadership: Leadership | None = None,
    ) -> None:
        """Wire a scaler of `settings.apps`, no others; the caller closes broker, fleet and leadership.

        `name`: of its own status queue. `by_hand`: the newest requests that operators made, kept over a
        restart: what they paused starts nothing before the monitor is heard again. `leadership`: None: there
        is no other scaler.
        """
        self._fleet = fleet
        self._settings = settings
        self._clock = clock
        self._apps = {app_id: settings.for_app(app_id) for app_id in settings.apps}
        self._changed = asyncio.Event()
        self._messaging = ScalerMessaging(
            broker, settings, name, changed=self._changed, clock=clock, on_request=self._on_request
        )
        self._by_hand = by_hand
        self._by_hand_fails = False
        self._broker = broker
        self._orders = ScalerOrders(
            apps=lambda: self._apps,
            seen=lambda: self._seen.values() if self._sees_fleet else None,
            on_down=self._leave,
            on_news=self._changed.set,
        )
        self._name = name
        self._leadership = leadership or SoleCandidate()
        self._waiting_since: float | None = None
        self._has_led = False
        self._term_since: float | None = None
        self._starting = asyncio.Semaphore(START_AT_ONCE)
        self._round = asyncio.Lock()
        self.costs = ScalingCosts()
        self._exits = WorkerExits(fleet, self.costs)
        self._ceilings = FleetCeilings()
        self._pending: dict[str, tuple[str, float]] = {}  # why a worker does not run yet, and when seen last
        self._seen: dict[str, ObservedWorker] = {}
        self._adopted: dict[str, tuple[int, int]] = {}
        self._targets: dict[str, Target] = {}
        self._leaving = False
        self._nobody_runs = False
        self._sees_fleet = False
        self._reached = False  # the fleet, ever
        self._unreachable: tuple[str, float] | None = None  # why, and since when
        self._pulse = Pulse("scaler", name, settings.report_queue, interval=ROUND_SECONDS)

    def part_status(self) -> PartStatus:
        """Return the heartbeat of this moment; while all workers drain it says how much is left."""
        workers = self.workers()
        if not self._leaving:
            known = self._ceilings.known
            return self._pulse.status(
                notes=platform_notes(workers, known),
                limits=platform_limits(workers, known),
                crashes=self._exits.recent_crashes(self._clock()),
            )
        return self._pulse.status(
            workers_left=len(workers), uploads_left=sum(worker.busy for worker in workers)
        )

    def workers(self) -> list[ObservedWorker]:
        """Return all workers as the last round saw them, of all applications, those leaving included."""
        return [worker for worker in self._seen.values() if worker.phase != "ended"]

    @property
    def reaches_fleet(self) -> bool:
        """Whether the last try to list the fleet's workers worked."""
        return self._unreachable is None

    @property
    def full_applications(self) -> int:
        """For how many applications the platform takes no more workers."""
        return self._ceilings.full

    async def run(self) -> None:
        """Reconcile until cancelled; the workers go on. While another scaler leads, wait.

        Ordered down by an operator it drains all workers, and returns when the last has left; one that waits
        returns at once.

        Afterwards it still hears, so that `drain_all` can follow; the caller's closing the broker ends that.

        Raises:
            BrokerError: a queue cannot be used.
        """
        await self.start()
        while not (self._leaving and self._nobody_runs):
            if self._leadership.leads():
                await self._lead()
            else:
                await self._stand_by()
        _log.info("scaler.down")

    async def _lead(self) -> None:
        """Reconcile until all have left, or another scaler may lead: then what is under way is given up."""
        self._begin_term()
        rounds = asyncio.create_task(self._rounds())
        lost = asyncio.create_task(self._leadership.lost())
        watching = asyncio.create_task(self._watch_fleet())
        try:
            await asyncio.wait([rounds, lost], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (rounds, lost, watching):
                task.cancel()
            await asyncio.gather(rounds, lost, watching, return_exceptions=True)
            self._sees_fleet, self._term_since = False, None

    @property
    def _looks_first(self) -> bool:
        """Whether this one leads again, or for the first time, and is about to look at its fleet."""
        if self._sees_fleet or self._unreachable is not None:
            return False
        return self._term_since is None or self._clock() - self._term_since < LOOK_SECONDS

    @property
    def _waits_for_long(self) -> bool:
        return self._waiting_since is not None and self._clock() - self._waiting_since > OUTSIDE_SECONDS

    def _begin_term(self) -> None:
        """Trust nothing that was seen of the fleet before: another scaler may have led meanwhile."""
        self._has_led = True
        self._term_since = self._clock()
        self._waiting_since = None
        self._ceilings.known.clear()  # they are found again
        self._sees_fleet = self._nobody_runs = False
        self._adopted.clear()
        self._targets.clear()
        if not self._leaving:
            self._pulse.enter("starting")

    async def _rounds(self) -> None:
        while not (self._leaving and self._nobody_runs):
            try:
                await self.run_once(self._clock())
            except Exception:  # noqa: BLE001 - a loop outlives whatever one round met
                _log.exception("scaler.round_failed")
            await self._wait(ROUND_SECONDS)

    async def _stand_by(self) -> None:
        """Wait a round's time to lead, and keep in mind since when no status can have been missed."""
        now = self._clock()
        if self._waiting_since is None:
            self._waiting_since = now
        elif self._pulse.state != "waiting":
            _log.warning("scaler.waiting")
            self._pulse.enter("waiting")
        self._messaging.check_clock(now)
        self._messaging.prune((), now)
        await self._messaging.probe(now)
        with suppress(TimeoutError):
            async with asyncio.timeout(ROUND_SECONDS):
                await self._leadership.gained()

    async def start(self) -> None:
        """Declare the queues and begin to listen."""
        await self._messaging.open()
        await take_orders(self._broker, "scaler", self._name, self._settings.report_queue, self._obey)
        _log.info("scaler.started", fleet=self._settings.fleet, apps=sorted(self._apps))

    def _obey(self, order: OperatorOrder) -> OperatorAnswer | None:
        """Obey where this one leads; of those that wait for long, none may take over once all is down."""
        if self._leadership.leads():
            return None if self._looks_first else self._orders.obey(order)
        if order.order == "down" and self._waits_for_long:
            self._leaving = self._nobody_runs = True
        return None

    def reload(self, settings: Settings) -> None:
        """Go on with other settings: new workers get them, and running ones keep theirs.

        The workers of an application that they no longer name are left as they are.
        """
        self._apps = {app_id: settings.for_app(app_id) for app_id in settings.apps}
        self._settings = settings
        self._fleet.reload(settings)
        self._messaging.apps = frozenset(settings.apps)
        self._changed.set()

    async def run_once(self, now: float) -> None:
        """Look at the fleet once, and do what is missing; a fleet that cannot be seen is left as it is."""
        async with self._round:
            if not self._leadership.leads():
                return
            self._messaging.check_clock(now)
            try:
                workers = await self._fleet.list()
            except FleetError as error:
                # Which workers run is unknown, which is not the same as none.
                self._note_unreachable(error, now)
                self._nobody_runs = self._sees_fleet = False
                return
            self._note_reached(now)
            await self._messaging.probe(now)
            await self._look(workers, now)
            for app_id in {**self._apps, **{worker.app_id: None for worker in workers}}:
                try:
                    await self._reconcile(app_id, now)
                except NotLeadingError:
                    return
                except FleetError as error:
                    _log.error("scaler.action_failed", app_id=app_id, error=error)
            self._sees_fleet = True
            self._nobody_runs = not self.workers()
            self._pulse.worked()

    async def drain_all(self) -> None:
        """Drain every worker; return when the last one has left, however long its uploads take.

        Cancelled, it leaves them draining; `abandon_all` has them go at once. Another scaler's workers stay,
        and it does not wait for a fleet that it never reached.
        """
        if not await self._leads_soon():
            return
        self._leave()
        while not self._nobody_runs:
            if not await self._leads_soon():
                return
            await self.run_once(self._clock())
            if not self._reached and self._unreachable is not None:
                return  # it started none, and which others may run cannot be found out
            if not self._nobody_runs:
                await self._wait(ROUND_SECONDS / 2)

    def _leave(self) -> None:
        """Have all workers drain from the next round on."""
        if not self._leaving:
            self._leaving = True
            self._nobody_runs = False
            self._pulse.enter("draining")
            self._changed.set()

    async def abandon_all(self) -> None:
        """Have every worker put its uploads back and exit; kill those that have not after a few seconds."""
        self._leaving = True
        if not await self._leads_soon():
            return
        for _ in range(2):  # the second SIGTERM means: at once
            for worker in await self._running():
                with suppress(FleetError):  # the others get theirs, and who stays is killed below
                    await self._fleet.drain(worker.worker_id)
            await asyncio.sleep(ABANDON_SECONDS / 50)
        if await self._all_end():
            return
        for worker in await self._running():
            try:
                await self._fleet.kill(worker.worker_id)
            except FleetError as error:
                _log.error("scaler.action_failed", app_id=worker.app_id, error=error)
        await self._all_end()  # one that waits for its disk ends a moment later

    async def _all_end(self) -> bool:
        """Wait for workers to end, a few seconds at most; return whether none is left."""
        for _ in range(20):
            if not await self._running():
                return True
            await asyncio.sleep(ABANDON_SECONDS / 20)
        return False

    async def _running(self) -> list[FleetWorker]:
        return [worker for worker in await self._fleet.list() if worker.state == "running"]

    async def _leads_soon(self) -> bool:
        """Return whether this scaler leads, or does so again after a short loss of the broker."""
        if not self._leadership.leads() and (self._waits_for_long or not self._has_led):
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(OUTSIDE_SECONDS):
                await self._leadership.gained()
                self._waiting_since = None
        return self._leadership.leads()

    def _check_leads(self) -> None:
        if not self._leadership.leads():
            raise NotLeadingError("another scaler may lead by now")

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    async def _watch_fleet(self) -> None:
        """Have the next round begin at once where workers change; without it a change is seen a round later.

        A fleet's watching that fails begins anew.
        """
        while True:
            try:
                await self._fleet.watch(self._changed.set)
            except Exception:  # noqa: BLE001 - whatever a fleet meets, the rounds go on
                _log.exception("scaler.round_failed")
            await asyncio.sleep(ROUND_SECONDS)

    def _note_unreachable(self, error: FleetError, now: float) -> None:
        """Log that the fleet cannot be seen: once, and again where the reason is another."""
        why, since = self._unreachable or ("", now)
        if str(error) != why:
            _log.error("scaler.fleet_unreachable", error=error)
        self._unreachable = (str(error), since)

    def _note_reached(self, now: float) -> None:
        self._reached = True
        if self._unreachable is not None:
            _log.info("scaler.fleet_reachable", seconds=now - self._unreachable[1])
        self._unreachable = None

    async def _look(self, workers: Sequence[FleetWorker], now: float) -> None:
        """Bring what is known of all workers up to date."""
        listed = {worker.worker_id for worker in workers}
        self._messaging.prune(listed, now)
        self._orders.forget(listed)
        self._note_pending(workers, now)
        self._seen = {
            worker.worker_id: see(
                worker,
                self._messaging.heard.get(worker.worker_id),
                self._messaging.told.get(worker.worker_id),
                start_timeout=self._settings.start_timeout,
                listening_since=self._messaging.listening_since,
                pending_at=self._pending.get(worker.worker_id, ("", 0.0))[1],
                outdated=worker.cordoned or worker.worker_id in self._orders.outdated,
                now=now,
            )
            for worker in workers
        }
        await self._exits.note(workers, self._seen, self._messaging.heard, self._messaging.told, now)
        self.costs.running(workers, now)

    def _note_pending(self, workers: Sequence[FleetWorker], now: float) -> None:
        """Remember which workers the platform does not run yet; say why, once for each reason."""
        listed = {worker.worker_id for worker in workers}
        self._pending = {name: known for name, known in self._pending.items() if name in listed}
        for worker in workers:
            if worker.pending and worker.state == "running":
                if self._pending.get(worker.worker_id, ("", 0.0))[0] != worker.pending:
                    names = {"app_id": worker.app_id, "worker_id": worker.worker_id}
                    _log.info("scaler.worker_pending", **names, reason=worker.pending)
                self._pending[worker.worker_id] = (worker.pending, now)

    async def _reconcile(self, app_id: str, now: float) -> None:
        """Do what turns one application's workers into its target."""
        seen = [worker for worker in self._seen.values() if worker.app_id == app_id]
        wanted = self._target(app_id, seen, now)
        if app_id in self._ceilings.known and all(action.kind != "start" for action in plan(seen, wanted)):
            self._ceilings.unwanted(app_id)
        may_start = self._may_start(app_id, seen, now)
        actions = plan(seen, wanted, may_start=may_start)
        failures: list[FleetError] = []
        # Those that ask the platform come last: it may take its time, and what was planned be old by then.
        for action in sorted(actions, key=lambda action: action.kind in ("forget", "terminate")):
            if action.kind != "start":
                try:
                    await self._act(action, app_id)
                except FleetError as error:  # a worker that cannot be removed holds up no other
                    failures.append(error)
        await self._start([action for action in actions if action.kind == "start"], app_id, now)
        if failures:
            raise failures[0]

    def _may_start(self, app_id: str, seen: Sequence[ObservedWorker], now: float) -> int:
        """Return how many workers may be started: limits, a crash loop and the platform's ceiling say."""
        if self._leaving or not self._exits.may_start(app_id, now):
            return 0
        left, ceiling = self._room(app_id, seen), self._ceilings.room(app_id, self._count(app_id), now)
        return left if ceiling is None else min(left, ceiling)

    def _room(self, app_id: str, seen: Sequence[ObservedWorker]) -> int:
        """Return how many workers the application's limit, and the one over all, let start.

        While outdated workers wait to be replaced it is one more: else none could be at the limit without
        fewer running than are wanted.
        """
        settings, total = self._apps.get(app_id), self._settings.max_workers_total
        if settings is None:
            return 0
        extra = any(worker.outdated and not worker.told_to_leave for worker in seen)
        left = room(seen, settings.max_workers + extra)
        return min(left, room(self._seen.values(), total + extra)) if total else left

    def _target(self, app_id: str, seen: Sequence[ObservedWorker], now: float) -> Target | None:
        """Return an application's target; None while that, or the state of its workers, is unknown."""
        if self._leaving:
            return Target(0, 0)
        settings = self._apps.get(app_id)
        if settings is None or not self._settled(settings, seen, now):
            return None
        found = sum(worker.phase in ("ready", "starting") for worker in seen)
        standing = sum(worker.phase in ("standby", "starting_standby") for worker in seen)
        adopted = self._adopted.setdefault(app_id, (found, standing))
        wanted = target(settings, self._request(app_id), *adopted)
        if wanted != self._targets.get(app_id):
            self._targets[app_id] = wanted
            _log.info("scaler.target", app_id=app_id, ready=wanted.ready, standby=wanted.standby, found=found)
        return wanted

    def _request(self, app_id: str) -> ScaleRequest | None:
        """Return the newest request; before the first one what an operator had set, if it was so."""
        request = self._messaging.requests.get(app_id)
        if self._by_hand is None:
            return request
        if request is None:
            return self._by_hand.get(app_id)
        lasting = msgspec.structs.replace(request, decided_at=0.0, reason="", epoch=0)
        try:
            self._by_hand.keep(app_id, lasting if request.by_hand else None)
        except JournalError as error:
            if not self._by_hand_fails:
                _log.error("scaler.by_hand_not_kept", app_id=app_id, error=error)
            self._by_hand_fails = True
        else:
            self._by_hand_fails = False
        return request

    def _settled(self, settings: Settings, seen: Sequence[ObservedWorker], now: float) -> bool:
        """Return whether every worker that was found running has had time to report its state."""
        if now - self._messaging.listening_since > SETTLE_INTERVALS * settings.status_interval:
            return True
        unheard = [
            w for w in seen if w.obeys and w.phase != "ended" and w.worker_id not in self._messaging.heard
        ]
        return all(worker.requested_at >= self._messaging.listening_since for worker in unheard)

    def _on_request(self, app_id: str) -> None:
        if self._activate_at_once(app_id):
            asyncio.get_running_loop().call_later(AFTER_ACTIVATION_SECONDS, self._changed.set)
        else:
            self._changed.set()

    def _activate_at_once(self, app_id: str) -> bool:
        """Activate those that stand by and are wanted by a request that came in; return whether any were.

        It takes one message a worker, and neither a look at the fleet nor the end of a round under way.
        """
        if not (self._sees_fleet and self._leadership.leads()):
            return False
        activated = False
        seen = [worker for worker in self._seen.values() if worker.app_id == app_id]
        for action in plan(seen, self._target(app_id, seen, self._clock())):
            if action.kind == "activate":
                self._tell(action, app_id)
                worker = self._seen[action.worker_id]
                self._seen[action.worker_id] = msgspec.structs.replace(worker, phase="ready")
                activated = True
        return activated

    async def _act(self, action: ScalingAction, app_id: str) -> None:
        self._check_leads()
        worker_id = action.worker_id
        if action.kind == "forget":
            await self._fleet.forget(worker_id)
            self._messaging.forget(worker_id)
            return
        if action.kind == "terminate":
            await self._fleet.drain(worker_id)
            self.costs.drains += worker_id not in self._messaging.told
            self._messaging.note_signal(worker_id)
            _log.info("scaler.worker_told", app_id=app_id, worker_id=worker_id, command=action.kind)
            return
        self.costs.drains += action.kind == "drain"
        self._tell(action, app_id)

    def _tell(self, action: ScalingAction, app_id: str) -> None:
        assert action.kind in ("activate", "standby", "drain")
        self._messaging.send(action.worker_id, action.kind)
        _log.info("scaler.worker_told", app_id=app_id, worker_id=action.worker_id, command=action.kind)

    async def _start(self, actions: Sequence[ScalingAction], app_id: str, now: float) -> None:
        if not actions:
            return
        settings = self._apps[app_id]
        environment = {
            **passed_on(settings.worker_variables, os.environ),
            **worker_environment(settings, app_id),
        }
        specs = [
            WorkerSpec(
                worker_id=f"{app_id}-{secrets.token_hex(5)}",
                app_id=app_id,
                standby=action.standby,
                requested_at=now,
                environment=environment,
            )
            for action in actions
        ]
        with suppress(OSError):  # then `config check` says that settings differ, and not which
            remember_settings(settings.state_path, worker_settings(settings, app_id))
        results = await asyncio.gather(*map(self._start_one, specs), return_exceptions=True)
        for spec, failure in zip(specs, results, strict=True):
            if failure is not None:
                continue
            self.costs.started(spec.worker_id, now)
            self._seen[spec.worker_id] = ObservedWorker(
                worker_id=spec.worker_id,
                app_id=app_id,
                phase="starting_standby" if spec.standby else "starting",
                requested_at=now,
            )
            self._ceilings.started(app_id, self._count(app_id))
            _log.info("scaler.worker_started", app_id=app_id, worker_id=spec.worker_id, standby=spec.standby)
        self._check_leads()
        failures = [failure for failure in results if failure is not None]
        full = next((failure for failure in failures if isinstance(failure, FleetFullError)), None)
        other = next((failure for failure in failures if not isinstance(failure, FleetFullError)), None)
        if other is not None:
            if isinstance(other, NotLeadingError) or not isinstance(other, Exception):
                raise other
            self._exits.start_failed(app_id, other, now)
            self._ceilings.refused(app_id, self._count(app_id), other, now)
        if full is not None:
            self._ceilings.refused(app_id, self._count(app_id), full, now)

    def _count(self, app_id: str) -> int:
        """Return how many workers of an application the fleet has, those leaving included."""
        return sum(worker.app_id == app_id for worker in self.workers())

    async def _start_one(self, spec: WorkerSpec) -> None:
        async def start() -> None:
            self._check_leads()
            await self._fleet.start(spec)

        async with self._starting:
            starting = asyncio.ensure_future(start())
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:
                # The platform may start it all the same: whoever drains all afterwards must find it.
                await asyncio.gather(starting, return_exceptions=True)
                raise
