# ruff: noqa: D101, D102 - a test double's methods say by their names what they do
"""What a worker does with one delivery, on a broker in memory and with clocks that a test sets."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from support.memory_broker import MemoryBroker
from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.errors import PermanentUploadError, StoreUnavailableError, TemporaryUploadError
from upswell.handlers.protocol import ATTEMPT, Stored
from upswell.messages import MAX_MESSAGE_BYTES, UploadReport, UploadRequest, decode, encode
from upswell.settings import Settings
from upswell.worker import uploads
from upswell.worker.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

QUEUE, DEAD, REPORTS = "e1_upload", "e1_upload.dead", "reports"
DONE = Stored("k", 7, "sha256:" + "0" * 64)


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Bench:
    """An `Uploads` on a broker in memory; `handler` decides how uploads end."""

    def __init__(self, handler: Callable[[UploadRequest], Awaitable[Any]], **settings: Any) -> None:
        self.broker = MemoryBroker()
        self.clock, self.monotonic = Clock(1_000_000.0), Clock(50.0)
        self.idle = 0
        self.uploads = Uploads(
            app_id="e1",
            worker_id="e1-w",
            broker=self.broker,
            handler=handler,
            settings=Settings(**{"slots": 2, "retry_backoff": 0.0, **settings}),
            upload_queue=QUEUE,
            reports_to=REPORTS,
            on_idle=self._on_idle,
            clock=self.clock,
            monotonic=self.monotonic,
            rng=random.Random(1),
        )

    def _on_idle(self) -> None:
        self.idle += 1

    async def start(self) -> None:
        for queue in (
            topology.upload_queue(QUEUE, delivery_limit=5),
            topology.dead_letter_queue(QUEUE),
            topology.report_queue(REPORTS),
            topology.reply_queue("p"),
        ):
            await self.broker.declare(queue)
        await self.broker.consume(QUEUE, self.uploads.on_delivery, prefetch_count=2)

    async def send(self, body: bytes, **fields: Any) -> None:
        self.broker.publish(Message(body=body, routing_key=QUEUE, **fields))
        await settle()

    async def upload(self, **fields: Any) -> None:
        await self.send(encode(request(**fields)))

    @property
    def reports(self) -> list[UploadReport]:
        return [decode(UploadReport, body) for body in self.broker.bodies(REPORTS)]

    @property
    def outcomes(self) -> list[str]:
        return [report.outcome for report in self.reports]

    @property
    def dead(self) -> list[tuple[bytes, dict[str, Any]]]:
        return [(message.body, dict(message.headers or {})) for message, _ in self.broker.queues[DEAD]]


def request(**fields: Any) -> UploadRequest:
    return UploadRequest(**{"app_id": "e1", "type": "video", "uri": "file:///x/v.mp4", "id": "r1", **fields})


async def settle() -> None:
    """Let everything run that waits for nothing outside."""
    for _ in range(30):
        await asyncio.sleep(0)


class Gate:
    """A handler whose uploads end when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[UploadRequest, asyncio.Future[Any]]] = []

    async def __call__(self, asked: UploadRequest) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((asked, future))
        return await future

    def end(self, result: Any = DONE) -> None:
        _, future = self.waiting.pop(0)
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def raising(*errors: BaseException) -> Callable[[UploadRequest], Awaitable[Any]]:
    left = list(errors)

    async def handler(_request: UploadRequest) -> Any:
        if left:
            raise left.pop(0)
        return DONE

    return handler


