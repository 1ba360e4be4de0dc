"""RabbitMQ at its worst: connections cut and stalled, a server killed and full, queues deleted or foreign."""

from __future__ import annotations

import asyncio
import itertools
import struct
import subprocess
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pika
import pytest

from conftest import skip_or_fail
from support.holder import kill_a_process_that_holds_one
from support.inbox import Inbox
from support.rabbitmq_node import RabbitNode, missing
from support.system import wait_until
from support.tcp_proxy import TcpProxy
from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.broker.rabbitmq import RabbitBroker, pika_client
from upswell.broker.rabbitmq.channel import AwaitableChannel
from upswell.broker.topology import Queue
from upswell.errors import BrokerError, QueueMismatchError
from upswell.events import capture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from upswell.broker.protocol import Delivery

pytestmark = pytest.mark.rabbitmq

_numbers = itertools.count(int(time.time() * 1000))


def unique(suffix: str) -> str:
    """Return a queue name that no other test uses."""
    return f"integration.{next(_numbers)}.{suffix}"


@asynccontextmanager
async def connected(url: str, name: str = "test", **options: Any) -> AsyncIterator[RabbitBroker]:
    """Give a connected broker, closed at the end."""
    broker = RabbitBroker(url, name=name, **options)
    await broker.connect()
    try:
        yield broker
    finally:
        await broker.close()


@contextmanager
def behind_proxy(url: str, options: str = "") -> Iterator[tuple[TcpProxy, str]]:
    """Give a proxy before a server, and the URL that leads through it."""
    port = pika.URLParameters(url).port
    with TcpProxy(port) as proxy:
        yield proxy, f"amqp://guest:guest@127.0.0.1:{proxy.port}/?{options}"


async def drain(broker: RabbitBroker, queue: str) -> list[Delivery]:
    """Take and acknowledge all messages of a queue."""
    taken = []
    while (delivery := await broker.get(queue)) is not None:
        broker.ack(delivery)
        taken.append(delivery)
    return taken


async def event_soon(logs: list[Any], event: str, seconds: float = 90.0) -> dict[str, Any]:
    """Wait until an event was logged; return it."""
    async with asyncio.timeout(seconds):
        while True:
            for entry in logs:
                if entry["event"] == event:
                    return entry
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def own_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    """A node that tests may stop, with TLS and the management API."""
    reason = missing()
    if reason:
        skip_or_fail(reason)
    folder = tmp_path_factory.mktemp("own-rabbitmq")
    make_certificates(folder)
    with RabbitNode(folder, management=True, tls=True) as node:
        yield node


def make_certificates(folder: Path) -> None:
    """Make an authority of our own, another one, and a certificate of the first for localhost."""
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca",
        "req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 2 -subj /CN=other-ca",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out server.pem",
    ):
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


async def cut_once(proxy: TcpProxy) -> None:
    """Cut a proxy's connections, and count its new ones from 0."""
    proxy.accepted = 0
    await asyncio.to_thread(proxy.cut)


async def accepted_again(proxy: TcpProxy) -> None:
    """Wait until somebody has connected through a proxy since it was cut."""
    async with asyncio.timeout(60):
        while proxy.accepted == 0:  # noqa: ASYNC110 - it counts in its own thread
            await asyncio.sleep(0.01)


def test_connections_cut_while_publishing_lose_nothing(rabbitmq: str) -> None:
    async def scenario(proxy: TcpProxy, url: str) -> None:
        queue = Queue(name=unique("cut"))
        async with connected(url) as broker:
            await broker.declare(queue)
            futures = []
            for start in range(0, 1500, 300):
                for number in range(start, start + 300):
                    futures.append(broker.publish(Message(routing_key=queue.name, body=b"%d" % number)))
                    if number == start + 150:
                        await asyncio.sleep(0.01)
                        await cut_once(proxy)
                await accepted_again(proxy)
            async with asyncio.timeout(60):
                await asyncio.gather(*futures)
            bodies = [int(delivery.body) for delivery in await drain(broker, queue.name)]
        assert set(bodies) == set(range(1500))
        first_copies = list(dict.fromkeys(bodies))
        assert first_copies == sorted(first_copies)

    with behind_proxy(rabbitmq) as (proxy, url):
        asyncio.run(scenario(proxy, url))


