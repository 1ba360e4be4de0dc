"""RabbitMQ as a broker. `broker.py` keeps the protocol's promises, `pika_client.py` alone imports pika.

`connection.py` reconnects, `publishing.py` keeps what is not confirmed, `consumers.py` what is consumed,
`queues.py` what is declared, `sweep.py` looks into queues; `delivery_count.py` says how attempts are
counted, `url.py` what a URL may hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upswell.broker.rabbitmq.broker import RabbitBroker
from upswell.broker.rabbitmq.settings import RabbitSettings

if TYPE_CHECKING:
    from upswell.settings import Settings

__all__ = ["RabbitBroker", "RabbitSettings", "open_rabbitmq"]


def open_rabbitmq(settings: Settings, *, name: str) -> RabbitBroker:
    """Return the broker at `broker_url`, not yet connected."""
    own = settings.own("brokers", "rabbitmq", RabbitSettings)
    return RabbitBroker(
        settings.broker_url,
        name=name,
        management_url=own.management_url,
        compatible=own.queues == "compatible",
    )