def play(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


def test_worker_acks_only_after_the_report_is_confirmed() -> None:
    """A worker that acked first would lose the report when it dies in between."""

    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        bench.broker.hold_confirms = True
        await bench.upload()
        assert bench.outcomes == ["stored"]
        assert bench.broker.acked == []
        assert bench.uploads.busy == 1
        bench.broker.confirm_all()
        await settle()
        assert len(bench.broker.acked) == 1
        assert (bench.uploads.busy, bench.idle) == (0, 1)

    play(scenario())


def test_worker_serves_the_next_delivery_while_a_confirm_is_outstanding() -> None:
    async def scenario() -> None:
        bench = Bench(raising(), slots=2)
        await bench.start()
        bench.broker.hold_confirms = True
        await bench.upload(id="a")
        await bench.upload(id="b")
        assert [report.request_id for report in bench.reports] == ["a", "b"]
        assert bench.broker.acked == []

    play(scenario())


def test_report_tells_waiting_service_and_response_time() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate)
        await bench.start()
        await bench.upload(published_at=999_990.0)
        bench.monotonic.now += 2.5
        bench.clock.now += 2.5
        gate.end()
        await settle()
        assert bench.reports == [
            UploadReport(
                app_id="e1",
                response_time=12.5,
                request_id="r1",
                worker_id="e1-w",
                waiting_time=10.0,
                service_time=2.5,
                bytes=7,
                checksum=DONE.checksum,
                finished_at=1_000_002.5,
            )
        ]

    play(scenario())


@pytest.mark.parametrize(
    ("published_at", "waiting_time"), [(None, None), (2_000_000.0, 0.0), (0.0, 1_000_000.0)]
)
def test_a_missing_or_future_publishing_time_gives_a_report_that_keeps_its_rules(
    published_at: float | None, waiting_time: float | None
) -> None:
    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        await bench.upload(published_at=published_at)
        (report,) = bench.reports
        assert report.waiting_time == waiting_time
        assert report.response_time == (waiting_time or 0.0)

    play(scenario())


def test_worker_runs_no_more_uploads_at_once_than_it_has_slots() -> None:
    """After a lost connection the broker hands out a whole prefetch anew, while old uploads still run."""

    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate, slots=2)
        await bench.start()
        for name in "abcd":
            await bench.upload(id=name)
        bench.broker.lose_connection()
        await settle()
        assert [asked.id for asked, _ in gate.waiting] == ["a", "b"]
        bench.uploads.abandon()  # as a worker does: else the loop's end would start what waits

    play(scenario())


def test_deliveries_over_the_slots_wait_and_are_released_by_a_drain() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate, slots=1)
        await bench.start()  # prefetch 2: as after a lost connection
        await bench.upload(id="a")
        await bench.upload(id="b")
        assert (len(gate.waiting), bench.uploads.busy) == (1, 2)
        for consumer in bench.broker.consumers:
            await consumer.cancel()
        bench.uploads.hurry()
        assert [delivery.attempt for delivery in bench.broker.released] == [1]
        gate.end()
        await settle()
        assert bench.uploads.busy == 0
        assert len(bench.broker.acked) == 1

    play(scenario())


def test_a_waiting_delivery_starts_when_a_slot_is_free() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate, slots=1)
        await bench.start()
        await bench.upload(id="a")
        await bench.upload(id="b")
        gate.end()
        await settle()
        assert [asked.id for asked, _ in gate.waiting] == ["b"]
        bench.uploads.abandon()  # as a worker does: else the loop's end would start what waits

    play(scenario())


def test_worker_dead_letters_an_upload_after_five_failed_attempts() -> None:
    async def scenario() -> None:
        bench = Bench(raising(*[TemporaryUploadError("store is away")] * 9))
        await bench.start()
        await bench.upload()
        await settle()
        while bench.uploads.busy or bench.broker.queues[QUEUE]:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)  # call_later(0) needs the loop's clock to move
        assert bench.outcomes == ["failed"] * 4 + ["dead"]
        assert [report.attempt for report in bench.reports] == [1, 2, 3, 4, 5]
        ((body, headers),) = bench.dead
        assert body == encode(request())
        assert headers == {
            "x-upswell-reason": "store is away",
            "x-upswell-error": "TemporaryUploadError",
            "x-upswell-attempt": 5,
            "x-upswell-worker": "e1-w",
            "x-upswell-died-at": 1_000_000.0,
            "x-upswell-app": "e1",
        }
        assert [delivery.attempt for delivery in bench.broker.acked] == [5]

    play(scenario())


def test_worker_dead_letters_a_permanent_error_at_once() -> None:
    async def scenario() -> None:
        bench = Bench(raising(PermanentUploadError("no such file")))
        await bench.start()
        await bench.upload()
        assert bench.outcomes == ["dead"]
        assert bench.reports[0].reason == "no such file"
        assert len(bench.dead) == len(bench.broker.acked) == 1
        assert bench.broker.retried == []

    play(scenario())