async def work_through(broker: RabbitBroker, work: str, reports: str) -> None:
    """Be a worker: publish a report for each message, ack the message once the report is confirmed."""

    def on_delivery(delivery: Delivery) -> None:
        future = broker.publish(Message(routing_key=reports, body=delivery.body))
        future.add_done_callback(lambda _: broker.ack(delivery))

    await broker.consume(work, on_delivery, prefetch_count=32)


async def all_reported(broker: RabbitBroker, reports: str, count: int) -> set[int]:
    """Take reports, repeated ones too, until `count` different ones came; return them."""
    done: set[int] = set()
    async with asyncio.timeout(90):
        while len(done) < count:
            done |= {int(delivery.body) for delivery in await drain(broker, reports)}
            await asyncio.sleep(0.02)
    return done


def test_connections_cut_while_consuming_lose_nothing(rabbitmq: str) -> None:
    async def scenario(proxy: TcpProxy, url: str) -> None:
        work, reports = Queue(name=unique("work")), Queue(name=unique("reports"))
        async with connected(rabbitmq, "watcher") as watcher, connected(url, "worker") as worker:
            await watcher.declare(work)
            await watcher.declare(reports)
            numbers = range(1500)
            await asyncio.gather(
                *[watcher.publish(Message(routing_key=work.name, body=b"%d" % n)) for n in numbers]
            )
            await work_through(worker, work.name, reports.name)
            for _ in range(4):
                await asyncio.sleep(0.1)
                await cut_once(proxy)
                await accepted_again(proxy)
            assert await all_reported(watcher, reports.name, 1500) == set(numbers)

    with behind_proxy(rabbitmq) as (proxy, url):
        asyncio.run(scenario(proxy, url))


@pytest.mark.slow
def test_a_stalled_connection_is_found_by_its_heartbeat_and_loses_nothing(rabbitmq: str) -> None:
    async def scenario(proxy: TcpProxy, url: str) -> None:
        queue = Queue(name=unique("stalled"))
        async with connected(url) as broker:
            await broker.declare(queue)
            inbox = Inbox(acking=broker)
            await broker.consume(queue.name, inbox, prefetch_count=5)
            with capture() as logs:
                await asyncio.to_thread(proxy.stall)
                futures = [
                    broker.publish(Message(routing_key=queue.name, body=b"%d" % n)) for n in range(100)
                ]
                await event_soon(logs, "broker.connection_lost")
            await asyncio.to_thread(proxy.resume)
            async with asyncio.timeout(60):
                await asyncio.gather(*futures)
                while len({delivery.body for delivery in inbox.deliveries}) < 100:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        assert proxy.accepted >= 2

    with behind_proxy(rabbitmq, "heartbeat=1&connection_timeout=1") as (proxy, url):
        asyncio.run(scenario(proxy, url))


