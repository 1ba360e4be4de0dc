"""The broker seam: queues that carry the loop's messages, on RabbitMQ or in one SQLite file.

`protocol.py` says what both promise, `topology.py` names every queue, `rabbitmq.py` and `sqlite.py` keep
the promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.broker.protocol import Broker, Consumer, Delivery, Message, QueueDepth

if TYPE_CHECKING:
    from upswell.settings import Settings

__all__ = ["Broker", "Consumer", "Delivery", "Message", "QueueDepth", "open_broker"]


def open_broker(settings: Settings, *, name: str) -> Broker:
    """Return the broker that the settings name, not yet connected, its connection called `name`."""
    if settings.broker_url:
        from upswell.broker.rabbitmq import RabbitBroker  # noqa: PLC0415 - pika costs 50 ms: only who needs it pays

        return RabbitBroker(settings.broker_url, name=name, management_url=settings.management_url)
    from upswell.broker.sqlite import SqliteBroker  # noqa: PLC0415 - as above

    return SqliteBroker(settings.state_path / "broker.sqlite", name=name)