def test_a_dead_letter_is_confirmed_before_its_report_and_that_before_the_ack() -> None:
    async def scenario() -> None:
        bench = Bench(raising(PermanentUploadError("no such file")))
        await bench.start()
        bench.broker.hold_confirms = True
        await bench.upload()
        bench.broker.confirms.pop(0).set_result(None)  # of the request itself
        assert (len(bench.dead), bench.outcomes) == (1, [])
        bench.broker.confirm_all()
        await settle()
        assert (bench.outcomes, bench.broker.acked) == (["dead"], [])
        bench.broker.confirm_all()
        await settle()
        assert len(bench.broker.acked) == 1

    play(scenario())


@pytest.mark.parametrize(
    "error",
    [
        ValueError("?"),
        KeyError("x"),
        SystemExit(3),
        asyncio.CancelledError(),
        TimeoutError(),
        StopAsyncIteration(),
        type("PanicException", (BaseException,), {})("of a library in Rust"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_exception_of_a_handler_counts_as_temporary(error: BaseException) -> None:
    async def scenario() -> None:
        bench = Bench(raising(error), retry_backoff=3600.0)
        await bench.start()
        await bench.upload()
        assert bench.outcomes == ["failed"]
        assert type(error).__name__ in str(bench.reports[0].reason)
        bench.uploads.abandon()

    play(scenario())


def test_an_upload_in_backoff_keeps_its_slot_and_a_drain_ends_the_backoff() -> None:
    async def scenario() -> None:
        bench = Bench(raising(TemporaryUploadError("away")), retry_backoff=3600.0)
        await bench.start()
        await bench.upload()
        assert (bench.uploads.busy, bench.broker.retried) == (1, [])
        for consumer in bench.broker.consumers:
            await consumer.cancel()
        bench.uploads.hurry()
        assert (bench.uploads.busy, len(bench.broker.retried)) == (0, 1)

    play(scenario())


NAN = float("nan")


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(0.0, 0.5), (7.0, 7.0), (3600.0, 30.0), ("7", 7.0), ("soon", 0.5), (None, 0.5), (NAN, 0.5), (-3, 0.5)],
)
def test_a_server_that_asks_to_be_left_alone_is_left_alone_within_bounds(asked: Any, waited: float) -> None:
    """A handler may pass on the server's header as it is, or None where there was none."""

    async def scenario() -> None:
        bench = Bench(raising(TemporaryUploadError("busy", retry_after=asked)), retry_backoff=0.5)
        bench.uploads._rng.uniform = lambda _low, high: high  # type: ignore[method-assign]
        await bench.start()
        loop = asyncio.get_running_loop()
        now = loop.time()
        loop.time = lambda: now  # type: ignore[method-assign] - it stands still
        await bench.upload()
        (upload,) = bench.uploads._held
        assert upload.timer is not None
        assert upload.timer.when() - now == pytest.approx(waited)
        bench.uploads.abandon()

    play(scenario())


def test_a_store_that_is_down_costs_no_attempt_however_long() -> None:
    async def scenario() -> None:
        bench = Bench(raising(*[StoreUnavailableError("the store must be there")] * 30))
        bench.uploads._rng.uniform = lambda _low, _high: 0.0  # type: ignore[method-assign]
        await bench.start()
        await bench.upload()
        while not bench.broker.acked:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)  # call_later(0) needs the loop's clock to move
        assert bench.outcomes == ["failed"] * 30 + ["stored"]
        assert {report.attempt for report in bench.reports} == {1}
        assert bench.reports[0].reason == "the store must be there"
        assert bench.broker.retried == []
        assert bench.dead == []

    play(scenario())


