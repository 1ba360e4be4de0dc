"""Unfinished multipart uploads: that the store did not answer is not that there are none."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from upswell.errors import StoreUnavailableError, TemporaryUploadError, UploadError
from upswell.settings import Settings
from upswell.stores.clients import aws
from upswell.stores.destinations import turns

ENDPOINT = "http://127.0.0.1:9"
SETTINGS = Settings(store_endpoint=ENDPOINT)
BROKEN = ConnectionClosedError(endpoint_url=ENDPOINT)


def answer(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "list")  # type: ignore[typeddict-item]


class Client:
    """Fails with an error at one of its requests; otherwise it has one upload of one part."""

    class exceptions:  # noqa: N801 - botocore's name
        """Where botocore's clients have the errors of a service."""

        NoSuchUpload = KeyError  # no request here fails with it

    def __init__(self, monkeypatch: pytest.MonkeyPatch, request: str, error: Exception) -> None:
        self.request, self.error = request, error
        monkeypatch.setattr(aws, "_client_of", lambda _settings: self)

    def get_paginator(self, request: str) -> Client:
        """Return what pages through the answers to a request."""
        self.asked = request
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        """Return the one page of either list."""
        self.fail(self.asked)
        return [{"Uploads": [{"Key": "k", "UploadId": "one"}], "Parts": [{"PartNumber": 1}]}]

    def abort_multipart_upload(self, **_: str) -> None:
        """Abort it."""
        self.fail("abort")

    def fail(self, request: str) -> None:
        """Fail where it is this request's turn."""
        if request == self.request:
            raise self.error


@pytest.mark.parametrize("request_", ["list_multipart_uploads", "list_parts"])
@pytest.mark.parametrize("error", [BROKEN, answer(503, "SlowDown"), answer(500, "InternalError")])
def test_a_list_that_did_not_come_is_no_empty_list(
    monkeypatch: pytest.MonkeyPatch, request_: str, error: Exception
) -> None:
    Client(monkeypatch, request_, error)
    with pytest.raises(UploadError) as raised:
        turns.wait_for_turn("b", "k", SETTINGS, patience=10.0, check=lambda: None)
    assert isinstance(raised.value, (StoreUnavailableError, TemporaryUploadError))


@pytest.mark.parametrize("error", [answer(403, "AccessDenied"), answer(501, "NotImplemented")])
def test_where_the_store_refuses_to_list_the_upload_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Client(monkeypatch, "list_multipart_uploads", error)
    assert aws.unfinished_uploads("b", "k", SETTINGS) == {}


def test_parts_that_may_not_be_counted_are_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    Client(monkeypatch, "list_parts", answer(403, "AccessDenied"))
    assert aws.unfinished_uploads("b", "k", SETTINGS) == {"one": aws.NOT_TOLD}


def test_an_abort_without_an_answer_fails_the_attempt_and_a_refused_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Client(monkeypatch, "abort", BROKEN)
    with pytest.raises(UploadError):
        aws.abort_uploads("b", "k", ["one"], SETTINGS)
    Client(monkeypatch, "abort", answer(403, "AccessDenied"))
    aws.abort_uploads("b", "k", ["one"], SETTINGS)


def test_an_object_that_is_stored_stays_stored_where_nothing_more_can_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Client(monkeypatch, "list_multipart_uploads", BROKEN)
    turns.remove_empty("b", "k", SETTINGS)
