"""What every broker promises: each sentence of `upswell.broker.protocol`, on RabbitMQ and on SQLite."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.holder import kill_a_process_that_holds_one
from support.inbox import Inbox
from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.broker.topology import Queue
from upswell.errors import QueueInUseError, QueueMismatchError, UnroutableError
from upswell.events import capture

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.broker_place import Place
    from upswell.broker.protocol import Broker, Delivery


async def declare_with_dead(broker: Broker, queue: Queue) -> None:
    """Declare an upload queue and where its dead letters go."""
    await broker.declare(topology.dead_letter_queue(queue.name))
    await broker.declare(queue)


async def fill(broker: Broker, queue: str, *bodies: bytes) -> None:
    """Publish bodies in order and wait for all confirms."""
    await asyncio.gather(*[broker.publish(Message(routing_key=queue, body=body)) for body in bodies])


async def get_soon(broker: Broker, queue: str, seconds: float = 60.0) -> Delivery:
    """Return the next message of a queue that may still be on its way there."""
    async with asyncio.timeout(seconds):
        while True:
            delivery = await broker.get(queue)
            if delivery is not None:
                return delivery
            await asyncio.sleep(0.02)


async def ready_soon(broker: Broker, queue: str, count: int, seconds: float = 60.0) -> None:
    """Wait until a queue holds `count` ready messages."""
    async with asyncio.timeout(seconds):
        while True:
            depth = await broker.depth(queue)
            if depth is not None and depth.messages_ready == count:
                return
            await asyncio.sleep(0.02)


async def settled(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - it is about two inboxes at once
            await asyncio.sleep(0.01)


def test_a_message_arrives_as_it_was_published(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        inbox = Inbox(acking=broker)
        await broker.consume(queue.name, inbox, prefetch_count=10)
        await broker.publish(
            Message(
                routing_key=queue.name,
                body=b'{"x": 1}',
                message_id="id-1",
                reply_to="upswell.reply.me",
                headers={"text": "\N{GREEK SMALL LETTER ALPHA}", "count": 3, "share": 0.5},
            )
        )
        (delivery,) = await inbox.wait()
        assert delivery.body == b'{"x": 1}'
        assert delivery.queue == queue.name
        assert delivery.attempt == 1
        assert delivery.message_id == "id-1"
        assert delivery.reply_to == "upswell.reply.me"
        assert delivery.headers["text"] == "\N{GREEK SMALL LETTER ALPHA}"
        assert delivery.headers["count"] == 3
        assert float(delivery.headers["share"]) == 0.5

    place.run(scenario)


def test_a_message_without_properties_arrives_without_them(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, b"bare")
        delivery = await get_soon(broker, queue.name)
        assert (delivery.message_id, delivery.reply_to, dict(delivery.headers)) == (None, None, {})

    place.run(scenario)


@pytest.mark.parametrize("body", [b"", b"\x00\xff\r\n", b"x" * 1_048_576], ids=["empty", "binary", "1 MiB"])
def test_a_body_is_any_bytes(place: Place, body: bytes) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, body)
        assert (await get_soon(broker, queue.name)).body == body

    place.run(scenario)


def test_confirms_are_pipelined_and_order_is_kept(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        inbox = Inbox(acking=broker)
        await broker.consume(queue.name, inbox, prefetch_count=50)
        bodies = [b"%d" % number for number in range(500)]
        futures = [broker.publish(Message(routing_key=queue.name, body=body)) for body in bodies]
        async with asyncio.timeout(60):
            await asyncio.gather(*futures)
        await inbox.wait(500)
        assert inbox.bodies == bodies

    place.run(scenario)


def test_a_confirmed_message_outlives_its_publisher(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        async with place.broker() as broker:
            await broker.declare(queue)
            await fill(broker, queue.name, b"kept")
        async with place.broker() as broker:
            assert (await get_soon(broker, queue.name)).body == b"kept"

    asyncio.run(scenario())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have brokers wait for confirms at their end for as long as a busy machine may take."""
    monkeypatch.setattr("upswell.broker.rabbitmq.broker._CLOSE_PATIENCE", 60.0)
    monkeypatch.setattr("upswell.broker.sqlite.broker.CLOSE_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
def test_closing_waits_for_outstanding_confirms_and_acks(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        async with place.broker() as broker:
            await broker.declare(queue)
            futures = [broker.publish(Message(routing_key=queue.name, body=b"x")) for _ in range(200)]
        assert all(future.done() and future.exception() is None for future in futures)
        async with place.broker() as broker:
            inbox = Inbox(acking=broker)
            await broker.consume(queue.name, inbox, prefetch_count=200)
            await inbox.wait(200)
        async with place.broker() as broker:
            depth = await broker.depth(queue.name)
            assert depth is not None
            assert depth.messages_ready == 0
            assert await broker.get(queue.name) is None

    asyncio.run(scenario())


@pytest.mark.usefixtures("patient")
def test_an_ack_that_waits_for_a_confirm_is_taken_while_the_broker_closes(place: Place) -> None:
    """A worker leaves so: without its ack the upload would come back, although its report is safe."""

    async def scenario() -> None:
        queue, reports = place.queue(), place.queue("reports")
        async with place.broker("watcher") as watcher:
            async with place.broker() as broker:
                await broker.declare(queue)
                await broker.declare(reports)
                await fill(broker, queue.name, b"x")
                inbox = Inbox()
                await broker.consume(queue.name, inbox, prefetch_count=1)
                (delivery,) = await inbox.wait()
                confirm = broker.publish(Message(routing_key=reports.name, body=b"stored"))
                confirm.add_done_callback(lambda _confirm: broker.ack(delivery))
            await ready_soon(watcher, reports.name, 1)
            assert await watcher.get(queue.name) is None

    asyncio.run(scenario())


def test_a_mandatory_message_that_no_queue_takes_is_an_error(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        nowhere = place.name("nowhere")
        with pytest.raises(UnroutableError, match=nowhere):
            await broker.publish(Message(routing_key=nowhere, body=b"x"))
        await broker.publish(Message(routing_key=nowhere, body=b"x", mandatory=False))

    place.run(scenario)


def test_an_unroutable_message_fails_alone(place: Place) -> None:
    """Its neighbours in the pipeline are confirmed."""

    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        names = [queue.name, place.name("nowhere"), queue.name]
        results = await asyncio.gather(
            *[broker.publish(Message(routing_key=name, body=b"x")) for name in names], return_exceptions=True
        )
        assert [type(result) for result in results] == [type(None), UnroutableError, type(None)]

    place.run(scenario)


def test_a_message_that_is_not_persistent_is_fire_and_forget(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        future = broker.publish(
            Message(routing_key=queue.name, body=b"status", persistent=False, mandatory=False)
        )
        assert future.done()
        assert (await get_soon(broker, queue.name)).body == b"status"

    place.run(scenario)


def test_an_exchange_gives_each_bound_queue_its_own_copy(place: Place) -> None:
    async def scenario() -> None:
        exchange = place.name("exchange")
        async with place.broker("a") as a, place.broker("b") as b:
            inboxes = []
            for broker, suffix in ((a, "a"), (b, "b")):
                queue = Queue(name=place.name(suffix), exclusive=True, bound_to=exchange)
                await broker.declare(queue)
                inboxes.append(Inbox(acking=broker))
                await broker.consume(queue.name, inboxes[-1], prefetch_count=10)
            await a.publish(Message(exchange=exchange, body=b"to all"))
            for inbox in inboxes:
                assert [delivery.body for delivery in await inbox.wait()] == [b"to all"]

    asyncio.run(scenario())


def test_an_exchange_that_nobody_listens_to_takes_messages_all_the_same(place: Place) -> None:
    """A worker sends its status whether or not a monitor has ever run."""

    async def scenario(broker: Broker) -> None:
        exchange = place.name("exchange")
        for persistent in (False, True):
            await broker.publish(
                Message(exchange=exchange, body=b"x", persistent=persistent, mandatory=False)
            )
        with pytest.raises(UnroutableError):
            await broker.publish(Message(exchange=exchange, body=b"x"))

    place.run(scenario)


def test_a_consumer_holds_at_most_its_prefetch_count(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, *[b"%d" % number for number in range(10)])
        inbox = Inbox()
        await broker.consume(queue.name, inbox, prefetch_count=3)
        await inbox.stays_at(3)
        broker.ack(inbox.deliveries[0])
        await inbox.stays_at(4)

    place.run(scenario)


def test_two_consumers_of_one_broker_have_their_own_prefetch_counts(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        work, control = place.queue("work"), place.queue("control")
        inboxes = {}
        for queue, prefetch_count in ((work, 1), (control, 5)):
            await broker.declare(queue)
            await fill(broker, queue.name, *[b"x"] * 6)
            inboxes[queue.name] = Inbox()
            await broker.consume(queue.name, inboxes[queue.name], prefetch_count=prefetch_count)
        await inboxes[work.name].stays_at(1)
        await inboxes[control.name].stays_at(5)

    place.run(scenario)


def test_competing_consumers_share_a_queue_and_no_message_goes_to_both(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        async with place.broker("a") as a, place.broker("b") as b:
            await a.declare(queue)
            inboxes = [Inbox(acking=a), Inbox(acking=b)]
            await a.consume(queue.name, inboxes[0], prefetch_count=5)
            await b.consume(queue.name, inboxes[1], prefetch_count=5)
            bodies = [b"%d" % number for number in range(100)]
            await fill(a, queue.name, *bodies)
            await settled(lambda: len(inboxes[0].bodies) + len(inboxes[1].bodies) == 100)
            assert sorted(inboxes[0].bodies + inboxes[1].bodies) == sorted(bodies)

    asyncio.run(scenario())


def test_a_cancelled_consumer_gets_no_more_and_may_still_ack_what_it_holds(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, b"held")
        inbox = Inbox()
        consumer = await broker.consume(queue.name, inbox, prefetch_count=10)
        (held,) = await inbox.wait()
        await consumer.cancel()
        await fill(broker, queue.name, b"later")
        await inbox.stays_at(1)
        broker.ack(held)
        later = await get_soon(broker, queue.name)
        assert (later.body, later.attempt) == (b"later", 1)
        broker.ack(later)
        assert await broker.get(queue.name) is None

    place.run(scenario)


def test_a_queue_can_be_consumed_again_after_a_cancel(place: Place) -> None:
    """Standby and activation: a worker stops and starts to consume on one connection."""

    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        for body in (b"1", b"2"):
            inbox = Inbox(acking=broker)
            consumer = await broker.consume(queue.name, inbox, prefetch_count=1)
            await fill(broker, queue.name, body)
            await inbox.wait()
            assert inbox.bodies == [body]
            await consumer.cancel()

    place.run(scenario)


def test_a_second_consumer_of_a_queue_for_one_is_refused(place: Place) -> None:
    """Each of two would hear half: of statuses, reports or scale requests."""

    async def scenario(broker: Broker) -> None:
        queue = Queue(name=place.name(), single_consumer=True)
        await broker.declare(queue)
        inbox = Inbox(acking=broker)
        first = await broker.consume(queue.name, inbox, prefetch_count=10)
        async with place.broker("second") as second:
            await second.declare(queue)
            for other in (broker, second):
                with pytest.raises(QueueInUseError, match=f"queue {queue.name} already has a consumer"):
                    await other.consume(queue.name, Inbox(), prefetch_count=10)
            await fill(broker, queue.name, *[b"%d" % number for number in range(20)])
            await inbox.wait(20)
            await first.cancel()
            successor = Inbox(acking=second)
            await second.consume(queue.name, successor, prefetch_count=10)
            await fill(broker, queue.name, b"next")
            assert (await successor.wait())[0].body == b"next"

    place.run(scenario)


def test_a_monitor_and_a_scaler_of_one_name_each_hear_every_status(place: Place) -> None:
    """As in quickstart/, where both use one connection and one name."""

    async def scenario(broker: Broker) -> None:
        name = place.name("loop")
        inboxes = [Inbox(acking=broker) for _ in range(2)]
        for role, inbox in zip(("monitor", "scaler"), inboxes, strict=True):
            queue = topology.status_queue(role, name)
            await broker.declare(queue)
            await broker.consume(queue.name, inbox, prefetch_count=10)
        sent = [b"%d" % number for number in range(20)]
        for body in sent:
            broker.publish(Message(exchange=topology.STATUS_EXCHANGE, body=body, mandatory=False))
        for inbox in inboxes:
            await inbox.wait(20)
            assert [body for body in inbox.bodies if body in sent] == sent

    place.run(scenario)


def test_an_acknowledged_message_never_comes_back(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        async with place.broker() as broker:
            await broker.declare(queue)
            await fill(broker, queue.name, b"a", b"b")
            inbox = Inbox()
            await broker.consume(queue.name, inbox, prefetch_count=10)
            await inbox.wait(2)
            broker.ack(inbox.deliveries[0])
        async with place.broker() as broker:
            assert (await get_soon(broker, queue.name)).body == b"b"
            assert await broker.get(queue.name) is None

    asyncio.run(scenario())


def test_what_a_closed_broker_held_goes_back_to_its_queue(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        async with place.broker("watcher") as watcher:
            async with place.broker() as broker:
                await broker.declare(queue)
                await fill(broker, queue.name, b"a", b"b", b"c")
                inbox = Inbox()
                await broker.consume(queue.name, inbox, prefetch_count=2)
                await inbox.wait(2)
            await ready_soon(watcher, queue.name, 3)

    asyncio.run(scenario())


def test_retry_counts_an_attempt(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.upload_queue(delivery_limit=5)
        await declare_with_dead(broker, queue)
        await broker.publish(
            Message(routing_key=queue.name, body=b"x", message_id="id-1", headers={"kept": "yes"})
        )
        inbox = Inbox()
        await broker.consume(queue.name, inbox, prefetch_count=1)
        for count in (1, 2):
            await inbox.wait(count)
            broker.retry(inbox.deliveries[-1])
        await inbox.wait(3)
        assert [delivery.attempt for delivery in inbox.deliveries] == [1, 2, 3]
        assert {delivery.message_id for delivery in inbox.deliveries} == {"id-1"}
        assert {delivery.headers["kept"] for delivery in inbox.deliveries} == {"yes"}

    place.run(scenario)


def test_retry_counts_without_a_delivery_limit(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, b"x")
        inbox = Inbox()
        await broker.consume(queue.name, inbox, prefetch_count=1)
        for count in range(1, 31):
            await inbox.wait(count)
            broker.retry(inbox.deliveries[-1])
        await inbox.wait(31)
        assert [delivery.attempt for delivery in inbox.deliveries] == list(range(1, 32))

    place.run(scenario)


def test_a_message_over_the_delivery_limit_is_dead_lettered(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.upload_queue(delivery_limit=3)
        await declare_with_dead(broker, queue)
        await broker.publish(
            Message(routing_key=queue.name, body=b"poison", message_id="id-1", headers={"kept": "yes"})
        )
        attempts = []
        for _ in range(3):
            delivery = await get_soon(broker, queue.name)
            attempts.append(delivery.attempt)
            broker.retry(delivery)
        dead = await get_soon(broker, f"{queue.name}.dead")
        assert attempts == [1, 2, 3]
        assert (dead.body, dead.message_id, dead.headers["kept"]) == (b"poison", "id-1", "yes")
        assert dead.attempt == 1
        assert await broker.get(queue.name) is None

    place.run(scenario)


def test_release_is_not_counted(place: Place) -> None:
    """A worker that leaves gives back what it did not finish, however often that happens."""

    async def scenario(broker: Broker) -> None:
        queue = place.upload_queue(delivery_limit=2)
        await declare_with_dead(broker, queue)
        await fill(broker, queue.name, b"x")
        for _ in range(5):
            delivery = await get_soon(broker, queue.name)
            assert delivery.attempt == 1
            broker.release(delivery)
        broker.retry(await get_soon(broker, queue.name))
        again = await get_soon(broker, queue.name)
        assert again.attempt == 2
        broker.release(again)
        assert (await get_soon(broker, queue.name)).attempt == 2

    place.run(scenario)


def test_returned_messages_come_before_those_that_waited_behind_them(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.upload_queue()
        await declare_with_dead(broker, queue)
        await fill(broker, queue.name, b"released", b"retried", *[b"behind"] * 5)
        first, second = await get_soon(broker, queue.name), await get_soon(broker, queue.name)
        broker.release(first)
        broker.retry(second)
        await ready_soon(broker, queue.name, 7)
        bodies = [(await get_soon(broker, queue.name)).body for _ in range(3)]
        # RabbitMQ lets one other in between: it serves two of the front to one of the rest.
        assert {b"released", b"retried"} <= set(bodies)

    place.run(scenario)


@pytest.mark.slow
def test_a_consumer_that_dies_holding_a_message_has_used_an_attempt(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.upload_queue(delivery_limit=2)
        await declare_with_dead(broker, queue)
        await fill(broker, queue.name, b"killer")
        attempts = [
            await asyncio.to_thread(kill_a_process_that_holds_one, place.kind, place.where, queue.name)
            for _ in range(2)
        ]
        assert attempts == [1, 2]
        dead = await get_soon(broker, f"{queue.name}.dead", seconds=60)
        assert dead.body == b"killer"

    place.run(scenario)


def test_depth_tells_ready_messages_and_consumers(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, b"a", b"b", b"c")
        depth = await broker.depth(queue.name)
        assert depth is not None
        assert (depth.messages_ready, depth.consumers) == (3, 0)
        inbox = Inbox()
        await broker.consume(queue.name, inbox, prefetch_count=2)
        await inbox.wait(2)
        await ready_soon(broker, queue.name, 1)
        depth = await broker.depth(queue.name)
        assert depth is not None
        assert depth.consumers == 1
        # A broker may be unable to tell, but then it says so and never 0.
        assert depth.messages_unacknowledged in (2, None)

    place.run(scenario)


def test_the_depth_of_no_queue_is_none(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        assert await broker.depth(place.name("nowhere")) is None

    place.run(scenario)


def test_get_takes_one_message_and_owes_its_ack(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        async with place.broker() as broker:
            await broker.declare(queue)
            assert await broker.get(queue.name) is None
            await fill(broker, queue.name, b"a", b"b")
            first = await broker.get(queue.name)
            second = await broker.get(queue.name)
            assert first is not None
            assert second is not None
            assert (first.body, second.body) == (b"a", b"b")
            assert await broker.get(queue.name) is None
            broker.ack(first)
        async with place.broker() as broker:
            assert (await get_soon(broker, queue.name)).body == b"b"
            assert await broker.get(queue.name) is None

    asyncio.run(scenario())


def test_looking_changes_nothing_however_often_and_however_many_look(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        sent = [
            Message(routing_key=queue.name, body=str(i).encode(), message_id=f"m{i}", headers={"n": i})
            for i in range(80)
        ]

        async def look(limit: int | None = None) -> list[bytes]:
            async with place.broker() as broker:
                return [delivery.body for delivery in await broker.look(queue.name, limit)]

        async with place.broker() as broker:
            await broker.declare(queue)
            await asyncio.gather(*map(broker.publish, sent))
            everything = [message.body for message in sent]
            for limit in (10, 20, 5, None, 79, 3, None, 1, 80, 1000):
                assert await look(limit) == everything[:limit]
            assert await asyncio.gather(*[look() for _ in range(4)]) == [everything] * 4
            assert await asyncio.gather(*[look(n) for n in (30, 3)]) == [everything[:30], everything[:3]]
            left = await broker.look(queue.name)
        assert [(left.body, left.message_id, left.headers) for left in left] == [
            (message.body, message.message_id, message.headers) for message in sent
        ]
        async with place.broker() as broker:
            await ready_soon(broker, queue.name, 80)

    asyncio.run(scenario())


def test_looking_uses_up_no_attempt_where_attempts_are_limited(place: Place) -> None:
    async def scenario() -> None:
        queue = place.upload_queue(delivery_limit=2)
        async with place.broker() as broker:
            await declare_with_dead(broker, queue)
            await fill(broker, queue.name, b"a", b"b", b"c")
        async with place.broker() as broker:  # which has not declared it
            for _ in range(4):
                assert [found.body for found in await broker.look(queue.name)] == [b"a", b"b", b"c"]
        async with place.broker() as broker:
            delivery = await get_soon(broker, queue.name)
            assert (delivery.body, delivery.attempt) == (b"a", 1)
            assert await broker.look(f"{queue.name}.dead") == []

    asyncio.run(scenario())


def test_there_is_nothing_to_see_or_sift_where_there_is_no_queue(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        assert await broker.look(place.name("nowhere")) == []
        assert await broker.sift(place.name("nowhere"), lambda _: True) == 0
        assert await broker.depth(place.name("nowhere")) is None

    place.run(scenario)


def test_sifting_removes_what_is_wanted_and_leaves_the_others_in_order(place: Place) -> None:
    async def scenario() -> None:
        queue, handled = place.queue(), list[bytes]()

        async def handle(delivery: Delivery) -> None:
            handled.append(delivery.body)

        async with place.broker() as broker:
            await broker.declare(queue)
            await fill(broker, queue.name, *[str(i).encode() for i in range(200)])
            assert await broker.sift(queue.name, lambda found: int(found.body) % 3 == 0, handle) == 67
        assert handled == [str(i).encode() for i in range(0, 200, 3)]
        async with place.broker() as broker:
            assert await broker.sift(queue.name, lambda found: found.body == b"100") == 1
        async with place.broker() as broker:
            left = [int(found.body) for found in await broker.look(queue.name)]
            assert left == [i for i in range(200) if i % 3 and i != 100]
            await ready_soon(broker, queue.name, len(left))

    asyncio.run(scenario())


def test_what_fails_while_sifting_stays_and_so_does_what_follows(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()

        async def handle(delivery: Delivery) -> None:
            if delivery.body == b"c":
                raise RuntimeError("no")

        async with place.broker() as broker:
            await broker.declare(queue)
            await fill(broker, queue.name, b"a", b"b", b"c", b"d")
            with pytest.raises(RuntimeError):
                await broker.sift(queue.name, lambda found: found.body != b"a", handle)
        async with place.broker() as broker:
            await ready_soon(broker, queue.name, 3)
            left = await broker.look(queue.name)
            assert sorted(found.body for found in left) == [b"a", b"c", b"d"]

    asyncio.run(scenario())


def test_purge_drops_ready_messages_and_counts_them(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, b"held", b"a", b"b")
        held = await get_soon(broker, queue.name)
        assert await broker.purge(queue.name) == 2
        assert await broker.purge(queue.name) == 0
        broker.release(held)
        assert (await get_soon(broker, queue.name)).body == b"held"

    place.run(scenario)


def test_a_deleted_queue_is_gone_with_what_was_in_it(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.queue()
        await broker.declare(queue)
        await fill(broker, queue.name, b"a")
        await broker.delete(queue.name)
        assert await broker.depth(queue.name) is None
        await broker.declare(queue)
        assert await broker.get(queue.name) is None

    place.run(scenario)


def test_acknowledging_what_is_no_longer_held_has_no_effect(place: Place) -> None:
    async def scenario() -> None:
        queue = place.queue()
        async with place.broker() as broker:
            await broker.declare(queue)
            await fill(broker, queue.name, b"a")
            delivery = await get_soon(broker, queue.name)
        async with place.broker("other") as other:
            await ready_soon(other, queue.name, 1)
            for owed in (broker.ack, broker.retry, broker.release):
                owed(delivery)
            await ready_soon(other, queue.name, 1)

    asyncio.run(scenario())


def test_an_exclusive_queue_lives_as_long_as_its_connection(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a connection that was cut, and not closed, RabbitMQ keeps the queue a while, and tells nobody of it.
    monkeypatch.setattr("upswell.broker.rabbitmq.connection._CLOSE_TIMEOUT", 60.0)

    async def scenario() -> None:
        queue = Queue(name=place.name("control"), exclusive=True)
        async with place.broker("sender") as sender:
            async with place.broker("owner") as owner:
                await owner.declare(queue)
                inbox = Inbox(acking=owner)
                await owner.consume(queue.name, inbox, prefetch_count=1)
                await sender.publish(Message(routing_key=queue.name, body=b"drain"))
                await inbox.wait()
            async with asyncio.timeout(60):
                while await sender.depth(queue.name) is not None:  # noqa: ASYNC110 - the broker tells no one
                    await asyncio.sleep(0.02)
            with pytest.raises(UnroutableError):
                await sender.publish(Message(routing_key=queue.name, body=b"late"))

    asyncio.run(scenario())


def test_another_connections_exclusive_queue_is_a_name_in_use(place: Place) -> None:
    async def scenario() -> None:
        name = place.name("control")
        async with place.broker("owner") as owner, place.broker("other") as other:
            await owner.declare(Queue(name=name, exclusive=True))
            for wish in (Queue(name=name, exclusive=True), Queue(name=name)):
                with pytest.raises(QueueMismatchError, match=name):
                    await other.declare(wish)

    asyncio.run(scenario())


def test_a_bounded_queue_drops_the_oldest(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = Queue(name=place.name("bounded"), max_length=3)
        await broker.declare(queue)
        await fill(broker, queue.name, *[b"%d" % number for number in range(10)])
        await ready_soon(broker, queue.name, 3)
        bodies = [(await get_soon(broker, queue.name)).body for _ in range(3)]
        assert bodies == [b"7", b"8", b"9"]

    place.run(scenario)


def test_a_bounded_exclusive_queue_drops_the_oldest(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = Queue(name=place.name("bounded"), exclusive=True, max_length=2)
        await broker.declare(queue)
        await fill(broker, queue.name, b"1", b"2", b"3")
        await ready_soon(broker, queue.name, 2)
        assert (await get_soon(broker, queue.name)).body == b"2"

    place.run(scenario)


def test_a_message_is_forgotten_after_its_time_to_live(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = Queue(name=place.name("short"), message_ttl=0.2)
        await broker.declare(queue)
        await fill(broker, queue.name, b"old")
        await asyncio.sleep(0.4)
        async with asyncio.timeout(60):
            delivery = None
            while delivery is None:  # a machine that stood still has let the new one grow old, too
                await fill(broker, queue.name, b"new")
                delivery = await broker.get(queue.name)
        assert delivery.body == b"new"

    place.run(scenario)


def test_declaring_again_changes_nothing_and_warns_of_nothing(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.upload_queue()
        await declare_with_dead(broker, queue)
        await fill(broker, queue.name, b"kept")
        with capture() as logs:
            await declare_with_dead(broker, queue)
        assert [entry for entry in logs if entry["log_level"] == "warning"] == []
        assert (await get_soon(broker, queue.name)).body == b"kept"

    place.run(scenario)


def test_a_queue_with_other_arguments_is_used_as_it_is_with_one_warning(place: Place) -> None:
    async def scenario(broker: Broker) -> None:
        queue = place.upload_queue()
        await broker.declare(Queue(name=queue.name))
        await fill(broker, queue.name, b"was there")
        with capture() as logs:
            await broker.declare(queue)
            await broker.declare(queue)
        warnings = [entry for entry in logs if entry["log_level"] == "warning"]
        assert len(warnings) == 1
        assert warnings[0]["event"] == "broker.queue_differs"
        assert warnings[0]["queue"] == queue.name
        assert (await get_soon(broker, queue.name)).body == b"was there"

    place.run(scenario)