def test_the_pause_for_a_store_that_is_down_grows_with_each_round_of_the_slots() -> None:
    async def scenario() -> None:
        bench = Bench(raising(*[StoreUnavailableError("away")] * 4), slots=2)
        pauses: list[float] = []
        loop = asyncio.get_running_loop()
        later = loop.call_later

        def note(delay: float, call: Any, *arguments: Any) -> Any:
            if call == bench.uploads._acknowledger.put_back:
                pauses.append(delay)
                delay = 0.0
            return later(delay, call, *arguments)

        loop.call_later = note  # type: ignore[method-assign]
        await bench.start()
        await bench.upload()
        while not bench.broker.acked:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)
        assert [0.75 <= pause <= 1.0 for pause in pauses[:2]] == [True, True]
        assert [1.5 <= pause <= 2.0 for pause in pauses[2:]] == [True, True]

    play(scenario())


def test_a_handler_can_see_which_attempt_it_is_called_for() -> None:
    async def scenario() -> None:
        seen: list[int] = []

        async def handler(_request: UploadRequest) -> Any:
            seen.append(ATTEMPT.get())
            if len(seen) < 3:
                raise TemporaryUploadError("again")
            return DONE

        bench = Bench(handler)
        await bench.start()
        await bench.upload()
        while bench.uploads.busy or bench.broker.queues[QUEUE]:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)
        assert seen == [1, 2, 3]
        assert ATTEMPT.get() == 1

    play(scenario())


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"\xff\x00 no json", "not a valid UploadRequest"),
        (b"[1, 2]", "not a valid UploadRequest"),
        (b'{"app_id": "e1", "type": "video"}', "uri"),
        (b'{"app_id": "../x", "type": "video", "uri": "file:///x"}', "app_id"),
        (b'{"app_id": "a;rm -rf", "type": "video", "uri": "file:///x"}', "app_id"),
        (b'{"app_id": "e\\u0000", "type": "video", "uri": "file:///x"}', "app_id"),
        (b'{"app_id": "' + b"e" * 300 + b'", "type": "video", "uri": "file:///x"}', "app_id"),
        (
            b'{"app_id": "e2", "type": "video", "uri": "file:///x"}',
            "app_id must be this worker's, e1, got e2",
        ),
        (b'{"app_id": "e1", "type": "v", "uri": "u", "published_at": -1}', "published_at"),
        (b'{"app_id": "e1", "type": "v", "uri": "u", "published_at": NaN}', "not a valid UploadRequest"),
        (b"[" * 500_000, "not a valid UploadRequest"),
        (b" " * (MAX_MESSAGE_BYTES + 1), "at most 1048576 bytes"),
    ],
)
def test_a_malformed_message_is_dead_lettered_as_it_came_with_the_rule_it_broke(
    body: bytes, rule: str
) -> None:
    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        await bench.send(body)
        ((kept, headers),) = bench.dead
        assert kept == body
        assert rule in headers["x-upswell-reason"]
        assert headers["x-upswell-error"] == "MessageError"
        assert len(headers["x-upswell-reason"]) <= 1000
        assert len(bench.broker.acked) == 1
        assert bench.uploads.busy == 0

    play(scenario())


@pytest.mark.parametrize(
    ("body", "reported"),
    [
        (b'{"app_id": "e1", "type": "video", "id": "r7"}', [("e1", "r7")]),
        (b'{"app_id": "e2", "type": "video", "uri": "file:///x"}', [("e1", None)]),
        (b'{"app_id": "../x", "type": "video", "uri": "file:///x"}', []),
        (b'{"app_id": 7}', []),
        (b"nonsense", []),
    ],
)
def test_a_malformed_message_is_reported_under_the_workers_name_if_it_names_an_application(
    body: bytes, reported: list[tuple[str, str | None]]
) -> None:
    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        await bench.send(body)
        assert [(report.app_id, report.request_id) for report in bench.reports] == reported

    play(scenario())


def test_an_upload_over_its_time_limit_is_stopped_and_tried_again() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate, upload_timeout=900.0, retry_backoff=3600.0)
        await bench.start()
        await bench.upload(id="a")
        bench.monotonic.now += 500
        await bench.upload(id="b")
        bench.monotonic.now += 401
        bench.uploads._expire()
        await settle()
        assert [(report.request_id, report.outcome) for report in bench.reports] == [("a", "failed")]
        assert bench.reports[0].reason == "exceeded upload_timeout (900 s)"
        bench.monotonic.now += 500
        bench.uploads._expire()
        await settle()
        assert bench.outcomes == ["failed", "failed"]
        bench.uploads.abandon()

    play(scenario())


