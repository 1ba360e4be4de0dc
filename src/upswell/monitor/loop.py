"""The monitor: observes every application and decides how many workers each needs.

What comes in: upload reports, worker statuses, queue depths. What goes out: scale requests with absolute
numbers, and the journal. It does not know who starts workers, nor how. One process serves all applications.

The thinking is pure and stands elsewhere: `analysis.application` sums up, `policies` decide. Here is the
loop of one candidacy: a monitor listens to statuses until it leads, then takes reports and decides until it
leads no more. One whose term is over is done: `candidate.py` begins anew with another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from upswell.analysis.decision import Decision
from upswell.analysis.sentence import escaped
from upswell.broker import topology
from upswell.broker.declaring import declare_upload_queues
from upswell.broker.heartbeat import HeardParts, Pulse
from upswell.broker.leadership import SoleCandidate
from upswell.broker.listening import listen
from upswell.broker.orders import take_orders
from upswell.broker.protocol import Message
from upswell.errors import JournalError, MessageError
from upswell.events import get_logger
from upswell.journal import JournalEntry
from upswell.messages import ScaleRequest, decode, encode
from upswell.monitor.alarms import Alarms
from upswell.monitor.applications import Applications
from upswell.monitor.by_hand import OrdersByHand
from upswell.monitor.choices import choice_row
from upswell.monitor.depth_queries import DepthQueries
from upswell.monitor.epochs import Epochs
from upswell.monitor.intake import Intake
from upswell.monitor.notices import Notices
from upswell.monitor.rehearsals import Rehearsals
from upswell.monitor.webhook import Webhook
from upswell.policies.guards.global_limit import Bid, below_minimums, limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from upswell.analysis.billing import Bill
    from upswell.analysis.snapshot import Snapshot
    from upswell.broker.leadership import Leadership
    from upswell.broker.protocol import Broker, Consumer, Delivery
    from upswell.journal import Journal, KeptByApp
    from upswell.messages import ByHand, OperatorAnswer, OperatorOrder, WorkerCrash
    from upswell.monitor.applications import Watched
    from upswell.monitor.intake import Clock
    from upswell.settings import Settings
    from upswell.simulator.application_rehearsal import SettingChoice

    OnDecision = Callable[[Snapshot, Decision], None]
    Opinion = tuple[Watched, Snapshot, Decision]

_log = get_logger()
_WHO = "monitor"

RETURN_SECONDS = 10.0
"""A monitor that leads again so soon, when no other was heard, goes on where it stopped: it lost the broker
for a moment. Later, or after another, its windows have gaps, and it begins anew."""

STANDBY_ROUND_SECONDS = OUTBID_SECONDS = 1.0

PREFETCH_COUNT = 2000
"""Reports are taken in at once, so a large prefetch only hides the broker's latency."""


