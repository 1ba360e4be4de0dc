"""RabbitMQ as a broker. `broker.py` keeps the protocol's promises, `pika_client.py` alone imports pika.

`connection.py` reconnects, `publishing.py` keeps what is not confirmed, `consumers.py` what is consumed,
`queues.py` what is declared; `delivery_count.py` says how attempts are counted, `url.py` what a URL may hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from upswell.broker.rabbitmq.broker import RabbitBroker
from upswell.settings import Setting

if TYPE_CHECKING:
    from upswell.settings import Settings

__all__ = ["RabbitBroker", "RabbitSettings", "open_rabbitmq"]


class RabbitSettings(Struct, frozen=True):
    """What `[brokers.rabbitmq]` holds."""

    management_url: Annotated[
        str,
        Setting(
            "http(s):// of the management API: the only place that knows the unacknowledged messages of "
            "workers written by others; empty: not used."
        ),
    ] = ""
    consumer_timeout: Annotated[
        float,
        Meta(ge=0),
        Setting(
            "RabbitMQ's own consumer_timeout: seconds for which a worker may hold a message; RabbitMQ cannot "
            "be asked for it, and uploads must end sooner. 0: no limit."
        ),
    ] = 1800.0


def open_rabbitmq(settings: Settings, *, name: str) -> RabbitBroker:
    """Return the broker at `broker_url`, not yet connected."""
    own = settings.own("brokers", "rabbitmq", RabbitSettings)
    return RabbitBroker(settings.broker_url, name=name, management_url=own.management_url)