@pytest.mark.slow
def test_a_server_killed_and_started_again_has_all_that_was_confirmed(own_node: RabbitNode) -> None:
    async def scenario() -> None:
        work, reports = Queue(name=unique("work")), Queue(name=unique("reports"))
        async with connected(own_node.url) as broker:
            await broker.declare(work)
            await broker.declare(reports)
            # RabbitMQ 4.0.5 forgets a quorum queue, confirmed messages and all, when it is killed before it
            # has written its directory of queues, by itself about three seconds after the declaration.
            await asyncio.to_thread(own_node.sync)
            futures = [broker.publish(Message(routing_key=work.name, body=b"%d" % n)) for n in range(300)]
            await asyncio.gather(*futures)
            await work_through(broker, work.name, reports.name)
            futures = [
                broker.publish(Message(routing_key=work.name, body=b"%d" % n)) for n in range(300, 600)
            ]
            await asyncio.sleep(0.02)
            await asyncio.to_thread(own_node.kill)
            futures += [
                broker.publish(Message(routing_key=work.name, body=b"%d" % n)) for n in range(600, 700)
            ]
            await asyncio.to_thread(own_node.start)
            async with asyncio.timeout(60):
                await asyncio.gather(*futures)
            assert await all_reported(broker, reports.name, 700) == set(range(700))

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_server_stopped_in_good_order_is_found_again(own_node: RabbitNode) -> None:
    async def scenario() -> None:
        control = Queue(name=unique("control"), exclusive=True, bound_to=unique("exchange"))
        async with connected(own_node.url) as broker:
            await broker.declare(control)
            inbox = Inbox(acking=broker)
            await broker.consume(control.name, inbox, prefetch_count=5)
            await asyncio.to_thread(own_node.stop)
            future = broker.publish(Message(routing_key=control.name, body=b"held"))
            assert broker.publish(Message(routing_key=control.name, body=b"", persistent=False)).done()
            await asyncio.to_thread(own_node.start)
            async with asyncio.timeout(60):
                await future
            await broker.publish(Message(exchange=control.bound_to or "", body=b"by the binding"))
            assert [delivery.body for delivery in await inbox.wait(2)] == [b"held", b"by the binding"]

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_full_server_holds_publishers_and_not_their_heartbeats(own_node: RabbitNode) -> None:
    async def scenario() -> None:
        queue = Queue(name=unique("blocked"))
        async with connected(f"{own_node.url}?heartbeat=10") as broker:
            await broker.declare(queue)
            with capture() as logs:
                await asyncio.to_thread(own_node.ctl, "set_vm_memory_high_watermark", "absolute", "1MB")
                futures = [broker.publish(Message(routing_key=queue.name, body=b"first"))]
                await event_soon(logs, "broker.blocked")
                futures += [
                    broker.publish(Message(routing_key=queue.name, body=b"%d" % n)) for n in range(50)
                ]
                await asyncio.sleep(30)  # three times the heartbeat
                assert not any(future.done() for future in futures)
                await asyncio.to_thread(own_node.ctl, "set_vm_memory_high_watermark", "0.6")
                async with asyncio.timeout(60):
                    await asyncio.gather(*futures)
                await event_soon(logs, "broker.unblocked")
            assert [entry for entry in logs if entry["event"] == "broker.connection_lost"] == []
            assert len(await drain(broker, queue.name)) == 51

    asyncio.run(scenario())


