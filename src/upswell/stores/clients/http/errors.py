"""What an answer or a failure of a web server means for an upload: try again, or never. Pure.

What comes in: a status and its headers, or an exception. What goes out: an UploadError that names the rule,
the value and the URL without its query. docs/uploads.md shows the same table.
"""

from __future__ import annotations

import re
import socket
import ssl
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING

from upswell.errors import PermanentUploadError, TemporaryUploadError, UploadError
from upswell.safe import safe
from upswell.stores.clients.errors import phrase

if TYPE_CHECKING:
    from upswell.stores.clients.http.url import Url

TEMPORARY = frozenset({408, 421, 423, 425, 429})
"""The 4xx that may pass: request timeout, misdirected, locked, too early, too many requests."""

PERMANENT = frozenset({501, 505, 510})
"""The 5xx that will not: not implemented, HTTP version not supported, not extended."""

MAX_RETRY_AFTER = 3600.0
"""Seconds; what is asked for beyond is not believed. How long a worker really waits, it says itself."""

_SERVER_ERRORS = range(500, 600)
_UNKNOWN_HOST = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_SECONDS = re.compile(r"\A\d{1,9}\Z")


def status_error(status: int, retry_after: str | None, url: Url, now: float) -> UploadError:
    """Return the error of an answer that holds no source; `now` is in UTC seconds since 1970."""
    name = phrase(str(status))
    shown = f"{status} ({name})" if name else str(status)
    reason = f"unexpected status {shown}, not 200, from {safe(str(url))}"
    if status in TEMPORARY or (status in _SERVER_ERRORS and status not in PERMANENT):
        return TemporaryUploadError(reason, retry_after=seconds_asked_for(retry_after, now))
    return PermanentUploadError(reason)


def seconds_asked_for(retry_after: str | None, now: float) -> float:
    """Return the seconds that a Retry-After header asks for, at most MAX_RETRY_AFTER; 0: nothing readable.

    >>> seconds_asked_for("120", 0.0)
    120.0
    """
    if retry_after is None:
        return 0.0
    text = retry_after.strip()
    if _SECONDS.match(text):
        return min(MAX_RETRY_AFTER, float(text))
    try:
        at = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(MAX_RETRY_AFTER, max(0.0, at - now))


def broken(error: OSError | HTTPException, url: Url) -> UploadError:
    """Return the error of a server that cannot be reached, or broke off, or talks nonsense."""
    shown = safe(str(url))
    if isinstance(error, ssl.SSLCertVerificationError):
        return PermanentUploadError(f"invalid certificate: {shown}: {error.verify_message}")
    if isinstance(error, socket.gaierror):
        kind = PermanentUploadError if error.errno in _UNKNOWN_HOST else TemporaryUploadError
        return kind(f"the host of {shown} is unknown: {error.strerror}")
    if isinstance(error, HTTPException):
        return TemporaryUploadError(f"invalid HTTP/1.1 response: {type(error).__name__} from {shown}")
    if isinstance(error, TimeoutError):
        return TemporaryUploadError(f"no response in time from {shown}")
    return TemporaryUploadError(f"cannot read {shown}: {error.strerror or error}")
