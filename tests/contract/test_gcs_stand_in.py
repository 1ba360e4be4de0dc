"""The stand-in for Google Cloud Storage refuses what Google's reference says that Google refuses.

https://cloud.google.com/storage/docs/xml-api/overview and the pages below it. A stand-in that let more pass
would prove nothing of a client.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from conftest import skip_or_fail
from support import gcs_server, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator

PART = 5 * 1024 * 1024
INITIATED = re.compile(r"<UploadId>([^<]+)</UploadId>")


class Client:
    """Sends what the tests say and adds nothing but a token."""

    def __init__(self, endpoint: str, token: str) -> None:
        self.endpoint = endpoint
        self.token = token

    def ask(
        self, method: str, path: str, body: bytes = b"", token: str | None = None, **headers: str
    ) -> tuple[int, str, list[tuple[str, str]], bytes]:
        """Return the status, the error's code or nothing, the headers and the body."""
        connection = http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token != "":
            named["Authorization"] = f"Bearer {token or self.token}"
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        code = re.search(rb"<Error><Code>(\w+)", content)
        return answer.status, code[1].decode() if code else "", answer.getheaders(), content

    def refused(self, *arguments: Any, **headers: str) -> str:
        """Return the status and the code of a refusal."""
        status, code, _headers, _body = self.ask(*arguments, **headers)
        return f"{status} {code}".strip()

    def start(self, path: str) -> str:
        """Begin a multipart upload; return its id as it stands in a URL."""
        _status, _code, _headers, body = self.ask("POST", f"{path}?uploads")
        found = INITIATED.search(body.decode())
        assert found, body
        return quote(found[1], safe="")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    reason = gcs_server.missing()
    if reason:
        skip_or_fail(reason)
    folder = tmp_path_factory.mktemp("gcs")
    with (
        s3_server.s3_server("seaweedfs", folder / "s3") as behind,
        gcs_server.gcs_server(behind, folder) as endpoint,
    ):
        yield Client(endpoint, (folder / "token").read_text())


def test_nobody_is_let_in_without_a_token_of_the_accounts(client: Client, tmp_path: Any) -> None:
    from support.gcs_account import ServiceAccount  # noqa: PLC0415 - needs the group `servers`

    stranger = ServiceAccount().token()
    assert client.refused("PUT", "/bucket/x", b"x", "") == "403 AccessDenied"
    assert client.refused("GET", "/bucket/x", b"", "") == "403 AccessDenied"
    for token in (stranger, "nonsense", f"{client.token[:-8]}AAAAAAAA"):
        assert client.refused("PUT", "/bucket/x", b"x", token) == "401 AuthenticationRequired"
    account = ServiceAccount()
    assert account.refusal(account.token()) is None
    for claims in ({"exp": 1}, {"iss": "other"}, {"iat": 1}, {"scope": "email"}, {"exp": 4_000_000_000}):
        assert account.refusal(account.token(**claims))


def test_a_public_bucket_is_read_by_everyone_and_written_by_nobody_else(client: Client) -> None:
    path = f"/{gcs_server.PUBLIC_BUCKET}/x"
    assert client.ask("PUT", path, b"bytes")[0] == 200
    assert client.ask("GET", path, b"", "")[3] == b"bytes"
    assert client.refused("PUT", path, b"bytes", "") == "403 AccessDenied"


def test_only_an_object_that_is_not_there_has_the_generation_0(client: Client) -> None:
    zero = {"x_goog_if_generation_match": "0"}
    status, _code, headers, _body = client.ask("PUT", "/bucket/new", b"first", **zero)
    first = int(dict(headers)["x-goog-generation"])
    assert (status, first > 0) == (200, True)
    assert client.refused("PUT", "/bucket/new", b"second", **zero) == "412 PreconditionFailed"
    assert client.ask("GET", "/bucket/new")[3] == b"first"
    _status, _code, headers, _body = client.ask("PUT", "/bucket/new", b"third")
    assert int(dict(headers)["x-goog-generation"]) > first


