"""What AMQP does not say, from RabbitMQ's management API: unacknowledged messages, and the server's clock.

Blocking: call it in a thread.
"""

from __future__ import annotations

import base64
import time
import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import msgspec

from upswell.broker.rabbitmq.settings import RabbitSettings
from upswell.errors import BrokerError
from upswell.safe import masked_url, safe

if TYPE_CHECKING:
    from upswell.settings import Settings

MOST_SKEW_SECONDS = 2.0

_TIMEOUT = 2.0  # seconds; a decision must not wait for a statistics page


class _QueueAnswer(msgspec.Struct):
    messages_unacknowledged: int | None = None


def messages_unacknowledged(
    management_url: str, vhost: str, queue: str, *, user: str, password: str
) -> int | None:
    """Return a queue's unacknowledged messages, up to five seconds old; None where the API does not tell.

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
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - same
            return msgspec.json.decode(answer.read(), type=_QueueAnswer).messages_unacknowledged
    # The last: not HTTP (AMQP's port, say), or cut short.
    except (OSError, ValueError, msgspec.MsgspecError, HTTPException):
        return None


def check_clock(settings: Settings) -> str:
    """Return how far this machine's clock is from the server's, in a sentence.

    Raises:
        BrokerError: too far, or the management API does not answer.
    """
    url = settings.own("brokers", "rabbitmq", RabbitSettings).management_url
    if not url:
        return f"{time.ctime()} (the broker's is not known without management_url)"
    try:
        skew = time.time() - _date_of(url)
    except (OSError, ValueError, HTTPException) as error:
        raise BrokerError(f"management_url does not answer: {safe(str(error))}") from error
    if abs(skew) > MOST_SKEW_SECONDS:
        raise BrokerError(f"{skew:+.0f} s from the broker's machine: let both follow NTP")
    return f"within {MOST_SKEW_SECONDS:g} s of the broker's machine"


def _date_of(url: str) -> float:
    """Return the time that a web server's answer bears, be it a refusal; our password is not sent."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"it must start with http:// or https://, got {masked_url(url)}")
    address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path or "/", "", ""))
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - the scheme was checked
            date = answer.headers["Date"]
    except urllib.error.HTTPError as error:
        date = error.headers["Date"]
    return parsedate_to_datetime(date).timestamp()