def test_an_upload_that_ends_well_after_its_time_limit_counts_as_stored() -> None:
    """A thread cannot be stopped: when it ends, its object is in the store all the same."""

    async def scenario() -> None:
        async def stubborn(_request: UploadRequest) -> Stored:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return DONE

        bench = Bench(stubborn)
        await bench.start()
        await bench.upload()
        bench.monotonic.now += 10_000
        bench.uploads._expire()
        await settle()
        assert bench.outcomes == ["stored"]

    play(scenario())


def test_an_upload_redelivered_while_it_runs_is_joined_and_both_deliveries_are_acked() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate)
        await bench.start()
        await bench.upload()
        bench.broker.lose_connection()
        await settle()
        assert len(gate.waiting) == 1
        gate.end()
        await settle()
        assert bench.outcomes == ["stored"]
        assert [delivery.attempt for delivery in bench.broker.acked] == [2]
        assert (bench.broker.queues[QUEUE], bench.uploads.busy) == (bench.broker.queues["none"], 0)

    play(scenario())


def test_an_upload_redelivered_just_after_it_was_stored_is_reported_again_and_not_stored_again() -> None:
    """Its ack was lost with the connection."""

    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate)
        await bench.start()
        await bench.upload()
        gate.end()
        await settle()
        again = Message(body=encode(request()), reply_to="upswell.reply.p")
        bench.broker.redeliver(QUEUE, again, attempt=2)
        await settle()
        assert gate.waiting == []
        assert len(bench.broker.acked) == 2
        assert [(report.outcome, report.checksum) for report in bench.reports] == [
            ("stored", DONE.checksum)
        ] * 2
        assert bench.broker.bodies("upswell.reply.p") == [encode(bench.reports[1])]
        assert bench.uploads.busy == 0

    play(scenario())


async def published_again() -> tuple[Bench, Gate]:
    """Return a bench that stored an upload and got it once more, and the handler that has this one."""
    bench, calls = Bench(raising()), Gate()
    await bench.start()
    await bench.upload()
    bench.uploads._handler = calls
    await bench.upload()
    return bench, calls


def test_a_stored_upload_that_is_published_again_is_handled_again() -> None:
    """A resumed publisher repeats itself; only the store knows whether the object is still there."""

    async def scenario() -> None:
        bench, calls = await published_again()
        assert len(calls.waiting) == 1
        calls.end()
        await settle()
        assert bench.outcomes == ["stored", "stored"]

    play(scenario())


def test_the_second_attempt_at_what_was_published_again_is_handled_too() -> None:
    """What was stored the first time may be gone since: to report it as stored would be untrue."""

    async def scenario() -> None:
        bench, calls = await published_again()
        calls.end(TemporaryUploadError("away"))
        await settle()
        bench.broker.redeliver(QUEUE, Message(body=encode(request())), attempt=2)
        await settle()
        assert len(calls.waiting) == 1
        calls.end()
        await settle()
        assert bench.outcomes == ["stored", "failed", "stored"]

    play(scenario())


def test_what_is_published_again_before_its_report_is_confirmed_is_answered_too() -> None:
    """Its publisher listens on a queue of its own; the answer of before went elsewhere."""

    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        bench.broker.hold_confirms = True
        await bench.upload()
        again = Message(body=encode(request()), reply_to="upswell.reply.p")
        for attempt in (1, 2):  # once more: its connection was lost
            bench.broker.redeliver(QUEUE, again, attempt=attempt)
            await settle()
        assert bench.broker.acked == []
        assert [decode(UploadReport, body).outcome for body in bench.broker.bodies("upswell.reply.p")] == [
            "stored"
        ]

    play(scenario())


def test_another_request_under_a_known_id_is_an_upload_of_its_own() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate)
        await bench.start()
        await bench.upload()
        await bench.upload(uri="file:///x/other")
        assert len(gate.waiting) == 2
        gate.end()
        gate.end()
        await settle()
        assert bench.outcomes == ["stored", "stored"]

    play(scenario())


