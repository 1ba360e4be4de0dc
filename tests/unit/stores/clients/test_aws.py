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
        ClientError = ClientError

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


class EmptyUploads(Client):
    """Has two uploads without a part."""

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        """Return the one page of either list."""
        self.fail(self.asked)
        return [{"Uploads": [{"Key": "k", "UploadId": one} for one in ("one", "two")]}]


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


def test_where_nobody_answers_what_is_left_behind_the_attempt_is_not_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = turns.LostUploads("b", "k", SETTINGS, patience=0.0)
    Client(monkeypatch, "list_multipart_uploads", BROKEN)
    with pytest.raises(UploadError):
        lost.look()
    Client(monkeypatch, "list_multipart_uploads", answer(403, "AccessDenied"))
    lost.look()
    lost.remove(lambda: None)
    EmptyUploads(monkeypatch, "", BROKEN)
    lost.look()
    for request in ("list_multipart_uploads", "abort"):
        EmptyUploads(monkeypatch, request, BROKEN)
        with pytest.raises(UploadError):
            lost.remove(lambda: None)


class Uploading(Client):
    """Fails at some of its requests, each with an error of its own; otherwise it stores what it gets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **errors: Exception) -> None:
        super().__init__(monkeypatch, "", BROKEN)
        self.errors = errors

    def fail(self, request: str) -> None:
        """Fail where this request shall."""
        if request in self.errors:
            raise self.errors[request]

    def create_multipart_upload(self, **_: Any) -> dict[str, str]:
        """Begin it."""
        self.fail("create")
        return {"UploadId": "one"}

    def upload_part(self, **_: Any) -> dict[str, str]:
        """Take a part."""
        self.fail("part")
        return {"ETag": "e"}

    def complete_multipart_upload(self, **_: Any) -> dict[str, str]:
        """End it."""
        self.fail("complete")
        return {"ETag": "e"}


THERE, GONE = answer(412, "PreconditionFailed"), answer(404, "NoSuchUpload")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ({"complete": THERE}, FileExistsError),
        ({"complete": THERE, "abort": GONE}, FileExistsError),
        # The object that is there may be the right one, and then nobody looks for these parts again.
        ({"complete": THERE, "abort": BROKEN}, UploadError),
        ({"complete": THERE, "abort": answer(503, "SlowDown")}, UploadError),
        ({"part": answer(404, "NoSuchBucket"), "abort": BROKEN}, UploadError),
    ],
)
def test_an_object_that_is_there_is_told_once_no_parts_are_left_beside_it(
    monkeypatch: pytest.MonkeyPatch, errors: dict[str, Exception], expected: type[Exception]
) -> None:
    Uploading(monkeypatch, **errors)
    with pytest.raises(expected) as raised:
        aws.put_new_parts("b", "k", iter([memoryview(b"part")]), {}, in_flight=3, settings=SETTINGS)
    assert ("NoSuchBucket" in str(raised.value)) == ("part" in errors), "what happened first is told"


@pytest.mark.parametrize("part", [None, BROKEN, answer(400, "BadDigest")])
def test_the_part_that_tries_a_store_does_not_stay_there_unseen(
    monkeypatch: pytest.MonkeyPatch, part: Exception | None
) -> None:
    errors = {} if part is None else {"part": part}
    Uploading(monkeypatch, abort=GONE, **errors)
    assert not aws.refuses_damaged_parts("b", "k", "CRC32", SETTINGS)
    Uploading(monkeypatch, abort=BROKEN, **errors)
    with pytest.raises(UploadError):
        aws.refuses_damaged_parts("b", "k", "CRC32", SETTINGS)
