"""The worker: takes requests from one application's queue and has a handler do them.

What comes in: a broker, a handler, settings, then commands over the worker's control queue, and signals. What
goes out: its status; what happens to one delivery stands in worker/uploads.py. It does not know who scales
it: it drains by message as by SIGTERM, on every fleet.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from upswell import __version__, healthcheck
from upswell.broker import broker_entry, topology
from upswell.broker.declaring import declare_upload_queue
from upswell.broker.protocol import Message
from upswell.errors import BrokerError, MessageError, SettingsError
from upswell.events import get_logger
from upswell.messages import (
    CommandName,
    WorkerCommand,
    WorkerState,
    WorkerStatus,
    check_app_id,
    decode,
    encode,
)
from upswell.stores.rate_limit import RateLimit
from upswell.worker.capacity import Capacity
from upswell.worker.outcomes import MAX_BACKOFF_SECONDS
from upswell.worker.subscription import Subscription
from upswell.worker.uploads import Uploads

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from upswell.broker.protocol import Broker, Delivery
    from upswell.handlers.protocol import Handler
    from upswell.messages import Outcome
    from upswell.settings import Settings
    from upswell.traces.otel import UploadTracer

_log = get_logger()

GRACE_SECONDS = 2.0
"""How long cancelled handlers may tidy up before the process leaves without them."""

CONFIRM_SECONDS = 60.0
"""How long a report's confirm may take, broker restarts included, when the consumer time-out is checked."""

STALE_SECONDS = 60.0
"""A command older than the last one by less than this came late; by more, the sender's clock was set back."""

BLOCKED_SECONDS = 2.0
"""The loop woke up so much later than it was to: something blocked it, and heartbeats stood still with it."""

WorkerGoal = Literal["ready", "standby", "draining"]
_GOALS: dict[CommandName, WorkerGoal] = {"activate": "ready", "standby": "standby", "drain": "draining"}


