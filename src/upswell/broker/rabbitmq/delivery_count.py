"""How often a message was tried before, on RabbitMQ, and the headers that say so.

Found by experiment on RabbitMQ 4.0.5 (quorum queues, one message given back seven ways): basic.nack,
basic.reject and basic.recover with requeue, a closed channel, a closed connection and a reset socket each
raise `x-delivery-count` by one; a message whose count exceeds `x-delivery-limit` is dead-lettered, so a
limit of n attempts is `x-delivery-limit` n - 1. From 4.3 on basic.nack is not counted any more and
basic.reject is (release notes; not tried here). Classic queues count nothing. A message dead-lettered
because its channel died takes its old `x-delivery-count` along into the next queue, where it stands until
the first redelivery; so the count is believed only on a redelivered message.

Hence:

- `retry` is basic.reject, counted by all versions.
- `release` is basic.nack where that is not counted. Elsewhere it is a confirmed copy, then an ack of the
  original; the copy says in the header `EARLIER_ATTEMPTS` how many attempts went before, and has a priority
  that puts it in front.
- On a classic queue `retry` is such a copy too.
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any

from upswell.broker.topology import DIED_AT_HEADER

if TYPE_CHECKING:
    from upswell.broker.protocol import Headers

EARLIER_ATTEMPTS = "x-upswell-earlier-attempts"
"""Header of a copy: attempts made at the messages that it stands for."""

_DELIVERY_COUNT = "x-delivery-count"
_OF_THE_BROKER = frozenset({EARLIER_ATTEMPTS, _DELIVERY_COUNT, "x-acquired-count"})
_MOST = 1_000_000  # a header is hostile: no honest message was tried more often
_FRONT_PRIORITY = 9  # quorum queues since 4.0 serve two of priority 5 and above to one of the rest


def earlier_attempts(headers: dict[str, Any]) -> int:
    """Return the attempts made at earlier copies of a message; dead-lettering resets the count."""
    count = headers.get(EARLIER_ATTEMPTS, 0)
    if not isinstance(count, int) or not 0 <= count <= _MOST or "x-death" in headers:
        return 0
    return int(count)


def attempt(headers: dict[str, Any], *, redelivered: bool) -> int:
    """Return which attempt a delivery is, from 1."""
    if not redelivered or headers.get("x-last-death-reason") == "delivery_limit":
        return 1 + earlier_attempts(headers)
    count = headers.get(_DELIVERY_COUNT, 0)
    is_count = isinstance(count, int) and 0 <= count <= _MOST
    return 1 + earlier_attempts(headers) + (int(count) if is_count else 0)


def plain_headers(headers: dict[str, Any]) -> Headers:
    """Return the headers that a delivery shows: its publisher's, as far as they are text or numbers."""
    if not headers:
        return headers
    plain: dict[str, str | int | float] = {
        # int(): the client's own subclass of it would print differently
        name: int(value) if type(value) is not bool and isinstance(value, int) else value
        for name, value in headers.items()
        if isinstance(value, str | int | float) and name not in _OF_THE_BROKER
    }
    if DIED_AT_HEADER not in plain:
        match headers.get("x-death"):  # written by the server that dead-letters, or by a forger
            case [{"time": datetime() as time}, *_]:
                plain[DIED_AT_HEADER] = time.timestamp()
            case _:
                pass
    return plain


def wire_headers(headers: Headers) -> dict[str, Any]:
    """Return headers as they travel: floats as text, for pika writes none and truncates those it reads."""
    return {name: repr(value) if isinstance(value, float) else value for name, value in headers.items()}


def copy_for(properties: Any, attempts: int) -> Any:
    """Return the properties of a copy that stands for a message tried `attempts` times."""
    headers = _kept(properties)
    if attempts:
        headers[EARLIER_ATTEMPTS] = attempts
    return _like(properties, headers, priority=_FRONT_PRIORITY)


def dead_letter_for(properties: Any, attempts: int, limit: int) -> Any:
    """Return the properties of a message's copy in the dead-letter queue."""
    headers = _kept(properties)
    headers.update({"x-upswell-reason": f"delivery limit {limit} reached", "x-upswell-attempt": attempts})
    return _like(properties, headers, priority=properties.priority)


def _kept(properties: Any) -> dict[str, Any]:
    headers: dict[str, Any] = properties.headers or {}
    return {name: value for name, value in headers.items() if name not in _OF_THE_BROKER}


def _like(properties: Any, headers: dict[str, Any], priority: int | None) -> Any:
    new = copy.copy(properties)
    new.headers = headers or None
    new.priority = priority
    new.delivery_mode = 2
    return new
