from __future__ import annotations

import errno
import os
import socket
import ssl
from http.client import BadStatusLine, IncompleteRead
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upswell.errors import PermanentUploadError, TemporaryUploadError, UploadError
from upswell.stores.clients.http.errors import MAX_RETRY_AFTER, broken, seconds_asked_for, status_error
from upswell.stores.clients.http.url import parse_url

if TYPE_CHECKING:
    from http.client import HTTPException

URL = parse_url("https://example.org/x?signature=secret")


@pytest.mark.parametrize("status", [408, 421, 423, 425, 429, 500, 502, 503, 504, 507, 508, 520, 599])
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    error = status_error(status, "7", URL, 0.0)
    assert isinstance(error, TemporaryUploadError)
    assert error.retry_after == 7.0
    assert f"unexpected status {status}" in str(error)


@pytest.mark.parametrize(
    "status", [204, 206, 300, 305, 400, 401, 403, 404, 405, 407, 410, 418, 451, 501, 505, 510]
)
def test_a_status_that_will_not_pass_is_never_tried_again(status: int) -> None:
    error = status_error(status, None, URL, 0.0)
    assert isinstance(error, PermanentUploadError)
    assert "secret" not in str(error)


def no_address(number: int) -> OSError:
    return socket.gaierror(number, "no address")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (no_address(socket.EAI_NONAME), PermanentUploadError),
        (no_address(socket.EAI_AGAIN), TemporaryUploadError),
        (ssl.SSLCertVerificationError("expired"), PermanentUploadError),
        (ssl.SSLError("handshake"), TemporaryUploadError),
        (ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), TemporaryUploadError),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), TemporaryUploadError),
        (OSError(errno.ENETUNREACH, "unreachable"), TemporaryUploadError),
        (TimeoutError(), TemporaryUploadError),
        (BadStatusLine("SSH-2.0"), TemporaryUploadError),
        (IncompleteRead(b"", 7), TemporaryUploadError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_failure_is_temporary_or_permanent_by_the_table(
    error: OSError | HTTPException, kind: type[UploadError]
) -> None:
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "certificate has expired"
    translated = broken(error, URL)
    assert isinstance(translated, kind)
    assert "secret" not in str(translated)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("1e9", 0.0),
        ("99999999", MAX_RETRY_AFTER),
        ("9" * 400, 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 99 Jan 1970", 0.0),
    ],
)
def test_retry_after_is_read_in_both_of_its_forms(text: str | None, seconds: float) -> None:
    assert seconds_asked_for(text, now=10.0) == seconds


@given(st.text(max_size=60))
def test_whatever_retry_after_holds_it_asks_for_a_bounded_time(text: str) -> None:
    assert 0.0 <= seconds_asked_for(text, now=1e9) <= MAX_RETRY_AFTER
