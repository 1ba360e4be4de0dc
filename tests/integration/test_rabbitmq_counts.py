"""What RabbitMQ says of a queue whose leader is held up: nothing ready, nobody there. It is asked again."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from upswell.broker import topology
from upswell.broker.protocol import Message
from upswell.broker.rabbitmq import RabbitBroker, queue_counts

if TYPE_CHECKING:
    from support.rabbitmq_node import RabbitNode

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(300)]

LEADER = 'whereis(list_to_atom("%2F_QUEUE"))'


def test_a_queue_whose_leader_is_held_up_is_not_taken_for_an_empty_one(
    rabbitmq_node_session: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_counts, "_PATIENCE_SECONDS", 100.0)
    node, queue = rabbitmq_node_session, topology.report_queue(f"counts-{secrets.token_hex(4)}")

    async def scenario() -> int:
        broker = RabbitBroker(node.url, name="counts")
        await broker.connect()
        await broker.declare(queue)
        for number in range(3):
            await broker.publish(Message(body=b"%d" % number, routing_key=queue.name))
        leader = LEADER.replace("QUEUE", queue.name)
        await asyncio.to_thread(node.ctl, "eval", f"sys:suspend({leader}).")
        asking = asyncio.create_task(broker.depth(queue.name))
        await asyncio.sleep(1)
        assert not asking.done()
        await asyncio.to_thread(node.ctl, "eval", f"sys:resume({leader}).")
        depth = await asking
        assert len(await broker.look(queue.name)) == 3
        await broker.delete(queue.name)
        await broker.close()
        assert depth is not None
        return depth.messages_ready

    assert asyncio.run(scenario()) == 3