def test_two_equal_bare_messages_are_two_uploads_with_two_reports() -> None:
    """The sample's publisher sends the same file's entries again and again, without ids."""

    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        bare = b'{"type": "video", "uri": "file:///x/v.mp4", "app_id": "e1"}'
        await bench.send(bare)
        await bench.send(bare)
        assert bench.outcomes == ["stored", "stored"]
        assert len({report.request_id for report in bench.reports}) == 1

    play(scenario())


def test_only_so_many_stored_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        for name in "abcde":
            await bench.upload(id=name)
        assert list(bench.uploads._stored) == ["c", "d", "e"]

    monkeypatch.setattr(uploads, "REMEMBERED", 3)
    play(scenario())


def test_a_dead_upload_that_is_published_again_is_tried_again() -> None:
    async def scenario() -> None:
        bench = Bench(raising(PermanentUploadError("no such file")))
        await bench.start()
        await bench.upload()
        await bench.upload()
        assert bench.outcomes == ["dead", "stored"]

    play(scenario())


@pytest.mark.parametrize(
    ("published_at", "attempt"), [(2.0, 1), (2.0, 2), (1.0, 1)], ids=["retried", "tried-elsewhere", "moved"]
)
@pytest.mark.parametrize("is_confirmed", [False, True], ids=["letter-sent", "letter-confirmed"])
def test_a_dead_letter_published_again_before_its_report_is_confirmed_is_tried_again(
    published_at: float, attempt: int, is_confirmed: bool
) -> None:
    """Joined to the dead upload it would be acknowledged with it: neither stored nor dead."""

    async def scenario() -> None:
        bench = Bench(raising(PermanentUploadError("no such file")))
        await bench.start()
        bench.broker.hold_confirms = True
        await bench.upload(published_at=1.0)
        if is_confirmed:
            bench.broker.confirm_all()
            await settle()
        assert bench.outcomes == ["dead"] * is_confirmed
        assert await bench.broker.purge(DEAD) == 1
        again = Message(body=encode(request(published_at=published_at)), routing_key=QUEUE)
        bench.broker.redeliver(QUEUE, again, attempt=attempt)
        await settle()
        assert bench.broker.acked == []
        bench.broker.hold_confirms = False
        bench.broker.confirm_all()
        await settle()
        assert sorted(bench.outcomes) == ["dead", "stored"]
        assert (bench.uploads.busy, len(bench.broker.acked)) == (0, 2)

    play(scenario())


def test_a_dead_upload_redelivered_before_its_report_is_confirmed_is_joined() -> None:
    async def scenario() -> None:
        bench = Bench(raising(PermanentUploadError("no such file")))
        await bench.start()
        bench.broker.hold_confirms = True
        await bench.upload(published_at=1.0)
        bench.broker.lose_connection()
        await settle()
        bench.broker.hold_confirms = False
        bench.broker.confirm_all()
        await settle()
        assert (bench.outcomes, len(bench.dead)) == (["dead"], 1)
        assert [delivery.attempt for delivery in bench.broker.acked] == [2]

    play(scenario())


def test_leaving_releases_what_runs_uncounted_and_keeps_what_is_stored_for_its_confirm() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate)
        await bench.start()
        await bench.upload(id="a")
        await bench.upload(id="b")
        bench.broker.hold_confirms = True
        gate.end()
        await settle()
        for consumer in bench.broker.consumers:
            await consumer.cancel()
        tasks = bench.uploads.abandon()
        assert len(tasks) == len(bench.broker.released) == 1
        await asyncio.wait(tasks)
        bench.broker.confirm_all()
        await settle()
        assert len(bench.broker.acked) == 1
        assert bench.uploads.busy == 0

    play(scenario())


def test_a_delivery_that_arrives_after_leaving_is_released() -> None:
    async def scenario() -> None:
        gate = Gate()
        bench = Bench(gate)
        await bench.start()
        bench.uploads.abandon()
        bench.broker.publish(Message(body=encode(request()), routing_key=QUEUE))
        await asyncio.sleep(0)
        assert bench.broker.released
        for consumer in bench.broker.consumers:
            await consumer.cancel()

    play(scenario())