def test_checksums_that_are_sent_are_compared_and_those_that_are_told_are_right(client: Client) -> None:
    import google_crc32c  # noqa: PLC0415 - needs the group `servers`

    body = b"bytes" * 1000
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    crc32c = base64.b64encode(google_crc32c.value(body).to_bytes(4, "big")).decode()
    for name, value in (("Content_MD5", md5), ("x_goog_hash", f"crc32c={crc32c},md5={md5}")):
        assert client.refused("PUT", "/bucket/sum", body, **{name: value}) == "200"
        assert client.refused("PUT", "/bucket/sum", body[1:], **{name: value}) == "400 BadDigest"
    for method in ("GET", "HEAD"):
        _status, _code, headers, _body = client.ask(method, "/bucket/sum")
        assert [value for name, value in headers if name == "x-goog-hash"] == [
            f"crc32c={crc32c}",
            f"md5={md5}",
        ]
        assert dict(headers)["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


def test_an_object_of_parts_has_a_crc32c_and_no_md5(client: Client) -> None:
    import google_crc32c  # noqa: PLC0415 - needs the group `servers`

    upload = client.start("/bucket/parts")
    first, last = bytes(PART), b"the end"
    for number, body in ((1, first), (2, last)):
        client.ask("PUT", f"/bucket/parts?partNumber={number}&uploadId={upload}", body)
    done = client.ask("POST", f"/bucket/parts?uploadId={upload}", complete(first, last))
    assert done[0] == 200
    _status, _code, headers, _body = client.ask("HEAD", "/bucket/parts")
    crc32c = base64.b64encode(google_crc32c.value(first + last).to_bytes(4, "big")).decode()
    assert [value for name, value in headers if name == "x-goog-hash"] == [f"crc32c={crc32c}"]
    assert not re.fullmatch(r'"[0-9a-f]{32}(-\d+)?"', dict(headers)["ETag"])


def complete(*parts: bytes, numbers: Any = range(1, 10)) -> bytes:
    told = "".join(
        f'<Part><PartNumber>{number}</PartNumber><ETag>"{hashlib.md5(part).hexdigest()}"</ETag></Part>'
        for number, part in zip(numbers, parts, strict=False)
    )
    return f"<CompleteMultipartUpload>{told}</CompleteMultipartUpload>".encode()


def test_parts_that_do_not_fit_are_refused(client: Client) -> None:
    upload = client.start("/bucket/unfit")
    first, last = bytes(PART), b"the end"
    path = f"/bucket/unfit?uploadId={upload}"
    for number, body in ((1, first), (2, last), (3, last)):
        client.ask("PUT", f"{path}&partNumber={number}", body)
    assert client.refused("PUT", f"{path}&partNumber=0", b"x") == "400 InvalidArgument"
    assert client.refused("PUT", f"{path}&partNumber=10001", b"x") == "400 InvalidArgument"
    assert client.refused("POST", path, complete(first, b"other")) == "400 InvalidPart"
    assert client.refused("POST", path, complete(first, last, numbers=[1, 7])) == "400 InvalidPart"
    assert client.refused("POST", path, complete(last, first, numbers=[2, 1])) == "400 InvalidPartOrder"
    assert client.refused("POST", path, complete()) == "400 InvalidPartOrder"
    assert client.refused("POST", path, complete(first, last, last)) == "400 EntityTooSmall"
    assert client.refused("POST", path, b"<Complete") == "400 MalformedCompleteMultipartUploadRequest"
    assert client.refused("DELETE", path) == "204"
    assert client.refused("DELETE", path) == "404 NoSuchUpload"
    assert client.refused("POST", path, complete(first, last)) == "404 NoSuchUpload"
    assert client.refused("PUT", f"{path}&partNumber=1", b"x") == "404 NoSuchUpload"


@pytest.mark.parametrize(
    ("request_line", "headers", "answer"),
    [
        ("GET /bucket/missing", {}, "404 NoSuchKey"),
        ("DELETE /bucket/missing", {}, "404 NoSuchKey"),
        ("GET /no-such-bucket/x", {}, "404 NoSuchBucket"),
        ("PUT /no-such-bucket/x", {}, "404 NoSuchBucket"),
        ("POST /no-such-bucket/x?uploads", {}, "404 NoSuchBucket"),
        ("GET /no-such-bucket?list-type=2", {}, "404 NoSuchBucket"),
        ("POST /bucket/x?uploads", {"x_goog_if_generation_match": "0"}, "400 InvalidArgument"),
        ("PUT /bucket/x", {"x_amz_meta_a": "1"}, "400 InvalidArgument"),
        ("PUT /bucket/x", {"x_goog_copy_source": "/bucket/y"}, "400 InvalidArgument"),
        ("PUT /bucket/x?acl", {}, "501 NotImplemented"),
        ("GET /bucket?uploads", {}, "501 NotImplemented"),
    ],
)
def test_what_google_refuses_is_refused_and_what_is_not_made_is_said(
    client: Client, request_line: str, headers: dict[str, str], answer: str
) -> None:
    method, _, path = request_line.partition(" ")
    assert client.refused(method, path, **headers) == answer
