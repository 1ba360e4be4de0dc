"""The broker seam: queues that carry the loop's messages, on RabbitMQ or in one SQLite file.

`protocol.py` says what every broker promises, `topology.py` names every queue, `registry.py` lists the
brokers; `rabbitmq/` and `sqlite/` keep the promise.
"""

from upswell.broker.protocol import Broker, Consumer, Delivery, Message, QueueDepth
from upswell.broker.registry import broker_entry, open_broker

__all__ = ["Broker", "Consumer", "Delivery", "Message", "QueueDepth", "broker_entry", "open_broker"]