def test_a_consumer_whose_queue_was_deleted_consumes_the_new_one(rabbitmq: str) -> None:
    async def scenario() -> None:
        queue = Queue(name=unique("deleted"))
        async with connected(rabbitmq) as broker, connected(rabbitmq, "other") as other:
            await broker.declare(queue)
            inbox = Inbox(acking=broker)
            await broker.consume(queue.name, inbox, prefetch_count=5)
            with capture() as logs:
                await other.delete(queue.name)
                await event_soon(logs, "broker.consumer_cancelled")
            async with asyncio.timeout(60):
                while not inbox.bodies:
                    depth = await other.depth(queue.name)
                    if depth is not None and depth.consumers:
                        await other.publish(Message(routing_key=queue.name, body=b"again"))
                        await inbox.wait()
                    await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_a_declared_queue_is_consumed_with_one_question(
    rabbitmq: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby worker is activated so: each question more is a round trip more to its first upload."""
    asked = 0
    expect = AwaitableChannel.expect

    async def counted(channel: AwaitableChannel, start: Any) -> Any:
        nonlocal asked
        asked += 1
        return await expect(channel, start)

    async def scenario() -> None:
        nonlocal asked
        queue = Queue(name=unique("once"), delivery_limit=3)
        async with connected(rabbitmq) as broker:
            await broker.declare(queue)
            asked = 0
            inbox = Inbox()
            await broker.consume(queue.name, inbox, prefetch_count=3)
            assert asked == 1
            for number in range(5):
                await broker.publish(Message(routing_key=queue.name, body=b"%d" % number))
            await inbox.wait(3)
            await asyncio.sleep(0.2)
            assert len(inbox.bodies) == 3  # the prefetch count came before the subscription
            await broker.delete(queue.name)

    monkeypatch.setattr(AwaitableChannel, "expect", counted)
    asyncio.run(scenario())


def test_a_queue_that_was_deleted_before_it_is_consumed_is_made_again(rabbitmq: str) -> None:
    async def scenario() -> None:
        kept, queue = Queue(name=unique("kept")), Queue(name=unique("deleted"))
        async with connected(rabbitmq) as broker, connected(rabbitmq, "other") as other:
            await broker.declare(kept)
            await broker.declare(queue)
            beside, inbox = Inbox(acking=broker), Inbox(acking=broker)
            await broker.consume(kept.name, beside, prefetch_count=5)
            await other.delete(queue.name)
            async with asyncio.timeout(60):
                await broker.consume(queue.name, inbox, prefetch_count=5)
                for name in (kept.name, queue.name):
                    await other.publish(Message(routing_key=name, body=b"here"))
                await beside.wait()
                await inbox.wait()
            await other.delete(kept.name)

    asyncio.run(scenario())


def test_connecting_can_be_given_up_at_any_moment(rabbitmq: str) -> None:
    """A worker that is told to leave before it is connected; the handshake is the moment that matters."""

    async def scenario() -> None:
        for milliseconds in range(30):
            broker = RabbitBroker(rabbitmq, name="hasty")
            connecting = asyncio.create_task(broker.connect())
            await asyncio.sleep(milliseconds / 1000)
            connecting.cancel()
            with suppress(asyncio.CancelledError):
                await connecting
            await broker.close()

    asyncio.run(scenario())


def test_a_connection_given_up_is_cut_if_its_server_does_not_answer(
    rabbitmq: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: list[Any] = []
    close = pika_client.Connection.close
    add_on_open_callback = pika_client.Connection.add_on_open_callback

    async def scenario(proxy: TcpProxy, url: str) -> None:
        handshake = asyncio.Event()

        def hang_and_close(connection: Any, *arguments: Any) -> None:
            given_up.append(connection)
            proxy.stall()
            close(connection, *arguments)

        def wait_for_handshake(connection: Any, callback: Any) -> None:
            add_on_open_callback(connection, callback)
            handshake.set()

        monkeypatch.setattr(pika_client.Connection, "close", hang_and_close)
        monkeypatch.setattr(pika_client.Connection, "add_on_open_callback", wait_for_handshake)
        proxy.stall()
        connecting = asyncio.create_task(RabbitBroker(url, name="hasty").connect())
        async with asyncio.timeout(60):
            await handshake.wait()  # it knows its connection now
        connecting.cancel()
        await asyncio.sleep(0)
        proxy.resume()  # the handshake is finished, and the connection wanted no more
        with suppress(asyncio.CancelledError):
            await connecting

    with behind_proxy(rabbitmq, "connection_timeout=60") as (proxy, url):
        for _ in range(3):  # RabbitMQ gives a handshake 10 s, which a busy machine may take
            if not given_up:
                asyncio.run(scenario(proxy, url))
        assert [connection.is_closed for connection in given_up] == [True]


def test_acks_sent_together_settle_neither_what_is_held_nor_what_was_put_back(rabbitmq: str) -> None:
    """Acks of one turn of the loop go out as one frame for all up to the oldest that is still held."""

    async def scenario() -> None:
        queue = topology.upload_queue(unique("acks"), delivery_limit=5)
        async with connected(rabbitmq) as broker:
            await broker.declare(queue)
            for n in range(40):
                await broker.publish(Message(routing_key=queue.name, body=b"%d" % n))
        async with connected(rabbitmq) as broker:
            inbox = Inbox()
            await broker.consume(queue.name, inbox, prefetch_count=40)
            await inbox.wait(40)
            for n in (*range(10), *range(12, 25)):
                broker.ack(inbox.deliveries[n])
            broker.release(inbox.deliveries[11])
            await inbox.wait(41)  # its copy, for which the acks have made room
            original = inbox.deliveries[11].tag
            await asyncio.to_thread(wait_until, lambda: not original.is_open, 60, lambda: "not confirmed")
            for n in range(30, 35):
                broker.ack(inbox.deliveries[n])
            broker.ack(inbox.deliveries[10])
        async with connected(rabbitmq) as broker:
            wanted = [11, *range(25, 30), *range(35, 40)]
            left: list[int] = []
            async with asyncio.timeout(60):
                while len(left) < len(wanted):  # RabbitMQ puts back what was held in its own time
                    left += [int(delivery.body) for delivery in await drain(broker, queue.name)]
                    await asyncio.sleep(0.02)
        assert sorted(left) == wanted

    asyncio.run(scenario())


def test_cancelling_a_busy_consumer_redelivers_nothing(rabbitmq: str) -> None:
    """A drained worker costs no attempt of any upload, also of those that were on their way to it."""

    async def scenario() -> None:
        queue = topology.upload_queue(unique("drain"), delivery_limit=5)
        async with connected(rabbitmq) as broker:
            await broker.declare(queue)
            await asyncio.gather(
                *[broker.publish(Message(routing_key=queue.name, body=b"%d" % n)) for n in range(400)]
            )
            taken: list[Delivery] = []
            for _ in range(10):
                inbox = Inbox(acking=broker)
                consumer = await broker.consume(queue.name, inbox, prefetch_count=20)
                await inbox.wait()
                await consumer.cancel()
                taken += inbox.deliveries
            taken += await drain(broker, queue.name)
        assert {delivery.attempt for delivery in taken} == {1}
        assert sorted(int(delivery.body) for delivery in taken) == list(range(400))

    asyncio.run(scenario())


def declare_foreign(url: str, name: str, *, durable: bool, **arguments: Any) -> None:
    """Declare a queue as someone else's client would."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare(name, durable=durable, arguments=arguments)
    connection.close()


def test_a_foreign_classic_queue_is_used_as_it_is_with_one_warning(rabbitmq: str) -> None:
    """The teaching sample declared its queues classic and not durable."""

    async def scenario() -> None:
        queue = topology.upload_queue(unique("classic"), delivery_limit=3)
        declare_foreign(rabbitmq, queue.name, durable=False)
        async with connected(rabbitmq) as broker:
            await broker.declare(topology.dead_letter_queue(queue.name))
            with capture() as logs:
                await broker.declare(queue)
                await broker.declare(queue)
            (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
            assert warning["event"] == "broker.queue_differs"
            for weakness in (
                "do not survive a restart",
                "enforces no delivery limit",
                "not dead-lettered",
            ):
                assert weakness in warning["weaker"]
            message = Message(routing_key=queue.name, body=b"x", message_id="id-1", headers={"kept": "yes"})
            await broker.publish(message)
            inbox = Inbox()
            await broker.consume(queue.name, inbox, prefetch_count=1)
            (first,) = await inbox.wait()
            broker.release(first)
            for count in (2, 3, 4):
                await inbox.wait(count)
                broker.retry(inbox.deliveries[-1])
            assert [delivery.attempt for delivery in inbox.deliveries] == [1, 1, 2, 3]
            async with asyncio.timeout(60):
                while (dead := await broker.get(f"{queue.name}.dead")) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert (dead.body, dead.message_id, dead.headers["kept"]) == (b"x", "id-1", "yes")
            assert dead.headers["x-upswell-reason"] == "delivery limit 3 reached"
            await inbox.stays_at(4)

    asyncio.run(scenario())


def test_a_released_upload_has_as_many_attempts_left_as_before(rabbitmq: str) -> None:
    async def scenario() -> None:
        queue = topology.upload_queue(unique("released"), delivery_limit=3)
        async with connected(rabbitmq) as broker:
            await broker.declare(topology.dead_letter_queue(queue.name))
            await broker.declare(queue)
            await broker.publish(Message(routing_key=queue.name, body=b"x"))
            inbox = Inbox()
            await broker.consume(queue.name, inbox, prefetch_count=1)
            for count, settle in enumerate(
                (broker.retry, broker.release, broker.release, broker.retry, broker.release, broker.retry), 1
            ):
                await inbox.wait(count)
                settle(inbox.deliveries[-1])
            assert [delivery.attempt for delivery in inbox.deliveries] == [1, 2, 2, 2, 3, 3]
            async with asyncio.timeout(60):
                while (dead := await broker.get(f"{queue.name}.dead")) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert dead.headers["x-upswell-reason"] == "delivery limit 3 reached"

    asyncio.run(scenario())


def test_a_message_that_kills_its_consumers_is_dead_lettered_by_the_server(rabbitmq: str) -> None:
    async def scenario() -> None:
        queue = topology.upload_queue(unique("killer"), delivery_limit=3)
        async with connected(rabbitmq) as broker:
            await broker.declare(topology.dead_letter_queue(queue.name))
            await broker.declare(queue)
            await broker.publish(Message(routing_key=queue.name, body=b"killer"))
            attempts = [
                await asyncio.to_thread(kill_a_process_that_holds_one, "rabbitmq", rabbitmq, queue.name)
                for _ in range(3)
            ]
            assert attempts == [1, 2, 3]
            async with asyncio.timeout(60):
                while (dead := await broker.get(f"{queue.name}.dead")) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert dead.headers["x-first-death-reason"] == "delivery_limit"
            assert (dead.body, dead.attempt) == (b"killer", 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["stream", "shared"])
def test_a_queue_that_cannot_do_the_job_is_a_name_in_use(rabbitmq: str, what: str) -> None:
    async def scenario() -> None:
        name = unique(what)
        if what == "stream":
            declare_foreign(rabbitmq, name, durable=True, **{"x-queue-type": "stream"})
        else:
            declare_foreign(rabbitmq, name, durable=True)
        wish = Queue(name=name, exclusive=what == "shared")
        async with connected(rabbitmq) as broker:
            with pytest.raises(QueueMismatchError, match=f"{name} is in use for something else"):
                await broker.declare(wish)

    asyncio.run(scenario())


def test_a_message_that_is_too_large_for_the_server_fails_alone(rabbitmq: str) -> None:
    async def scenario() -> None:
        queue = Queue(name=unique("large"))
        async with connected(rabbitmq) as broker:
            await broker.declare(queue)
            bodies = [b"before", b"x" * (17 * 1024 * 1024), b"after"]
            results = await asyncio.gather(
                *[broker.publish(Message(routing_key=queue.name, body=body)) for body in bodies],
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [type(None), type(results[1]), type(None)]
            assert isinstance(results[1], BrokerError)
            assert "larger than configured max size" in str(results[1])

    asyncio.run(scenario())


def test_an_exchange_that_this_user_may_not_write_to_spoils_no_other_message(own_node: RabbitNode) -> None:
    """A worker that may not tell its status still reports its uploads."""

    async def scenario() -> None:
        queue, exchange = Queue(name=unique("allowed")), unique("forbidden")
        async with connected(own_node.url) as owner:
            await owner.declare(queue)
            await owner.declare(Queue(name=unique("listener"), exclusive=True, bound_to=exchange))
            url = own_node.url.replace("guest:guest", "limited:limited")
            async with connected(url) as broker:
                for _ in range(2):
                    broker.publish(Message(exchange=exchange, body=b"x", persistent=False, mandatory=False))
                    await broker.publish(Message(routing_key=queue.name, body=b"x"))
                with pytest.raises(BrokerError, match="forbidden"):
                    await broker.publish(Message(exchange=exchange, body=b"x"))
            assert len(await drain(owner, queue.name)) >= 2

    own_node.ctl("add_user", "limited", "limited")
    own_node.ctl("set_permissions", "limited", "", "amq.default", ".*")
    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("guest:guest", "guest:s3cret"), "user name or password refused"),
        (("/%2F", "/nowhere"), "no such vhost"),
        (("127.0.0.1", "host.invalid"), "no such host"),
    ],
    ids=["password", "vhost", "host"],
)
def test_what_no_second_try_would_mend_is_an_error_at_once(
    rabbitmq: str, change: tuple[str, str], said: str
) -> None:
    async def scenario() -> None:
        broker = RabbitBroker(rabbitmq.replace(*change), name="test")
        with capture() as logs, pytest.raises(BrokerError, match=said) as caught:
            await broker.connect()
        assert "s3cret" not in f"{caught.value!r} {caught.value.__cause__!r} {logs}"
        await broker.close()

    asyncio.run(scenario())


