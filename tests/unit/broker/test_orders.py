"""An operator's order and its answer, on a broker in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from support.memory_broker import MemoryBroker
from upswell.broker import topology
from upswell.broker.orders import Orders, take_orders
from upswell.broker.protocol import Message
from upswell.errors import NobodyListensError
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
