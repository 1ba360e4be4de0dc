"""Dead-letter queues: what their messages say, and how they are published again.

What comes in: deliveries. What goes out: which request it was, why and when it died. The worker writes
`x-upswell-*` headers; a broker that dead-letters messages writes its own (RabbitMQ: `x-first-death-reason`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from upswell.broker.protocol import Delivery, Message
from upswell.broker.topology import DIED_AT_HEADER, dead_letter_queue
from upswell.errors import MessageError
from upswell.messages import NO_REASON, UploadRequest, decode
from upswell.requests import id_of_body, valid_id
from upswell.traces.context import carried

if TYPE_CHECKING:
    from collections.abc import Callable

    from upswell.broker import Broker

GIVEN_UP = "given up by the broker at its delivery limit"

_END_OF_TIME = 253_402_300_800.0  # the year 10000


def request_id_of(delivery: Delivery) -> str:
    """Return the request's id, as the worker does: its own, the message's, or the one made of its bytes."""
    try:
        named = decode(UploadRequest, delivery.body).id
    except MessageError:
        named = None
    return named or valid_id(delivery.message_id) or id_of_body(delivery.body)


def reason_of(delivery: Delivery) -> str:
    """Return why it is here, according to its headers: a worker's, or those of RabbitMQ itself."""
    headers = delivery.headers
    reason = str(headers.get("x-upswell-reason") or headers.get("x-first-death-reason") or NO_REASON)
    return GIVEN_UP if reason == "delivery_limit" else reason


def died_at(delivery: Delivery) -> float | None:
    """Return when it was dead-lettered, where a header tells a time that a calendar has."""
    try:
        at = float(delivery.headers.get(DIED_AT_HEADER, ""))  # on RabbitMQ a float travels as text
    except (ValueError, OverflowError):
        return None
    return at if 0 < at < _END_OF_TIME else None


def published_at(delivery: Delivery) -> float:
    """Return when its request was published; 0.0 where it does not say.

    A letter from before a request was published again tells how the earlier one ended.
    """
    try:
        return decode(UploadRequest, delivery.body).published_at or 0.0
    except MessageError:
        return 0.0


def to_retry(delivery: Delivery, now: float) -> bytes:
    """Return the body to publish again: the same request under the same id, dated now.

    An invalid request is returned unchanged: it will be dead-lettered again, with the reason.
    """
    try:
        decode(UploadRequest, delivery.body)
        fields: dict[str, Any] = msgspec.json.decode(delivery.body)
    except (MessageError, msgspec.DecodeError):
        return delivery.body
    return msgspec.json.encode({**fields, "id": request_id_of(delivery), "published_at": now})


async def ready_in(broker: Broker, queue: str) -> int:
    """Return how many messages a queue holds that nobody has taken; 0 where there is no such queue."""
    depth = await broker.depth(queue)
    return depth.messages_ready if depth else 0


async def retry_dead(
    broker: Broker, queue: str, is_wanted: Callable[[Delivery], bool], clock: Callable[[], float]
) -> int:
    """Publish dead-lettered requests of an upload queue again; return how many.

    Each leaves the dead-letter queue once its publishing is confirmed. One that dies again meanwhile stays.
    """

    async def publish_again(delivery: Delivery) -> None:
        body = to_retry(delivery, clock())
        await broker.publish(
            Message(
                body=body,
                routing_key=queue,
                message_id=request_id_of(delivery),
                headers=carried(delivery.headers) or None,  # the trace goes on
            )
        )

    return await broker.sift(dead_letter_queue(queue).name, is_wanted, publish_again)