def test_connecting_waits_for_a_server_that_is_not_there_yet(rabbitmq: str) -> None:
    async def scenario(proxy: TcpProxy, url: str) -> None:
        await asyncio.to_thread(proxy.refuse)
        broker = RabbitBroker(url, name="early")
        with capture() as logs:
            connecting = asyncio.create_task(broker.connect())
            assert (await event_soon(logs, "broker.connect_failed"))["attempt"] == 1
            proxy.accept()
            async with asyncio.timeout(60):
                await connecting
        assert "guest" not in str(logs)
        await broker.close()

    with behind_proxy(rabbitmq) as (proxy, url):
        asyncio.run(scenario(proxy, url))


def test_a_broker_can_be_closed_while_its_server_is_away(rabbitmq: str) -> None:
    async def scenario(proxy: TcpProxy, url: str) -> None:
        async with connected(url) as broker:
            await broker.declare(Queue(name=unique("away")))
            await asyncio.to_thread(proxy.refuse)
            future = broker.publish(Message(routing_key="anywhere", body=b"x"))
            closing = asyncio.create_task(broker.close())
            async with asyncio.timeout(60):
                with pytest.raises(BrokerError, match="before the message was confirmed"):
                    await future
                await closing

    with behind_proxy(rabbitmq) as (proxy, url):
        asyncio.run(scenario(proxy, url))


