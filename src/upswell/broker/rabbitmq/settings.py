"""The settings that belong to RabbitMQ."""

from __future__ import annotations

from typing import Annotated, Literal

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
    queues: Annotated[
        Literal["durable", "compatible"],
        Setting(
            "How upload and report queues are declared. durable: quorum queues. compatible: as "
            "channel.queue_declare(queue=...) does, so that programs of others may declare them before or "
            "after; then a restart of the server loses what is queued, a worker that dies uses up no "
            "attempt, and the report queue has no length limit."
        ),
    ] = "durable"
    consumer_timeout: Annotated[
        float,
        Meta(ge=0),
        Setting(
            "RabbitMQ's own consumer_timeout: seconds for which a worker may hold a message. Set it "
            "here too, RabbitMQ does not report it; uploads must end sooner. 0: no limit."
        ),
    ] = 1800.0
