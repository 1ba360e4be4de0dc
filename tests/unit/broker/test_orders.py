"""An operator's order and its answer, on a broker in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from support.memory_broker import MemoryBroker
from upswell.broker import orders as orders_module
from upswell.broker import topology
from upswell.broker.orders import Orders, take_orders
from upswell.broker.protocol import Message
from upswell.errors import NoAnswerError, NobodyListensError
from upswell.messages import ByHand, OperatorAnswer, OperatorOrder, encode

if TYPE_CHECKING:
    from collections.abc import Coroutine

PAUSE = OperatorOrder(order="set", app_id="a1", by_hand=ByHand(workers=0, by="anna@host"))


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def orders(broker: MemoryBroker, name: str = "one") -> Orders:
    made = Orders(broker, "reports", name)
    await made.listen()
    return made


def test_an_order_reaches_the_part_of_its_installation_and_its_answer_the_one_who_asked() -> None:
    async def scenario() -> None:
        broker, heard = MemoryBroker(), list[OperatorOrder]()

        def obey(order: OperatorOrder) -> OperatorAnswer:
            heard.append(order)
            return OperatorAnswer(accepted=True, text=f"number {len(heard)}")

        await take_orders(broker, "monitor", "m1", "reports", obey)
        one, other = await orders(broker), await orders(broker, "other")
        answers = await asyncio.gather(one.give("monitor", PAUSE), other.give("monitor", PAUSE))
        assert [answer.text for answer in answers] == ["number 1", "number 2"]
        assert heard == [PAUSE, PAUSE]

    run(scenario())


def test_without_a_listener_an_order_is_refused_at_once_and_nothing_keeps_it() -> None:
    async def scenario() -> None:
        broker = MemoryBroker()
        await take_orders(broker, "monitor", "m1", "others", lambda _: pytest.fail("not for it"))
        with pytest.raises(NobodyListensError, match=r"no monitor is connected .* start `upswell monitor`"):
            await (await orders(broker)).give("monitor", PAUSE)
        assert not any(broker.queues.values())

    run(scenario())


@pytest.mark.parametrize(
    "body",
    [b"", b"\x00", b"[]", b'{"order": "shutdown"}', b'{"order": "set", "app_id": "../x"}', b"1" * 2**21],
)
def test_a_message_that_is_no_order_is_refused_and_obeyed_by_nobody(body: bytes) -> None:
    async def scenario() -> None:
        broker = MemoryBroker()
        await take_orders(broker, "monitor", "m1", "reports", lambda _: pytest.fail("it is no order"))
        await broker.declare(topology.reply_queue("x"))
        exchange = topology.orders_exchange("monitor", "reports")
        broker.publish(Message(body=body, exchange=exchange, reply_to="upswell.reply.x"))
        await asyncio.sleep(0)
        assert b'"accepted":false' in broker.bodies("upswell.reply.x")[0]

    run(scenario())


def test_an_order_that_nobody_can_answer_yet_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader held up for longer than its term hears the order first, and leads again a moment later."""
    monkeypatch.setattr(orders_module, "REPEAT_SECONDS", 0.01)
    monkeypatch.setattr(orders_module, "ANSWER_SECONDS", 60.0)

    async def scenario() -> None:
        broker, heard = MemoryBroker(), list[OperatorOrder]()

        def obey(order: OperatorOrder) -> OperatorAnswer | None:
            heard.append(order)
            return OperatorAnswer(accepted=True, text="ok") if len(heard) == 3 else None

        await take_orders(broker, "monitor", "m1", "reports", obey)
        assert (await (await orders(broker)).give("monitor", PAUSE)).text == "ok"
        assert heard == [PAUSE] * 3

    run(scenario())


def test_an_order_is_obeyed_once_though_its_answer_was_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """`restart` without names, obeyed twice, would replace the new workers, too."""
    monkeypatch.setattr(orders_module, "REPEAT_SECONDS", 0.01)
    monkeypatch.setattr(orders_module, "ANSWER_SECONDS", 60.0)

    async def scenario() -> None:
        broker, heard, answers = MemoryBroker(), list[OperatorOrder](), list[Message]()

        def obey(order: OperatorOrder) -> OperatorAnswer:
            heard.append(order)
            return OperatorAnswer(accepted=True, text=f"number {len(heard)}")

        publish = broker.publish

        def late(message: Message) -> asyncio.Future[None]:
            if message.routing_key.startswith(topology.REPLY_PREFIX) and len(answers) < 3:
                answers.append(message)
                return asyncio.get_running_loop().create_future()
            return publish(message)

        monkeypatch.setattr(broker, "publish", late)
        await take_orders(broker, "monitor", "m1", "reports", obey)
        given = await orders(broker)
        assert (await given.give("monitor", PAUSE)).text == "number 1"
        assert (await given.give("monitor", PAUSE)).text == "number 2"
        assert (len(heard), len(answers)) == (2, 3)

    run(scenario())


def test_an_answer_that_comes_as_the_time_is_up_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that stood still meanwhile reads it in the same turn in which its timer is due."""
    monkeypatch.setattr(orders_module, "ANSWER_SECONDS", 0.01)

    async def scenario() -> None:
        broker = MemoryBroker()

        def obey(_order: OperatorOrder) -> OperatorAnswer:
            time.sleep(0.02)
            return OperatorAnswer(accepted=True, text="ok")

        await take_orders(broker, "monitor", "m1", "reports", obey)
        assert (await (await orders(broker)).give("monitor", PAUSE)).text == "ok"

    run(scenario())


def test_a_part_that_goes_with_an_order_in_its_hands_may_have_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders_module, "REPEAT_SECONDS", 0.01)
    monkeypatch.setattr(orders_module, "ANSWER_SECONDS", 60.0)

    async def scenario() -> None:
        broker = MemoryBroker()
        listening = await take_orders(broker, "monitor", "m1", "reports", lambda _: None)
        giving = asyncio.create_task((await orders(broker)).give("monitor", PAUSE))
        await asyncio.sleep(0)
        await listening.cancel()
        broker.declared.pop(topology.orders_queue("monitor", "m1", "reports").name)
        with pytest.raises(NoAnswerError, match="the monitor went without an answer"):
            await giving

    run(scenario())


def test_an_answer_goes_to_no_queue_but_one_for_replies() -> None:
    """Else whoever may send orders could fill any queue."""

    async def scenario() -> None:
        broker = MemoryBroker()
        await take_orders(
            broker, "monitor", "m1", "reports", lambda _: OperatorAnswer(accepted=True, text="ok")
        )
        await broker.declare(topology.dead_letter_queue("a1_upload"))
        exchange = topology.orders_exchange("monitor", "reports")
        for reply_to in ("a1_upload.dead", None):
            broker.publish(Message(body=encode(PAUSE), exchange=exchange, reply_to=reply_to))
        await asyncio.sleep(0)
        assert broker.bodies("a1_upload.dead") == []

    run(scenario())
