"""The table of errors: what obstore says in its words, and what becomes of it."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from obstore import exceptions

from upswell.errors import (
    PermanentUploadError,
    SettingsError,
    StoreUnavailableError,
    TemporaryUploadError,
    UploadError,
)
from upswell.settings import Settings
from upswell.stores.clients.bucket import Bucket, _raise
from upswell.stores.clients.errors import Asked, store_error
from upswell.stores.registry import open_store

if TYPE_CHECKING:
    from pathlib import Path

ASKED = Asked("s3", "bucket", "https://store.example", "key", "write")
CHECK = "check the credentials for s3://bucket at https://store.example"
SECRET = "sig=TOPSECRET"


def refusal(status: int, code: str = "") -> exceptions.GenericError:
    body = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>" if code else ""
    return exceptions.GenericError(
        f"Generic S3 error: Error performing PUT https://host/bucket/key?{SECRET} in 3ms - Server returned "
        f"non-2xx status code: {status} Whatever: {body}"
    )


def broken(kind: str) -> exceptions.GenericError:
    return exceptions.GenericError(
        f"Generic S3 error: Error performing PUT https://host/bucket/key?{SECRET} - HTTP error\n\n"
        f"Debug source:\nHttpError {{\n    kind: {kind},\n    source: {SECRET}"
    )


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (broken("Connect"), StoreUnavailableError),
        (broken("Timeout"), StoreUnavailableError),
        (broken("Request"), TemporaryUploadError),
        (broken("Interrupted"), TemporaryUploadError),
        (refusal(429), StoreUnavailableError),
        (refusal(503, "SlowDown"), StoreUnavailableError),
        (refusal(502), StoreUnavailableError),
        (refusal(504), StoreUnavailableError),
        (refusal(507), StoreUnavailableError),
        (refusal(500, "InternalError"), TemporaryUploadError),
        (refusal(401), StoreUnavailableError),
        (refusal(403), StoreUnavailableError),
        (refusal(403, "InvalidAccessKeyId"), StoreUnavailableError),
        (refusal(403, "SignatureDoesNotMatch"), StoreUnavailableError),
        (refusal(400, "ExpiredToken"), StoreUnavailableError),
        (refusal(403, "RequestTimeTooSkewed"), StoreUnavailableError),
        (refusal(403, "QuotaExceeded"), StoreUnavailableError),
        (refusal(403, "AccessDenied"), PermanentUploadError),
        (refusal(404, "NoSuchBucket"), StoreUnavailableError),
        (refusal(404, "NoSuchUpload"), TemporaryUploadError),
        (refusal(409, "OperationAborted"), TemporaryUploadError),
        (refusal(400, "BadDigest"), TemporaryUploadError),
        (refusal(400, "IncompleteBody"), TemporaryUploadError),
        (refusal(400, "EntityTooLarge"), PermanentUploadError),
        (refusal(400, "KeyTooLongError"), PermanentUploadError),
        (refusal(413), PermanentUploadError),
        (exceptions.UnauthenticatedError("no credentials"), StoreUnavailableError),
        (exceptions.PreconditionError("changed"), TemporaryUploadError),
        (exceptions.GenericError("something new"), TemporaryUploadError),
    ],
    ids=range(29),
)
def test_an_error_becomes_what_the_table_in_the_docs_says(
    error: Exception, becomes: type[UploadError]
) -> None:
    with pytest.raises(UploadError) as caught:
        _raise(error, ASKED)
    assert type(caught.value) is becomes
    assert "https://store.example" in str(caught.value) or "s3://bucket/key" in str(caught.value)
    assert "TOPSECRET" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Received redirect without LOCATION, this normally indicates an incorrectly configured region",
            "PermanentRedirect: s3://bucket at https://store.example is in another region: set store_region",
        ),
        (
            "HttpError {\n kind: Connect,\n source: InvalidCertificate(UnknownIssuer)",
            "the certificate of https://store.example is not trusted: set SSL_CERT_FILE",
        ),
    ],
    ids=["region", "certificate"],
)
def test_what_only_the_clients_text_tells_is_an_outage_in_our_words(text: str, words: str) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        _raise(exceptions.GenericError(f"{text} {SECRET}"), ASKED)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("status", "code", "kind", "asked", "words"),
    [
        (
            "404",
            "NoSuchBucket",
            "",
            ASKED,
            'NoSuchBucket: bucket "bucket" does not exist at https://store.example',
        ),
        (
            "404",
            "ContainerNotFound",
            "",
            Asked("az", "photos"),
            'ContainerNotFound: container "photos" does not exist at Azure Blob Storage',
        ),
        (
            "403",
            "AccessDenied",
            "",
            ASKED,
            "AccessDenied: the credentials may not PutObject on s3://bucket/key at https://store.example",
        ),
        (
            "403",
            "AccessDenied",
            "",
            Asked("gs", "b", key="k", action="read"),
            "AccessDenied: the credentials may not storage.objects.get on gs://b/k at Google Cloud Storage",
        ),
        (
            "403",
            "SignatureDoesNotMatch",
            "",
            ASKED,
            f"SignatureDoesNotMatch: the secret key is wrong: {CHECK}",
        ),
        (
            "403",
            "",
            "",
            ASKED,
            f"403 Forbidden: {CHECK}, and that they may PutObject",
        ),
        ("503", "SlowDown", "", ASKED, "SlowDown: https://store.example is unavailable"),
        ("507", "", "", ASKED, "507 Insufficient Storage: https://store.example is full: s3://bucket"),
        ("", "", "Connect", ASKED, "cannot connect to https://store.example"),
        ("", "", "Timeout", Asked("s3", "b"), "Amazon S3 did not answer in time"),
        ("", "", "Interrupted", ASKED, "the connection to https://store.example broke: s3://bucket/key"),
        ("500", "InternalError", "", ASKED, "https://store.example failed: InternalError: s3://bucket/key"),
        (
            "404",
            "",
            "",
            ASKED,
            '404 Not Found: bucket "bucket" does not exist at https://store.example',
        ),
        (
            "400",
            "AuthorizationHeaderMalformed",
            "",
            Asked("s3", "b"),
            "AuthorizationHeaderMalformed: s3://b at Amazon S3 is in another region: set store_region",
        ),
        ("413", "", "", ASKED, "https://store.example refused s3://bucket/key: 413 Request Entity Too Large"),
    ],
    ids=range(15),
)
def test_an_error_says_what_is_wrong_and_where_in_plain_words(
    status: str, code: str, kind: str, asked: Asked, words: str
) -> None:
    assert str(store_error(status, code, kind, asked)) == words


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("no_credentials")
def test_missing_credentials_are_said_when_the_store_is_opened_and_nobody_is_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(
            SettingsError, match="no credentials for s3://bucket: set AWS_ACCESS_KEY_ID and AWS_S"
        ):
            open_store(Settings(destination="s3://bucket/x", store_endpoint=endpoint))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.usefixtures("no_credentials")
def test_a_profile_without_credentials_is_said_when_the_store_is_opened(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default]\nregion = eu-central-1\n")
    with pytest.raises(SettingsError, match=r"no credentials for s3://bucket: .*\(~/.aws/config gave none\)"):
        open_store(Settings(destination="s3://bucket/x", store_endpoint="http://127.0.0.1:1"))


@pytest.mark.usefixtures("no_credentials")
@pytest.mark.parametrize(
    ("variables", "said", "endpoint", "region"),
    [
        ({}, {}, "", ""),
        ({"AWS_DEFAULT_REGION": "r-2"}, {}, "", "r-2"),
        ({"AWS_DEFAULT_REGION": "r-2", "AWS_REGION": "r-1"}, {}, "", "r-1"),
        ({"AWS_REGION": "r-1"}, {"store_region": "r-0"}, "", "r-0"),
        ({"AWS_ENDPOINT_URL": "https://a"}, {}, "https://a", ""),
        ({"AWS_ENDPOINT_URL": "https://a", "AWS_ENDPOINT_URL_S3": "https://s"}, {}, "https://s", ""),
        ({"AWS_ENDPOINT_URL": "https://a"}, {"store_endpoint": "https://u"}, "https://u", ""),
    ],
)
def test_the_vendors_variables_take_the_place_of_empty_settings(
    variables: dict[str, str],
    said: dict[str, str],
    endpoint: str,
    region: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket("s3", "bucket", Settings(**said))
    assert (bucket.endpoint, bucket.settings.store_region) == (endpoint, region)
    assert Bucket("gs", "bucket", Settings(**said)).settings == Settings(**said)


@pytest.mark.usefixtures("no_credentials")
def test_an_endpoint_in_the_vendors_variable_must_be_encrypted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://store.example")
    with pytest.raises(SettingsError, match="store_endpoint must be https:// unless on this machine"):
        Bucket("s3", "bucket", Settings())


@pytest.mark.usefixtures("no_credentials")
def test_a_public_bucket_needs_no_credentials() -> None:
    open_store(Settings(destination="s3://bucket/x", stores={"objects": {"anonymous": True}}))


@pytest.mark.parametrize(
    "text",
    [
        f"Error performing PUT http://169.254.169.254/latest/api/token in 1.2ms - status code: 403: {SECRET}",
        "Generic GCS error: Error performing token request: Error performing GET http://169.254.169.254/",
        f"lacked valid authentication credentials for path External AWS credential provider: {SECRET}",
    ],
    ids=["s3", "gs", "profile"],
)
def test_an_identity_service_that_gives_none_is_told_as_missing_credentials(text: str) -> None:
    with pytest.raises(StoreUnavailableError, match="no credentials for s3://bucket: set AWS_") as caught:
        _raise(exceptions.GenericError(text), ASKED)
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"destination": "s3://b"}, "a bucket's name must be 2 to 222 letters"),
        ({"destination": "s3://user:TOPSECRET@b/x"}, "a bucket's name must be 2 to 222 letters"),
        ({"destination": "s3://../x"}, "a bucket's name must be 2 to 222 letters"),
        ({"destination": "ftp://host/x"}, "scheme must be one of file, s3, gs, az"),
        (
            {"destination": "s3://bucket", "store_endpoint": "http://store.example"},
            "store_endpoint must be https:// unless on this machine",
        ),
        (
            {"destination": "s3://bucket", "store_endpoint": "https://user:TOPSECRET@store.example"},
            "store_endpoint must be http",
        ),
        ({"destination": "s3://bucket", "store_endpoint": "store.example"}, "store_endpoint must be http"),
    ],
    ids=range(7),
)
def test_settings_that_lead_nowhere_are_refused_at_the_start(settings: dict[str, str], rule: str) -> None:
    with pytest.raises(SettingsError, match=rule) as caught:
        open_store(Settings(**settings))
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("value", ["TOPSECRET\n", "TOPSECRÉT"])
def test_keys_that_no_header_can_hold_are_refused_at_the_start(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With them, obstore panics at each request."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} must be printable ASCII in one line") as caught:
        open_store(Settings(destination="s3://bucket/x"))
    assert "TOPSECR" not in str(caught.value)


def test_a_panic_in_obstore_is_an_error_of_one_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no Exception, so that it would end the worker's loop."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a token that no header can hold\n")
    refusing = "upswell.stores.clients.aws.credential_provider"
    monkeypatch.setattr(refusing, lambda: None)
    store = open_store(Settings(destination="s3://bucket/x", store_endpoint="http://127.0.0.1:1"))
    with pytest.raises(TemporaryUploadError, match="obstore failed inside: s3://buck"):
        store.head("y")


def test_opening_a_store_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        open_store(Settings(destination="s3://bucket/x", store_endpoint=f"http://127.0.0.1:{port}"))
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
