"""The uploads that a worker holds: at most as many run as it has slots.

What comes in: deliveries. What goes out: a request to the handler, and how it ended to the `Acknowledger`
(`acknowledge.py`). It does not know why the worker runs or leaves.

    delivered -> [waiting for a slot] -> running -> reported and confirmed -> acknowledged
                                           |-> failed: backoff -> put back for one more attempt
                                           |-> dead: dead letter and report confirmed -> acknowledged
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict, deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from upswell.errors import MessageError, PermanentUploadError, StoreUnavailableError, TemporaryUploadError
from upswell.events import get_logger
from upswell.handlers.protocol import ATTEMPT, MOVED
from upswell.messages import MAX_DESCRIBED
from upswell.requests import identity
from upswell.traces.context import carried
from upswell.worker.acknowledge import Acknowledger
from upswell.worker.outcomes import backoff, fault_of, pause_asked_for
from upswell.worker.upload import Upload, read_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker.protocol import Broker, Delivery
    from upswell.handlers.protocol import Handler, Stored
    from upswell.messages import Outcome, UploadInHand, UploadRequest
    from upswell.settings import Settings
    from upswell.traces.otel import UploadTracer

_log = get_logger()

LEAST_OUTAGE_PAUSE = 1.0
"""Seconds, at least, that an upload is held which found the store down; doubled for each round of slots."""

REMEMBERED = 10_000
"""How many stored ids are remembered, so that a redelivery after a lost connection is not stored again."""


class Uploads:
    """Runs at most `slots` uploads at once; belongs to one asyncio loop."""

    def __init__(
        self,
        *,
        app_id: str,
        worker_id: str,
        broker: Broker,
        handler: Handler,
        settings: Settings,
        upload_queue: str,
        reports_to: str,
        on_idle: Callable[[], None],
        tracer: UploadTracer | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        """Tell what to work on; `on_idle` is called whenever the last upload in hand is gone."""
        self._app_id = app_id
        self._broker = broker
        self._handler = handler
        self._settings = settings
        self.slots = settings.initial_slots
        """How many uploads run at once; may be changed, and what runs beyond is finished."""
        self._on_idle = on_idle
        self._tracer = tracer
        self._queue = upload_queue
        self._clock = clock
        self._monotonic = monotonic
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._acknowledger = Acknowledger(
            app_id=app_id,
            worker_id=worker_id,
            broker=broker,
            upload_queue=upload_queue,
            reports_to=reports_to,
            on_gone=self._forget,
            clock=clock,
            monotonic=monotonic,
        )
        self._held: dict[Upload, None] = {}
        self._running: dict[Upload, None] = {}  # in the order in which they reach their time limits
        self._waiting: deque[Upload] = deque()
        self._by_id: dict[str, Upload] = {}
        self._stored: OrderedDict[str, tuple[int, Stored | None]] = OrderedDict()  # by id, the oldest first
        self._deadline: asyncio.TimerHandle | None = None
        self._outages = 0  # uploads in a row that found the store down
        self._hurrying = False
        self._abandoned = False

    @property
    def busy(self) -> int:
        """How many uploads are in hand."""
        return len(self._held)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many attempts ended in each way."""
        return self._acknowledger.counts

    def described(self) -> tuple[UploadInHand, ...]:
        """Return the uploads in hand, the oldest first, as many as a status may list."""
        now = self._monotonic()
        return tuple(
            upload.described(now, runs=upload in self._running)
            for upload in islice(self._held, MAX_DESCRIBED)
        )

    def on_delivery(self, delivery: Delivery) -> None:
        """Take a delivery; everything else follows from that."""
        if self._abandoned:
            self._broker.release(delivery)
            return
        delivered_at, started = self._clock(), self._monotonic()
        try:
            request, has_own_id = read_request(delivery, self._app_id)
        except MessageError as error:
            upload = Upload(delivery, None, delivered_at, started)
            self._held[upload] = None
            self._acknowledger.dead(upload, error)
            return
        upload = Upload(delivery, request, delivered_at, started)
        # Two bare messages of the same bytes are two uploads; two with one id are one.
        if has_own_id and self._known(upload, request):
            return
        self._held[upload] = None
        if self._tracer is not None:
            context = carried(delivery.headers)
            upload.trace = self._tracer.begin(self._queue, request, context, upload.attempt, delivered_at)
        if len(self._running) < self.slots:
            self._start(upload)
        else:  # after a lost connection the broker takes all slots for free
            self._waiting.append(upload)

    def _known(self, upload: Upload, request: UploadRequest) -> bool:
        """Join an upload that comes again while it runs, or report it again when it was just stored."""
        assert request.id is not None
        upload.identity = identity(request)
        twin = self._by_id.get(request.id)
        if twin is not None and twin.identity == upload.identity and twin.settles(upload):
            self._acknowledger.answer_joined(upload, twin)
            twin.join(upload)
            return True
        self._by_id[request.id] = upload
        known_identity, stored = self._stored.pop(request.id, (None, None))
        if known_identity != upload.identity or upload.attempt == 1:
            return False  # published once more, not redelivered: the store is asked whether it has the object
        self._held[upload] = None
        self._succeed(upload, stored)
        return True

    def _start(self, upload: Upload) -> None:
        self._running[upload] = None
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.call_later(self._settings.upload_timeout, self._expire)
        upload.task = loop.create_task(self._run(upload))

    async def _run(self, upload: Upload) -> None:
        """Call the handler, once, and settle what came of it."""
        assert upload.request is not None
        stored: Stored | None = None
        error: BaseException | None = None
        try:
            ATTEMPT.set(upload.attempt)  # seen by this upload's task alone
            MOVED.set(upload.moved)
            if upload.trace is not None:
                upload.trace.enter()
            stored = await self._handler(upload.request)
        except GeneratorExit:  # the loop is closed: nobody is there any more
            raise
        except BaseException as raised:  # noqa: BLE001 - the user's code, sys.exit() and Rust's panics included
            error = raised
        if upload not in self._running:  # abandoned meanwhile
            return
        del self._running[upload]
        while self._waiting and len(self._running) < self.slots:
            waiting = self._waiting.popleft()
            waiting.running_since = self._monotonic()
            self._start(waiting)
        if error is None:
            self._succeed(upload, stored)
        elif upload.is_overdue:
            limit = self._settings.upload_timeout
            self._fail(upload, TemporaryUploadError(f"exceeded upload_timeout ({limit:g} s)"))
        else:
            self._fail(upload, error)

    def _succeed(self, upload: Upload, stored: Any) -> None:
        fault = fault_of(stored)
        if fault is not None:
            self._acknowledger.dead(upload, PermanentUploadError(fault))
            return
        self._outages = 0
        upload.is_stored = True
        upload.stored = stored
        self._acknowledger.stored(upload, stored)

    def _fail(self, upload: Upload, error: BaseException) -> None:
        settings = self._settings
        if isinstance(error, StoreUnavailableError):
            self._wait_for_store(upload, error)
            return
        if isinstance(error, PermanentUploadError) or upload.attempt >= settings.delivery_limit:
            self._acknowledger.dead(upload, error)
            return
        delay = 0.0 if self._hurrying else backoff(upload.attempt, settings.retry_backoff, self._rng)
        if isinstance(error, TemporaryUploadError) and not self._hurrying:
            delay = max(delay, pause_asked_for(error))
        self._acknowledger.failed(upload, error, delay)

    def _wait_for_store(self, upload: Upload, error: StoreUnavailableError) -> None:
        """Hold an upload for a while and put it back uncounted: a store that is down is not its fault.

        The pause grows with the uploads that found the store down since one was stored, and while it lasts
        the slot's share of the prefetch is taken: nothing more is fetched to fail.
        """
        rounds = 1 + self._outages // self.slots
        self._outages += 1
        first = max(self._settings.retry_backoff, LEAST_OUTAGE_PAUSE)
        delay = 0.0 if self._hurrying else backoff(rounds, first, self._rng)
        upload.is_counted = False
        self._acknowledger.failed(upload, error, delay)

    def _forget(self, upload: Upload) -> None:
        """Take in that an upload left the worker's hands; if it was stored, its id is remembered."""
        del self._held[upload]
        if upload.trace is not None:
            upload.trace.end()
        request = upload.request
        if upload.identity is not None and request and request.id:
            if self._by_id.get(request.id) is upload:
                del self._by_id[request.id]
            if upload.is_stored:
                self._stored[request.id] = upload.identity, upload.stored
                if len(self._stored) > REMEMBERED:
                    self._stored.popitem(last=False)
        if not self._held:
            self._on_idle()

    def _expire(self) -> None:
        """Stop the uploads that reached their time limit, and look again when the next one will."""
        self._deadline = None
        limit = self._settings.upload_timeout
        now = self._monotonic()
        for upload in self._running:
            if upload.is_overdue:
                continue
            left = upload.running_since + limit - now
            if left > 0:
                self._deadline = asyncio.get_running_loop().call_later(left, self._expire)
                return
            upload.is_overdue = True
            assert upload.task is not None
            assert upload.request is not None
            upload.task.cancel()
            _log.warning(
                "worker.upload_overdue",
                request_id=upload.request.id,
                upload_timeout=limit,
                **upload.trace_ids,
            )

    def hurry(self) -> None:
        """Put back what waits for a slot or for a further attempt, now and from now on: the worker drains."""
        self._hurrying = True
        while self._waiting:
            self._acknowledger.release(self._waiting.popleft())
        for upload in list(self._held):
            if upload.timer is not None:
                upload.timer.cancel()
                self._acknowledger.put_back(upload)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Put back everything whose handler still runs, and cancel it; return the cancelled tasks.

        What is stored, or on its way to the dead-letter queue, keeps its deliveries for its confirms.
        """
        self._abandoned = True
        self.hurry()
        running, self._running = self._running, {}
        tasks: list[asyncio.Task[None]] = []
        for upload in running:
            self._acknowledger.release(upload)
            assert upload.task is not None
            upload.task.cancel()
            tasks.append(upload.task)
        if self._deadline is not None:
            self._deadline.cancel()
        return tasks
