"""What a message of a dead-letter queue says: which request, why it died, when, at whose hands.

What comes in: deliveries. What goes out: words. The worker writes `x-upswell-*` headers; a broker that
dead-letters by itself writes its own (RabbitMQ: `x-first-death-reason`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from upswell.errors import MessageError
from upswell.messages import UploadRequest, decode
from upswell.requests import id_of_body, valid_id

if TYPE_CHECKING:
    from upswell.broker import Delivery


def request_id_of(delivery: Delivery) -> str:
    """Return the request's id, as the worker does: its own, the message's, or the one made of its bytes."""
    try:
        named = decode(UploadRequest, delivery.body).id
    except MessageError:
        named = None
    return named or valid_id(delivery.message_id) or id_of_body(delivery.body)


def reason_of(delivery: Delivery) -> str:
    """Return why it is here, as its headers tell."""
    headers = delivery.headers
    return str(headers.get("x-upswell-reason") or headers.get("x-first-death-reason") or "no reason given")


def died_at(delivery: Delivery) -> float | None:
    """Return when it was dead-lettered, where known."""
    at = delivery.headers.get("x-upswell-died-at")
    return float(at) if isinstance(at, int | float) else None


def to_retry(delivery: Delivery, now: float) -> bytes:
    """Return the body to publish again: the same request under the same id, dated now.

    What is no valid request is returned as it is: it will come back with its reason.
    """
    try:
        decode(UploadRequest, delivery.body)
        fields: dict[str, Any] = msgspec.json.decode(delivery.body)
    except (MessageError, msgspec.DecodeError):
        return delivery.body
    return msgspec.json.encode({**fields, "id": request_id_of(delivery), "published_at": now})