def test_tls_proves_the_server_by_the_authority_in_the_url(own_node: RabbitNode) -> None:
    async def scenario() -> None:
        port = own_node.tls_port
        url = f"amqps://guest:guest@localhost:{port}/?cacertfile={own_node.folder}"
        async with connected(f"{url}/ca.pem") as broker:
            queue = Queue(name=unique("tls"))
            await broker.declare(queue)
            await broker.publish(Message(routing_key=queue.name, body=b"x" * 300_000))
            assert len((await drain(broker, queue.name))[0].body) == 300_000
        stranger = RabbitBroker(f"{url}/other.pem", name="test")
        with pytest.raises(BrokerError, match="certificate is not trusted"):
            await stranger.connect()
        async with connected(f"amqps://guest:guest@localhost:{port}/?verify=verify_none") as broker:
            assert await broker.depth(queue.name) is not None

    asyncio.run(scenario())


@pytest.mark.slow
def test_depth_tells_unacknowledged_messages_where_the_management_api_does(own_node: RabbitNode) -> None:
    async def scenario() -> None:
        queue = Queue(name=unique("depth"))
        async with connected(own_node.url, management_url=own_node.management_url) as broker:
            await broker.declare(queue)
            for _ in range(3):
                await broker.publish(Message(routing_key=queue.name, body=b"x"))
            await broker.get(queue.name)
            async with asyncio.timeout(60):
                while True:
                    depth = await broker.depth(queue.name)
                    assert depth is not None
                    if (depth.messages_ready, depth.messages_unacknowledged) == (2, 1):
                        break
                    await asyncio.sleep(0.2)
        async with connected(own_node.url, management_url="http://127.0.0.1:1") as broker:
            depth = await broker.depth(queue.name)
            assert depth is not None
            assert depth.messages_unacknowledged is None

    asyncio.run(scenario())