class Worker:
    """One worker of one application, from connecting to its last ack."""

    def __init__(
        self,
        *,
        app_id: str,
        broker: Broker,
        handler: Handler,
        settings: Settings,
        worker_id: str,
        upload_queue: str,
        report_queue: str,
        standby: bool = False,
        requested_at: float | None = None,
        limit: RateLimit | None = None,
        settings_hash: str | None = None,
        tracer: UploadTracer | None = None,
        clock: Callable[[], float] = time.time,
        exit_process: Callable[[int], None] = os._exit,
    ) -> None:
        """Wire a worker of one application, with the settings of that.

        `broker`: not yet connected; closed at the end. `standby`: consume only when activated.
        `requested_at`: when its fleet was asked for it. `limit`: its handler's. `exit_process`: ends the
        process where handlers hang.

        Raises:
            SettingsError: its uploads may outlast RabbitMQ's consumer time-out.
            MessageError: app_id is invalid.
        """
        check_app_id(app_id)
        check_time_limit(settings)
        self._app_id = app_id
        self._worker_id = worker_id
        self._broker = broker
        self._settings = settings
        self._upload_queue = upload_queue
        self._report_queue = report_queue
        self._clock = clock
        self._exit_process = exit_process
        self._requested_at = requested_at
        self._settings_hash = settings_hash
        self._started_at = clock()
        self._ready_at: float | None = None
        self._start_cpu: float | None = None
        self._state: WorkerState = "starting"
        self._goal: WorkerGoal = "standby" if standby else "ready"
        self._changed = asyncio.Event()
        self._consumer: Subscription | None = None
        self._pausing: asyncio.Future[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._connected = False
        self._leaving = False
        self._shown_ready: bool | None = None  # by the file for readiness probes
        self._signals = 0
        self._drain_deadline: asyncio.TimerHandle | None = None
        self._last_command_at = 0.0
        self._uploads = Uploads(
            app_id=app_id,
            worker_id=worker_id,
            broker=broker,
            handler=handler,
            settings=settings,
            upload_queue=upload_queue,
            reports_to=report_queue,
            on_idle=self._changed.set,
            tracer=tracer,
            clock=clock,
        )
        self._capacity = Capacity(
            app_id=app_id,
            worker_id=worker_id,
            broker=broker,
            settings=settings,
            uploads=self._uploads,
            limit=limit or RateLimit(settings.upload_rate_limit),
        )

    @property
    def status(self) -> WorkerStatus:
        """How the worker is now."""
        return WorkerStatus(
            app_id=self._app_id,
            worker_id=self._worker_id,
            state=self._state,
            busy=self._uploads.busy,
            slots=self._uploads.slots,
            at=self._clock(),
            requested_at=self._requested_at,
            ready_at=self._ready_at,
            started_at=self._started_at,
            moved_bytes=self._capacity.moved_bytes,
            version=__version__,
            settings_hash=self._settings_hash,
            start_cpu=self._start_cpu,
        )

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many attempts ended in each way."""
        return self._uploads.counts

    async def run(self, *, handle_signals: bool = True) -> None:
        """Connect, work until asked to drain or to leave, and disconnect.

        Args:
            handle_signals: drain at the first SIGTERM or SIGINT; at the second put uploads back and leave.
                SIGHUP changes nothing, unless it says that our terminal is gone: then drain.

        Raises:
            BrokerError: the broker refused the connection or a queue, for good.
        """
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT) if handle_signals else ()
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal)
        if handle_signals and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup ignores it
            terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]
            loop.add_signal_handler(signal.SIGHUP, self._on_hang_up, terminals)
            numbers = (*numbers, signal.SIGHUP)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGHUP,))  # the process fleet blocks it
        serving = self._serving = loop.create_task(self._serve())
        try:
            await serving
        except asyncio.CancelledError:
            if not self._leaving:
                raise
        finally:
            await self._close()
            for number in numbers:
                loop.remove_signal_handler(number)

    def _on_signal(self) -> None:
        # Counted apart from drain messages: a `docker stop` of a draining worker must not end its uploads.
        self._signals += 1
        if self._signals > 1:
            self.request_leave()
        else:
            self.request_drain()

    def _on_hang_up(self, terminals: list[int]) -> None:
        """Go on, unless our terminal is gone: who started this worker by hand has left."""
        if all(map(os.isatty, terminals)):
            _log.info("worker.settings_kept", worker_id=self._worker_id)
        else:
            self.request_drain()

    def request_drain(self) -> None:
        """Take no more uploads, finish those in hand, then let `run` return."""
        self._set_goal("draining")
        if not self._connected:  # nothing is in hand yet, and the broker may never be there
            self.request_leave()

    def request_leave(self) -> None:
        """Put the uploads in hand back into the queue and let `run` return at once."""
        self._leaving = True
        self._goal = "draining"
        if self._serving is not None:
            self._serving.cancel()

    def _set_goal(self, goal: WorkerGoal) -> None:
        self._goal = goal
        self._changed.set()

    async def _serve(self) -> None:
        if self._leaving:
            return
        healthcheck.starts("worker")
        self._shown_ready = False
        healthcheck.takes_uploads(ready=False)
        ticking = asyncio.create_task(self._tick())
        try:
            await self._open()
            while not await self.run_once():
                await self._changed.wait()
        finally:
            ticking.cancel()
            if self._drain_deadline is not None:
                self._drain_deadline.cancel()

    async def _open(self) -> None:
        settings = self._settings
        await self._broker.connect()
        self._connected = True
        limit = settings.delivery_limit
        await declare_upload_queue(self._broker, self._upload_queue, delivery_limit=limit)
        await self._broker.declare(topology.report_queue(self._report_queue))
        control = topology.control_queue(self._worker_id)
        await self._broker.declare(control)
        await self._broker.consume(control.name, self.on_command, prefetch_count=10)
        _log.info(
            "worker.started",
            app_id=self._app_id,
            worker_id=self._worker_id,
            queue=self._upload_queue,
            slots=settings.initial_slots,
            handler=settings.handler,
        )
        healthcheck.works("worker")
        await self._capacity.listen()

    async def run_once(self) -> bool:
        """Move to the state that is asked for; return whether the worker has drained."""
        self._changed.clear()
        goal = self._goal
        if goal != "draining":
            await (self._consume() if goal == "ready" else self._pause())
            self._enter(goal)
            # One that rests is ready until it has finished: of pods, those that are not ready go first.
            ready = goal == "ready" or self._uploads.busy > 0
            if ready != self._shown_ready:
                self._shown_ready = ready
                healthcheck.takes_uploads(ready=ready)
            return False
        self._enter("draining")
        healthcheck.stops()
        if self._settings.drain_timeout and self._drain_deadline is None:
            loop = asyncio.get_running_loop()
            self._drain_deadline = loop.call_later(self._settings.drain_timeout, self._drain_overdue)
        await self._pause()
        self._uploads.hurry()
        return self._uploads.busy == 0

    def _drain_overdue(self) -> None:
        _log.warning(
            "worker.drain_overdue",
            worker_id=self._worker_id,
            drain_timeout=self._settings.drain_timeout,
            busy=self._uploads.busy,
        )
        self.request_leave()

    async def _consume(self) -> None:
        if self._consumer is None:
            self._consumer = Subscription(self._broker, self._upload_queue, self._uploads.on_delivery)
        if self._consumer.prefetch_count == self._uploads.slots:
            return
        await self._consumer.resize(self._uploads.slots)
        if self._ready_at is None:
            self._ready_at = self._clock()

    async def _pause(self) -> None:
        """Stop consuming; the broker sees to it that no delivery on its way comes back as a redelivery."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            self._pausing = asyncio.ensure_future(consumer.cancel())
        if self._pausing is not None:  # whoever is told to leave meanwhile waits for the same
            await asyncio.shield(self._pausing)

    def _enter(self, state: WorkerState) -> None:
        if self._start_cpu is None:
            self._start_cpu = time.process_time()
        if state == self._state:
            return
        self._state = state
        _log.info(
            "worker.state",
            app_id=self._app_id,
            worker_id=self._worker_id,
            state=state,
            busy=self._uploads.busy,
        )
        self._publish(self.status)

    def on_command(self, delivery: Delivery) -> None:
        """Take a command from the control queue: the newest holds; nothing undoes a drain."""
        self._broker.ack(delivery)
        try:
            command = decode(WorkerCommand, delivery.body)
        except MessageError as error:
            self._ignore(str(error))
            return
        if command.command == "describe":
            self._publish(msgspec.structs.replace(self.status, uploads=self._uploads.described()))
        elif self._last_command_at - STALE_SECONDS < command.sent_at < self._last_command_at:
            self._ignore(f"{command.command}: sent before the last one")
        elif self._goal == "draining":
            if command.command != "drain":
                self._ignore(f"{command.command}: draining already")
        else:
            self._last_command_at = command.sent_at
            self._set_goal(_GOALS[command.command])

    def _ignore(self, reason: str) -> None:
        _log.warning("worker.command_ignored", worker_id=self._worker_id, reason=reason)

    async def _tick(self) -> None:
        loop, interval = asyncio.get_running_loop(), self._settings.status_interval
        while True:
            healthcheck.beat()
            due = loop.time() + interval
            await asyncio.sleep(interval)
            if loop.time() - due > BLOCKED_SECONDS:
                late = round(loop.time() - due, 1)
                _log.warning("worker.loop_blocked", worker_id=self._worker_id, seconds=late)
            if self._state == "starting":  # not connected yet
                continue
            if self._capacity.adapt():
                self._changed.set()  # the subscription follows
            self._publish(self.status)

    def _publish(self, status: WorkerStatus) -> None:
        self._broker.publish(
            Message(body=encode(status), exchange=topology.STATUS_EXCHANGE, persistent=False, mandatory=False)
        )

    async def _close(self) -> None:
        """Put back what is still in hand, say so, disconnect; a handler that will not end is left."""
        was_open = self._state != "starting"
        with suppress(TimeoutError, BrokerError):  # else what is put back would come back here
            async with asyncio.timeout(GRACE_SECONDS):
                await self._pause()
        cancelled = self._uploads.abandon()
        if cancelled:
            _log.warning("worker.uploads_released", worker_id=self._worker_id, released=len(cancelled))
            await asyncio.wait(cancelled, timeout=GRACE_SECONDS)
        if was_open:
            self._enter("stopped")
        with suppress(TimeoutError, BrokerError):
            async with asyncio.timeout(10 * GRACE_SECONDS):
                await self._broker.close()
        _log.info("worker.stopped", app_id=self._app_id, worker_id=self._worker_id, **self._uploads.counts)
        stuck = sum(not task.done() for task in cancelled)
        if stuck:
            # Neither a thread nor a handler that ignores its cancellation can be ended from here, and the
            # interpreter would wait for them. Their uploads are back in the queue.
            _log.warning("worker.handlers_left", worker_id=self._worker_id, handlers=stuck)
            sys.stdout.flush()
            sys.stderr.flush()
            self._exit_process(os.EX_TEMPFAIL)


def check_time_limit(settings: Settings) -> None:
    """Raise a SettingsError when an upload may be held longer than RabbitMQ lets a consumer hold a message.

    RabbitMQ cannot be asked for its consumer_timeout over AMQP, so the setting of that name says it. An
    upload is held for its time limit, its backoff and its report's confirm.
    """
    if not broker_entry(settings).limits_holding:
        return
    from upswell.broker.rabbitmq.settings import RabbitSettings  # noqa: PLC0415 - imports pika

    held = settings.own("brokers", "rabbitmq", RabbitSettings).consumer_timeout
    if not held:
        return
    longest = held - MAX_BACKOFF_SECONDS - CONFIRM_SECONDS
    if settings.upload_timeout > longest:
        raise SettingsError(
            f"upload_timeout must be at most {longest:g} s, which is RabbitMQ's consumer_timeout "
            f"({held:g} s) less {MAX_BACKOFF_SECONDS:g} s for the backoff and "
            f"{CONFIRM_SECONDS:g} s for the report, got {settings.upload_timeout:g}; for longer uploads "
            "raise consumer_timeout in rabbitmq.conf (in milliseconds) and here alike"
        )


def new_worker_id(app_id: str, rng: random.Random) -> str:
    """Return a worker id that no other worker has: the application's id and 40 random bits."""
    return f"{app_id}-{rng.getrandbits(40):010x}"
