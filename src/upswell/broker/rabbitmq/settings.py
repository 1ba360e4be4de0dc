"""The settings that belong to RabbitMQ."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from upswell.settings import Setting


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
