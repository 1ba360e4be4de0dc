"""The one number that AMQP does not tell: how many messages of a queue are delivered and not acknowledged.

It comes from RabbitMQ's management API, whose figures are up to five seconds old. Blocking: call it in a
thread. It never raises: what cannot be asked is None, and None is never 0.
"""

from __future__ import annotations

import base64
import json
import urllib.request
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit, urlunsplit

_TIMEOUT = 2.0  # seconds; a decision must not wait for a statistics page


def messages_unacknowledged(
    management_url: str, vhost: str, queue: str, *, user: str, password: str
) -> int | None:
    """Return a queue's unacknowledged messages, or None when the API does not answer with a number.

    User and password are those in `management_url`, else those given.
    """
    try:
        parts = urlsplit(management_url)
        user, password = unquote(parts.username or user), unquote(parts.password or password)
        netloc = parts.netloc.rpartition("@")[2]
        path = f"{parts.path.rstrip('/')}/api/queues/{quote(vhost, safe='')}/{quote(queue, safe='')}"
        if parts.scheme not in ("http", "https"):
            return None
        url = urlunsplit((parts.scheme, netloc, path, "", ""))
        request = urllib.request.Request(url)  # noqa: S310 - its scheme is checked above
        request.add_header("Authorization", f"Basic {_token(user, password)}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - same
            return _number(json.load(answer))
    except (OSError, ValueError):
        return None


def _number(answer: Any) -> int | None:
    if not isinstance(answer, dict):
        return None
    number = cast("dict[str, Any]", answer).get("messages_unacknowledged")
    return number if isinstance(number, int) else None


def _token(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()