def test_a_report_that_the_broker_refuses_is_published_again_before_the_ack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Someone deleted the report queue: it is made again, and the upload is held until its report is safe."""

    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        await bench.broker.delete(REPORTS)
        await bench.upload()
        await settle()
        assert bench.outcomes == ["stored"]
        assert len(bench.broker.acked) == 1

    monkeypatch.setattr("upswell.worker.acknowledge.REPUBLISH_SECONDS", 0.0)
    play(scenario())


@pytest.mark.parametrize(
    ("reply_to", "answered"),
    [
        ("upswell.reply.p", True),
        (REPORTS, False),
        ("upswell.reply./../x", False),
        ("upswell.reply." + "p" * 200, False),
    ],
)
def test_a_copy_of_the_report_goes_to_reply_queues_only(reply_to: str, answered: bool) -> None:
    """`reply_to` comes from a message: it must not make a worker write into any queue there is."""

    async def scenario() -> None:
        bench = Bench(raising())
        await bench.start()
        await bench.send(encode(request()), reply_to=reply_to)
        copies = [
            message
            for message in bench.broker.published
            if message.routing_key == reply_to and not message.persistent
        ]
        assert [copy.body for copy in copies] == ([encode(bench.reports[0])] if answered else [])
        assert bench.outcomes == ["stored"]

    play(scenario())


def test_a_handler_that_returns_something_else_is_told_so_in_the_dead_letter_queue() -> None:
    async def scenario() -> None:
        async def handler(_request: UploadRequest) -> bool:
            return False

        bench = Bench(handler)
        await bench.start()
        await bench.upload()
        assert bench.reports[0].reason == "a handler must return Stored or None, got bool"

    play(scenario())


@pytest.mark.parametrize(
    "stored",
    [Stored("k", object()), Stored("k", -1), Stored("k", 7, "\ud800")],  # type: ignore[arg-type]
    ids=["no-number", "negative", "half-a-character"],
)
def test_a_result_that_no_report_can_hold_is_a_dead_letter_and_not_counted_as_stored(stored: Stored) -> None:
    async def scenario() -> None:
        async def handler(_request: UploadRequest) -> Stored:
            return stored

        bench = Bench(handler)
        await bench.start()
        await bench.upload()
        assert bench.uploads.counts == {"stored": 0, "failed": 0, "dead": 1}
        assert bench.dead[0][1]["x-upswell-reason"].startswith(
            "a handler's Stored must fit into a report (the object may be stored): "
        )
        assert bench.outcomes == ["dead"]
        assert (bench.uploads.busy, len(bench.broker.acked)) == (0, 1)

    play(scenario())


class MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class BareError(TemporaryUploadError):
    def __init__(self) -> None:
        """Without the base class's, as people write it: there is no `retry_after`."""


@pytest.mark.parametrize(
    "error", [MuteError(), BareError(), SyntaxError("no", ("x.py", 1, 1, 7))], ids=lambda e: type(e).__name__
)
def test_an_error_that_cannot_tell_what_happened_is_tried_again_and_then_a_dead_letter(
    error: Exception,
) -> None:
    async def scenario() -> None:
        bench = Bench(raising(error, error), delivery_limit=2)
        await bench.start()
        await bench.upload()
        async with asyncio.timeout(60):
            while bench.uploads.busy or not bench.dead:  # noqa: ASYNC110 - a backoff of nothing still sleeps
                await asyncio.sleep(0.01)
        assert bench.outcomes == ["failed", "dead"]
        assert bench.dead[0][1]["x-upswell-reason"].startswith(type(error).__name__)
        assert bench.uploads.counts == {"stored": 0, "failed": 1, "dead": 1}

    play(scenario())


def test_reasons_with_undecodable_names_and_credentials_travel_safely() -> None:
    async def scenario() -> None:
        bench = Bench(raising(PermanentUploadError("lost\n\udcff in http://u:secret@h/x " + "y" * 5000)))
        await bench.start()
        await bench.upload()
        reason = bench.dead[0][1]["x-upswell-reason"]
        assert "secret" not in reason
        assert "\n" not in reason
        assert len(reason.encode()) <= 2000
        assert msgspec.json.decode(bench.broker.bodies(REPORTS)[0])["reason"] == reason

    play(scenario())