class ForgedProperties(pika.BasicProperties):
    """Properties with one header, in bytes that a client of pika's would not send."""

    def __init__(self, value: bytes) -> None:
        super().__init__()
        self.value = value

    def encode(self) -> list[bytes]:
        """Return flags, of which only the one for headers is set, and the header."""
        table = b"\x11x-upswell-died-at" + self.value
        return [struct.pack(">HI", 1 << 13, len(table)) + table]


def test_a_header_that_the_client_library_cannot_read_spoils_no_message(rabbitmq: str) -> None:
    """Pika's own decoder raises on each of these, which would end the connection, again and again."""
    name = unique("forged")
    values = [b"T" + struct.pack(">Q", at) for at in (10**17, 2**64 - 1, 2**62)]

    async def scenario() -> list[bytes]:
        async with connected(rabbitmq) as broker:
            await broker.declare(Queue(name=name))
            with pika.BlockingConnection(pika.URLParameters(rabbitmq)) as forger:
                for size in (1, 200_000):  # in one frame and in several
                    for value in values:
                        forger.channel().basic_publish("", name, b"x" * size, ForgedProperties(value))
            await broker.publish(Message(routing_key=name, body=b"true"))
            looked = await broker.look(name)
            assert [found.headers for found in looked] == [{}] * 7
            inbox = Inbox()
            await broker.consume(name, inbox, prefetch_count=10)
            return [found.body for found in await inbox.wait(7)]

    bodies = asyncio.run(scenario())
    assert sorted(map(len, bodies)) == [1, 1, 1, 4, 200_000, 200_000, 200_000]
