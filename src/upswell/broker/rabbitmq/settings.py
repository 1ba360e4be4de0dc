"""The settings that belong to RabbitMQ."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from upswell.settings import Setting


class RabbitSettings(Struct, frozen=True):
    """The settings `[brokers.rabbitmq]`."""

    management_url: Annotated[
        str,
        Setting(
            "http(s):// URL of the management API, which alone counts the unacknowledged messages of workers "
            "other than Upswell's. Empty: not used.",
            url=True,
        ),
    ] = ""
    consumer_timeout: Annotated[
        float,
        Meta(ge=0),
        Setting(
            "RabbitMQ's own consumer_timeout: seconds for which a worker may hold a message. Set it "
            "here too, RabbitMQ does not report it; uploads must end sooner. 0: no limit."
        ),
    ] = 1800.0
