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

HELD_UP = """
    Leader = whereis(list_to_atom("%2F_QUEUE")),
    sys:suspend(Leader),
    timer:sleep(1000),
    sys:resume(Leader).
"""


def test_a_queue_whose_leader_is_held_up_is_not_taken_for_an_empty_one(
    rabbitmq_node_session: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_counts, "_PATIENCE_SECONDS", 100.0)
    node, queue = rabbitmq_node_session, topology.report_queue(f"counts-{secrets.token_hex(4)}")

    async def scenario() -> tuple[set[int], float]:
        broker = RabbitBroker(node.url, name="counts")
        await broker.connect()
        await broker.declare(queue)
        for number in range(3):
            await broker.publish(Message(body=b"%d" % number, routing_key=queue.name))
        held = asyncio.create_task(asyncio.to_thread(node.ctl, "eval", HELD_UP.replace("QUEUE", queue.name)))
        seen, longest, loop = set[int](), 0.0, asyncio.get_running_loop()
        while not held.done():
            asked_at = loop.time()
            depth = await broker.depth(queue.name)
            longest = max(longest, loop.time() - asked_at)
            assert depth is not None
            seen.add(depth.messages_ready)
            await asyncio.sleep(0.01)
        await held
        assert len(await broker.look(queue.name)) == 3
        await broker.delete(queue.name)
        await broker.close()
        return seen, longest

    seen, longest = asyncio.run(scenario())
    assert seen == {3}
    assert longest > 0.25  # it was held up