def steady_clock() -> Clock:
    """Return a clock that never jumps: UTC seconds since 1970 as they are now, and monotonic from here on."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


class Monitor:
    """Observes, decides, tells.

    Args:
        broker: connected; the caller closes it.
        settings: `apps` are scaled; others are observed.
        journal: where rounds are recorded, or None; the caller closes it.
        leadership: of the monitors; the caller closes it. None: there is no other.
        epochs: what was heard of them until now.
        name: of this monitor's own status queue.
        on_decision: called with each snapshot and decision (for a live view).
        clock: our own time; a test's clock may stand still.
        rehearsals: tune the `slo` policies beside the loop; default: in a thread of their own.
        by_hand: what operators set before, and where it is kept; None: it is forgotten with this monitor.

    Raises:
        SettingsError: an application names a policy that there is not, or its settings break a rule.
        JournalError: what the workers cost so far cannot be read from the journal.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        settings: Settings,
        journal: Journal | None,
        name: str,
        leadership: Leadership | None = None,
        epochs: Epochs | None = None,
        on_decision: OnDecision | None = None,
        clock: Clock | None = None,
        rehearsals: Rehearsals | None = None,
        by_hand: KeptByApp[ByHand] | None = None,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._journal = journal
        self._journal_fails = False
        self._leadership = leadership or SoleCandidate()
        self._epochs = epochs or Epochs()
        self._led = False
        self._reigns = True  # until another monitor's requests are heard
        self._lost_at: float | None = None
        self._waiting_since: float | None = None
        self._sent: dict[str, ScaleRequest] = {}
        self._outbid_at: float | None = None
        self._name = name
        self._on_decision = on_decision
        self.on_round: Callable[[list[JournalEntry]], None] | None = None
        """Called with each round, after the scaler was told (for metrics)."""
        self._clock = clock or steady_clock()
        started_at = self._clock()
        self.applications = Applications(settings, started_at, journal.bills() if journal else {})
        self._stopping = asyncio.Event()
        self._by_hand = OrdersByHand(lambda: self.applications, by_hand, self._clock, self._stopping)
        self._alarms = Alarms()
        self._webhook: Webhook | None = None
        self._notices: Notices | None = None
        if settings.webhook_url:
            self._webhook = Webhook(settings.webhook_url, settings.webhook_headers)
            self._notices = Notices(self._webhook.send, settings.report_queue, settings.window)
        self._refused_queue = topology.refused_report_queue(settings.report_queue)
        self._intake = Intake(
            broker=broker,
            applications=self.applications,
            clock=self._clock,
            window=settings.window,
            refused_queue=self._refused_queue.name,
            started_at=started_at,
            keep_rows=journal is not None,
            leads=self._leadership.leads,
        )
        self._rehearsals = Rehearsals(settings.decision_interval) if rehearsals is None else rehearsals
        self._rehearsals.resume(self.applications)
        self._depths = DepthQueries(broker, self._clock, settings.upload_queue_of)
        self._consumers: list[Consumer] = []
        self._parts = HeardParts(settings.report_queue)
        self._crashes: tuple[WorkerCrash, ...] = ()  # told in the heartbeat before
        self._first_pause = max(settings.decision_interval, 3 * settings.status_interval)
        self.pulse = Pulse("monitor", name, settings.report_queue, interval=self._first_pause)
        """The heartbeat, which the caller sends."""

    async def run(self) -> bool:
        """Wait to lead, then observe and decide until cancelled; return whether an operator ordered the end.

        If not, this monitor leads no more: another one led meanwhile, or may have.

        The first decision waits for three status intervals, so that every running worker was heard of: what
        runs is what the monitor starts from. One that waited to lead has heard them.

        Raises:
            BrokerError: a queue cannot be used.
        """
        listening_since = time.monotonic()
        try:
            await self.start()
            while await self._comes_to_lead():
                if not self._led:
                    await self.begin_term()
                    heard_for = time.monotonic() - listening_since
                    await self._rounds(max(0.0, self._first_pause - heard_for))
                else:
                    await self._rounds(0.0)
                if self._stopping.is_set():
                    break
                self._lost_at = self._clock()
            return self._stopping.is_set()
        finally:
            await self.stop()
            self.pulse.enter("stopped")
            _log.info("monitor.stopped", reports=self._intake.reports, duplicates=self._intake.duplicates)

    async def _comes_to_lead(self) -> bool:
        """Return when this monitor leads, or False: when it is to stop, or may not go on where it stopped."""
        self._waiting_since = None
        while not self._leadership.leads():
            if self._stopping.is_set() or self._is_deposed():
                return False
            if self._waiting_since is not None and self.pulse.state != "waiting":
                _log.warning("monitor.waiting", name=self._name)
                self.pulse.enter("waiting")
            now = self._clock()
            self._waiting_since = now if self._waiting_since is None else self._waiting_since
            self.applications.tidy(now)
            with suppress(TimeoutError):
                async with asyncio.timeout(STANDBY_ROUND_SECONDS):
                    await self._leadership.gained()
        return not self._is_deposed()

    def _is_deposed(self) -> bool:
        """Return whether this monitor led, and what it knows may have a gap since."""
        if self._lost_at is None:
            return False
        return not self._reigns or self._clock() - self._lost_at > RETURN_SECONDS

    async def begin_term(self) -> None:
        """Begin to lead: take in reports, and go on from what earlier leaders recorded and told."""
        now = self._clock()
        self._led = True
        self.applications.begin(now, self._recorded_bills())
        if self._journal is not None:
            self._rehearsals.recollect(self._journal, now)
        self._intake.begin(now)
        self._by_hand.recall()
        self._rehearsals.recall(self.applications)
        epoch = self._epochs.begin(now)
        # A monitor that was stopped still has its subscription: the newest is served first.
        self._consumers.append(
            await self._broker.consume(
                self._settings.report_queue,
                self._intake.on_report,
                prefetch_count=PREFETCH_COUNT,
                priority=int(now),
            )
        )
        self.pulse.enter("starting")
        _log.info("monitor.started", name=self._name, epoch=epoch, apps=len(self.applications))

    def _recorded_bills(self) -> dict[str, Bill]:
        if self._journal is None:
            return {}
        self._journal.remember(self._settings)
        try:
            return self._journal.take_up()
        except JournalError as error:
            _log.error("monitor.journal_failed", error=error)
            return {}

    async def _rounds(self, pause: float) -> None:
        """Decide each interval while this monitor leads."""
        interval = self._settings.decision_interval
        if self.pulse.state == "waiting":
            self.pulse.enter("starting")
        while not await self._ends_within(pause):
            begun = time.monotonic()
            try:
                await self.run_once(self._clock())
                self.pulse.worked()
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("monitor.round_failed")
            pause = max(interval / 10, interval - (time.monotonic() - begun))

    async def _ends_within(self, seconds: float) -> bool:
        """Return whether, within these seconds, an operator ordered the end or this monitor led no more."""
        ends = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(self._leadership.lost())]
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in ends:
                task.cancel()
        return self._stopping.is_set() or not self._leadership.leads()

    async def start(self) -> None:
        """Make the queues, and begin to listen to all but reports, which the leader takes."""
        reports = topology.report_queue(self._settings.report_queue)
        statuses = topology.status_queue("monitor", self._name)
        for queue in (reports, self._refused_queue, statuses):
            await self._broker.declare(queue)
        await declare_upload_queues(self._broker, self._settings)
        # Statuses before reports: they tell how wrong the workers' clocks are.
        self._consumers += [
            await self._broker.consume(statuses.name, self._intake.on_status, prefetch_count=PREFETCH_COUNT),
            await listen(
                self._broker,
                topology.scaling_queue("monitor", self._name, self._settings.report_queue),
                self._on_request,
            ),
            await self._parts.listen(self._broker, f"monitor.{self._name}"),
            await take_orders(self._broker, "monitor", self._name, self._settings.report_queue, self._obey),
        ]

    async def stop(self) -> None:
        """Listen and rehearse no more."""
        self._rehearsals.close()
        if self._webhook is not None:
            await asyncio.to_thread(self._webhook.close)
        await self._depths.close()
        while self._consumers:
            await self._consumers.pop().cancel()

    def _obey(self, order: OperatorOrder) -> OperatorAnswer | None:
        """Obey where this one leads; of those that wait for long, none may take over once it is to stop."""
        if self._leadership.leads():
            return self._by_hand.obey(order)
        waited = 0.0 if self._waiting_since is None else self._clock() - self._waiting_since
        if order.order == "stop" and waited > RETURN_SECONDS:
            self._stopping.set()
        return None

    def _on_request(self, delivery: Delivery) -> None:
        """Hear what monitors ask of the scalers, this one's own requests too."""
        try:
            request = decode(ScaleRequest, delivery.body)
        except MessageError:
            return
        now = self._clock()
        another = self._epochs.heard(request, now)
        if not self._leadership.leads():
            self._reigns = self._reigns and not (another and self._led)
            self._by_hand.follow(request)
        elif another and self._led:
            self._outbid(request, now)

    def _outbid(self, request: ScaleRequest, now: float) -> None:
        """Take a greater epoch than another's, and say again at once what was decided last."""
        if self._outbid_at is not None and now - self._outbid_at < OUTBID_SECONDS:
            return  # the next round, or the next of these, does it
        self._outbid_at = now
        epoch = self._epochs.begin(now)
        _log.warning("monitor.epoch_raised", name=self._name, heard=request.epoch, epoch=epoch)
        for last in list(self._sent.values()):
            self._send(msgspec.structs.replace(last, epoch=epoch, decided_at=now))

    def reload(self, settings: Settings) -> None:
        """Go on with other settings, from the next round on; what was observed stays.

        Raises:
            SettingsError: as for `Monitor`; then nothing has changed.
        """
        for app_id in self.applications.reload(settings, self._clock()):
            self._rehearsals.forget(app_id)
        self._rehearsals.resume(self.applications)
        self._settings = settings
        self._depths.queue_of = settings.upload_queue_of
        if self._journal is not None:
            self._journal.remember(settings)

    @property
    def reports_taken_in(self) -> int:
        """Reports received since the start, duplicates included."""
        return self._intake.reports

    @property
    def messages_refused(self) -> int:
        """Invalid reports and statuses since the start."""
        return self._intake.refused

    async def run_once(self, now: float) -> list[JournalEntry]:
        """Make one round: ask for the depths, then decide; return what was decided."""
        known = [watched.seen for _, watched in self.applications if watched.policy is not None]
        await self._depths.refresh(known, timeout=self._settings.decision_interval / 2)
        return self.decide(now) if self._leadership.leads() else []

    def decide(self, now: float) -> list[JournalEntry]:
        """Decide for each application from what is known at this moment, tell the scaler, record."""
        self.applications.tidy(now)
        self._hear_scaler()
        self._record_choices(self._rehearsals.follow(), now)
        # Without a limit over all, one application after the other: what it needs is in the cache once.
        opinions = (self._opinion(app_id, watched, now) for app_id, watched in self.applications)
        entries = [self._conclude(*opinion, now) for opinion in self._limited(opinions)]
        self._tell_log(entries)
        changes = self._alarms.tell(entries, now)
        self._record(entries)
        self._tell_round(entries)
        if self._notices is not None:
            self._notices.take(entries, changes, self._settings.apps, now)
        self._intake.tell_refused()
        self._rehearsals.work()
        return entries

    def _opinion(self, app_id: str, watched: Watched, now: float) -> Opinion:
        """Return what the application's policy or an operator wants, not yet limited by what others want."""
        snapshot = watched.seen.snapshot(now)
        decision = self._ask_policy(app_id, watched, snapshot)
        return watched, snapshot, self._by_hand.decide(watched, snapshot, decision)

    def _hear_scaler(self) -> None:
        """Take in what the platform gives and who crashed; without a leader, what was told last holds."""
        scaler = self._parts.newest("scaler", time.monotonic())
        if scaler is None:
            return
        if scaler.state in ("working", "draining", "failing"):
            limits = {limit.app_id: limit for limit in scaler.limits}
            for app_id, watched in self.applications:
                watched.seen.platform = limits.get(app_id)
        crashes = [crash for crash in scaler.crashes if crash not in self._crashes]
        self._crashes = scaler.crashes
        if self._journal is not None and crashes:
            self._journal.record_crashes(crashes)

    def _limited(self, opinions: Iterable[Opinion]) -> Iterable[Opinion]:
        """Return the opinions, in order, after `max_workers_total`."""
        total = self._settings.max_workers_total
        if total == 0:
            return opinions
        opinions = list(opinions)
        bids = [
            Bid(
                snapshot,
                decision,
                watched.settings.min_workers,
                watched.settings.priority,
                watched.settings.fixed_standby,
            )
            for watched, snapshot, decision in opinions
            if watched.policy is not None
        ]
        self._alarms.tell_minimums(below_minimums(bids, total), total)
        cut = iter(limited(bids, total))
        return [
            (watched, snapshot, decision if watched.policy is None else next(cut))
            for watched, snapshot, decision in opinions
        ]

    def _conclude(self, watched: Watched, snapshot: Snapshot, decision: Decision, now: float) -> JournalEntry:
        """Tell the scaler and the live view what was decided, and return it for the journal."""
        app_id = snapshot.app_id
        changed = False
        known = app_id in self._by_hand or not (watched.seen.blind and snapshot.warming_up)
        if watched.policy is not None and known:
            changed = watched.seen.decided(decision.desired_workers)
            standby = watched.standby if decision.standby_workers is None else decision.standby_workers
            if changed or standby != watched.standby or not watched.reason:
                watched.reason = decision.reason
            watched.standby = standby
            self._tell_scaler(app_id, decision, watched, now)
        self._tell_observer(snapshot, decision)
        return JournalEntry(
            app_id=app_id,
            at=now,
            epoch=self._epochs.own,
            changed=changed,
            snapshot=snapshot,
            decision=decision,
            bill=watched.ledger.observe(snapshot),
        )

    def _record_choices(self, choices: list[SettingChoice], now: float) -> None:
        """Hand settings that were chosen to the journal, with what all would have cost."""
        if self._journal is not None and choices:
            self._journal.record_choices([choice_row(choice, now) for choice in choices])

    def _ask_policy(self, app_id: str, watched: Watched, snapshot: Snapshot) -> Decision:
        """Return the policy's decision, or a hold: where it fails, nothing was heard, or there is none."""
        current = snapshot.workers.desired
        if watched.policy is None:
            return Decision.hold(_WHO, current, "not in the settings: observed, never scaled")
        if watched.seen.blind and snapshot.warming_up:
            return Decision.hold(_WHO, current, "nothing heard yet: no report, no status, no queue depth")
        try:
            decision = watched.policy.decide(snapshot)
        except Exception as error:  # noqa: BLE001 - one application's policy must not stop the others
            if not watched.policy_fails:
                watched.policy_fails = True
                _log.exception("monitor.policy_raised", app=app_id)
            why = escaped(f"the policy failed: {type(error).__name__}: {error}")
            return Decision.hold(_WHO, current, why).alarmed("policy_failed")
        watched.policy_fails = False
        if watched.family is not None:
            self._rehearsals.note(watched.family, watched.settings, snapshot)
        return decision

    def _tell_scaler(self, app_id: str, decision: Decision, watched: Watched, now: float) -> None:
        """Publish the number, changed or not: the next makes good a lost one, so none is confirmed.

        Of workers that the platform refuses one is asked for: whether it has room shows by asking only.
        """
        request = ScaleRequest(
            app_id=app_id,
            desired_workers=decision.desired_workers + min(1, decision.refused_workers),
            decided_at=now,
            reason=watched.reason,
            epoch=self._epochs.own,
            by_hand=app_id in self._by_hand,
            order=self._by_hand.order(app_id),
            standby_workers=watched.standby,
        )
        self._sent[app_id] = request
        self._send(request)

    def _send(self, request: ScaleRequest) -> None:
        self._epochs.sent(request.decided_at)
        self._broker.publish(
            Message(
                body=encode(request),
                exchange=topology.scaling_exchange(self._settings.report_queue),
                persistent=False,
                mandatory=False,
            )
        )

    def _tell_log(self, entries: list[JournalEntry]) -> None:
        log = _log.bind()  # once a round: a logger that was not bound yet costs more than a decision
        changes, all_of_them = log.is_enabled_for(logging.INFO), log.is_enabled_for(logging.DEBUG)
        for entry in entries:
            if not ((entry.changed and changes) or all_of_them):
                continue  # no sentence is made that nobody reads
            current, desired = entry.snapshot.workers.desired, entry.decision.desired_workers
            if entry.changed:  # then the scaler was told the same sentence
                reason = self._sent[entry.app_id].reason
                log.info("decision.made", app=entry.app_id, current=current, desired=desired, reason=reason)
            else:
                reason = entry.decision.reason
                log.debug("decision.made", app=entry.app_id, current=current, desired=desired, reason=reason)

    def _tell_observer(self, snapshot: Snapshot, decision: Decision) -> None:
        if self._on_decision is None:
            return
        try:
            self._on_decision(snapshot, decision)
        except Exception:  # noqa: BLE001 - whatever the live view does
            _log.exception("monitor.observer_failed", app=snapshot.app_id)

    def _tell_round(self, entries: list[JournalEntry]) -> None:
        if self.on_round is None:
            return
        try:
            self.on_round(entries)
        except Exception:  # noqa: BLE001 - whatever counts beside us
            _log.exception("monitor.observer_failed", app="")

    def _record(self, entries: list[JournalEntry]) -> None:
        """Hand the round to the journal; without one, or with one that fails, the monitor goes on."""
        if self._journal is None:
            return
        try:
            self._journal.record(entries, *self._intake.rows())
        except JournalError as error:
            if not self._journal_fails:
                self._journal_fails = True
                _log.error("monitor.journal_failed", error=error)
        else:
            self._journal_fails = False
