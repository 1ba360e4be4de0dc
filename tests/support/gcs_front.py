"""The XML API of Google Cloud Storage, as published (https://cloud.google.com/storage/docs/xml-api), over S3.

A request is checked as the reference says and done through botocore on a server of S3, which keeps the bytes.
What differs between the two is made here: bearer tokens, generations, x-goog-hash, the ETag of a multipart
upload (no checksum at Google), 404 for a deletion of nothing. What the tests do not need is answered with
501, so that nothing seems to hold that nobody looked at.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import google_crc32c
from botocore.exceptions import ClientError
from msgspec import Struct

if TYPE_CHECKING:
    from support.gcs_account import ServiceAccount

MIN_PART_BYTES = 5 * 1024 * 1024
MAX_PARTS = 10_000
_GENERATION = "googgeneration"
"""The metadata in which the server of S3 keeps an object's generation."""

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
"""Google's own answers carry it, for clients of S3."""

_HARMLESS = frozenset({"x-goog-api-client", "x-goog-gcs-idempotency-token", "x-goog-user-project"})
"""Headers that Google's own clients send with any request."""

_STATUSES = {
    "EntityTooSmall": 400, "InvalidPart": 400, "InvalidPartOrder": 400, "InvalidRange": 416,
    "NoSuchBucket": 404, "NoSuchKey": 404, "NoSuchUpload": 404, "PreconditionFailed": 412,
}  # fmt: skip
"""What the server of S3 refuses as Google would, by its code."""


class RefusalError(Exception):
    """An answer with an error's code, in Google's words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Answer(Struct):
    """A status, headers (some names twice), and a body."""

    status: int = 200
    headers: list[tuple[str, str]] = []
    body: bytes | Iterator[bytes] = b""
    length: int | None = None


class Stored(Struct, frozen=True):
    """What is known of an object."""

    size: int
    etag: str
    """Google's, without quotes."""

    behind: str
    """The server of S3's, with quotes."""

    generation: int
    modified: datetime
    content_type: str
    metadata: dict[str, str]

    @property
    def is_composite(self) -> bool:
        """Whether it is a multipart upload's: no MD5 is known of it."""
        return self.etag.startswith("-")


class Objects:
    """The buckets: what Google promises of them, kept by a server of S3."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._generation = 0
        self._crc32c: dict[tuple[str, str, str], str] = {}

    def stat(self, bucket: str, key: str) -> Stored:
        """Return what is known of an object; a Refusal says what is missing."""
        try:
            found = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            self.check_bucket(bucket)
            raise RefusalError(404, "NoSuchKey", "The specified key does not exist.") from error
        metadata = {name.lower(): value for name, value in found["Metadata"].items()}
        modified = found["LastModified"].astimezone(UTC)
        generation = int(metadata.pop(_GENERATION, 0)) or int(modified.timestamp() * 1e6)
        etag = found["ETag"].strip('"')
        if "-" in etag:
            etag = f"-{base64.b64encode(generation.to_bytes(8, 'little')).decode()}"
        return Stored(
            size=found["ContentLength"],
            etag=etag,
            behind=found["ETag"],
            generation=generation,
            modified=modified,
            content_type=found.get("ContentType", "application/octet-stream"),
            metadata=metadata,
        )

    def check_bucket(self, bucket: str) -> None:
        """Raise a Refusal unless the bucket is there."""
        try:
            self._client.head_bucket(Bucket=bucket)
        except ClientError as error:
            raise RefusalError(404, "NoSuchBucket", "The specified bucket does not exist.") from error

    def read(self, bucket: str, key: str, stored: Stored, byte_range: str | None) -> Any:
        """Return the answer of the server of S3; only of the object that `stored` is about."""
        more = {"Range": byte_range} if byte_range else {}
        return self._client.get_object(Bucket=bucket, Key=key, IfMatch=stored.behind, **more)

    def put(
        self, bucket: str, key: str, body: bytes, kind: str, meta: dict[str, str], *, only_new: bool
    ) -> int:
        """Store an object; return its generation."""
        generation, metadata = self._marked(meta)
        condition = {"IfNoneMatch": "*"} if only_new else {}
        self._client.put_object(
            Bucket=bucket, Key=key, Body=body, ContentType=kind, Metadata=metadata, **condition
        )
        return generation

    def start(self, bucket: str, key: str, kind: str, meta: dict[str, str]) -> str:
        """Begin a multipart upload; return its id."""
        _generation, metadata = self._marked(meta)
        started = self._client.create_multipart_upload(
            Bucket=bucket, Key=key, ContentType=kind, Metadata=metadata
        )
        return str(started["UploadId"])

    def put_part(self, bucket: str, key: str, upload: str, number: int, body: bytes) -> None:
        """Store a part."""
        self._client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body)

    def complete(self, bucket: str, key: str, upload: str, wanted: list[tuple[int, str]]) -> Stored:
        """Make an object of the parts, in the order given; a Refusal where they do not fit."""
        pages = self._client.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=upload)
        there = {part["PartNumber"]: part for page in pages for part in page.get("Parts", ())}
        numbers = [number for number, _etag in wanted]
        if not numbers or numbers != sorted(set(numbers)):
            raise RefusalError(400, "InvalidPartOrder", "Parts must be in ascending order, each once.")
        for number, etag in wanted:
            part = there.get(number)
            if part is None or part["ETag"].strip('"') != etag.strip('"'):
                raise RefusalError(400, "InvalidPart", f"Part {number} is missing, or its ETag another.")
            if part["Size"] < MIN_PART_BYTES and number != numbers[-1]:
                raise RefusalError(400, "EntityTooSmall", f"Part {number} has fewer than 5 MiB.")
        parts = [{"PartNumber": number, "ETag": there[number]["ETag"]} for number in numbers]
        self._client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )
        return self.stat(bucket, key)

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """End a multipart upload, and delete its parts."""
        self._client.list_parts(Bucket=bucket, Key=key, UploadId=upload)  # some say nothing of an unknown one
        self._client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; a Refusal where there is none."""
        self.stat(bucket, key)
        self._client.delete_object(Bucket=bucket, Key=key)

    def page(self, bucket: str, query: dict[str, str]) -> Any:
        """Return a page of the objects' names, as the server of S3 tells it."""
        names = {"prefix": "Prefix", "delimiter": "Delimiter", "start-after": "StartAfter"}
        names |= {"continuation-token": "ContinuationToken"}
        asked: dict[str, Any] = {names[name]: value for name, value in query.items() if name in names}
        if "max-keys" in query:
            asked["MaxKeys"] = int(query["max-keys"])
        return self._client.list_objects_v2(Bucket=bucket, **asked)

    def crc32c(self, bucket: str, key: str, stored: Stored) -> str:
        """Return the CRC32C of what is really there, read once."""
        place = (bucket, key, stored.behind)
        if place not in self._crc32c:
            chunks = self.read(bucket, key, stored, None)["Body"].iter_chunks(1 << 20)
            checksum = google_crc32c.Checksum()
            for chunk in chunks:
                checksum.update(chunk)
            self._crc32c[place] = base64.b64encode(checksum.digest()).decode()
        return self._crc32c[place]

    def _marked(self, meta: dict[str, str]) -> tuple[int, dict[str, str]]:
        """Return a new generation, larger than any before, and the metadata that carry it."""
        with self._lock:
            self._generation = generation = max(self._generation + 1, time.time_ns() // 1000)
        return generation, {**meta, _GENERATION: str(generation)}


class Front(ThreadingHTTPServer):
    """Listens on a free port of loopback."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, client: Any, account: ServiceAccount, public_buckets: set[str]) -> None:
        """Serve what the server of S3 behind `client` keeps, to the account's owner."""
        super().__init__(("127.0.0.1", 0), _Request)
        self.objects = Objects(client)
        self.account = account
        self.public_buckets = public_buckets


class _Request(BaseHTTPRequestHandler):
    """One connection's requests."""

    server: Front
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer's headers and body leave together

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a request of any method."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path.removeprefix("/"), errors="strict").partition("/")
        self._bucket, self._key, self._body = bucket, key, body
        self._query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            self._check_caller()
            answer = self._bucket_answer() if not key else self._object_answer()
        except RefusalError as refusal:
            answer = _error(refusal.status, refusal.code, str(refusal))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            answer = _error(_STATUSES.get(code, 500), code if code in _STATUSES else "InternalError", code)
        self._send(answer)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - http.server's names

    def _check_caller(self) -> None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if not kind:
            if self.command in {"GET", "HEAD"} and self._bucket in self.server.public_buckets:
                return
            raise RefusalError(403, "AccessDenied", "Anonymous caller does not have access.")
        reason = self.server.account.refusal(token) if kind == "Bearer" else f"{kind} is not known here"
        if reason:
            raise RefusalError(401, "AuthenticationRequired", reason)

    def _bucket_answer(self) -> Answer:
        known = {"list-type", "prefix", "delimiter", "continuation-token", "start-after", "max-keys"}
        if self.command != "GET" or self._query.get("list-type") != "2" or self._query.keys() - known:
            raise self._unknown()
        page = self.server.objects.page(self._bucket, self._query)
        lines = [
            f"<Name>{escape(self._bucket)}</Name><Prefix>{escape(self._query.get('prefix', ''))}</Prefix>",
            f"<KeyCount>{page['KeyCount']}</KeyCount>",
            f"<IsTruncated>{str(page['IsTruncated']).lower()}</IsTruncated>",
        ]
        if page["IsTruncated"]:
            token = escape(page["NextContinuationToken"])
            lines.append(f"<NextContinuationToken>{token}</NextContinuationToken>")
        for found in page.get("Contents", ()):
            stored = self.server.objects.stat(self._bucket, found["Key"])
            lines.append(
                f"<Contents><Key>{escape(found['Key'])}</Key><Generation>{stored.generation}</Generation>"
                f"<MetaGeneration>1</MetaGeneration>"
                f"<LastModified>{stored.modified:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
                f'<ETag>"{stored.etag}"</ETag><Size>{stored.size}</Size></Contents>'
            )
        lines += [
            f"<CommonPrefixes><Prefix>{escape(found['Prefix'])}</Prefix></CommonPrefixes>"
            for found in page.get("CommonPrefixes", ())
        ]
        return _xml("ListBucketResult", "".join(lines), namespace="http://doc.s3.amazonaws.com/2006-03-01")

    def _object_answer(self) -> Answer:
        what = (self.command, *sorted(self._query))
        answers = {
            ("GET",): self._get,
            ("HEAD",): self._get,
            ("PUT",): self._put,
            ("DELETE",): self._delete,
            ("POST", "uploads"): self._start,
            ("PUT", "partNumber", "uploadId"): self._put_part,
            ("POST", "uploadId"): self._complete,
            ("DELETE", "uploadId"): self._abort,
        }
        if what not in answers:
            raise self._unknown()
        return answers[what]()

    def _get(self) -> Answer:
        self._check_headers()
        stored = self.server.objects.stat(self._bucket, self._key)
        if_match = self.headers.get("If-Match", "*")
        if if_match not in {"*", f'"{stored.etag}"'}:
            raise RefusalError(412, "PreconditionFailed", "The ETag is another.")
        headers = [
            ("ETag", f'"{stored.etag}"'),
            ("Last-Modified", format_datetime(stored.modified, usegmt=True)),
            ("Content-Type", stored.content_type),
            ("Accept-Ranges", "bytes"),
            *self._told(stored),
            *((f"x-goog-meta-{name}", value) for name, value in stored.metadata.items()),
        ]
        if self.command == "HEAD":
            return Answer(200, headers, length=stored.size)
        found = self.server.objects.read(self._bucket, self._key, stored, self.headers.get("Range"))
        status = 200
        if "ContentRange" in found:
            status = 206
            headers.append(("Content-Range", found["ContentRange"]))
        return Answer(status, headers, found["Body"].iter_chunks(1 << 20), found["ContentLength"])

    def _put(self) -> Answer:
        self._check_length()
        self._check_headers("x-goog-hash", "x-goog-if-generation-match")
        self._check_digests()
        match = self.headers.get("x-goog-if-generation-match")
        if match not in {None, "0"}:
            raise RefusalError(501, "NotImplemented", "This stand-in knows the generation 0 only.")
        kind = self.headers.get("Content-Type", "application/octet-stream")
        generation = self.server.objects.put(
            self._bucket, self._key, self._body, kind, self._metadata(), only_new=match == "0"
        )
        md5 = hashlib.md5(self._body)
        crc32c = google_crc32c.Checksum(self._body).digest()
        headers = [
            ("ETag", f'"{md5.hexdigest()}"'),
            ("x-goog-generation", str(generation)),
            ("x-goog-metageneration", "1"),
            ("x-goog-stored-content-encoding", "identity"),
            ("x-goog-stored-content-length", str(len(self._body))),
            ("x-goog-hash", f"crc32c={base64.b64encode(crc32c).decode()}"),
            ("x-goog-hash", f"md5={base64.b64encode(md5.digest()).decode()}"),
        ]
        return Answer(200, headers)

    def _delete(self) -> Answer:
        self._check_headers()
        self.server.objects.delete(self._bucket, self._key)
        return Answer(204)

    def _start(self) -> Answer:
        self._check_length()
        self._check_headers()  # preconditions are none of a multipart upload's, says the reference
        if self._body:
            raise RefusalError(400, "InvalidArgument", "The request must have no body.")
        kind = self.headers.get("Content-Type", "application/octet-stream")
        upload = self.server.objects.start(self._bucket, self._key, kind, self._metadata())
        return _xml("InitiateMultipartUploadResult", self._names() + f"<UploadId>{escape(upload)}</UploadId>")

    def _put_part(self) -> Answer:
        self._check_length()
        self._check_headers("x-goog-hash")
        self._check_digests()
        text = self._query["partNumber"]
        if not text.isdecimal() or not 1 <= int(text) <= MAX_PARTS:
            raise RefusalError(400, "InvalidArgument", f"partNumber must be 1 to {MAX_PARTS}.")
        self.server.objects.put_part(self._bucket, self._key, self._query["uploadId"], int(text), self._body)
        crc32c = base64.b64encode(google_crc32c.Checksum(self._body).digest()).decode()
        return Answer(
            200, [("ETag", f'"{hashlib.md5(self._body).hexdigest()}"'), ("x-goog-hash", f"crc32c={crc32c}")]
        )

    def _complete(self) -> Answer:
        self._check_headers()
        try:
            root = ET.fromstring(self._body)
            wanted = [
                (int(part.findtext("{*}PartNumber", "")), part.findtext("{*}ETag", "")) for part in root
            ]
        except (ET.ParseError, ValueError) as error:
            raise RefusalError(
                400, "MalformedCompleteMultipartUploadRequest", "The XML is not valid."
            ) from error
        stored = self.server.objects.complete(self._bucket, self._key, self._query["uploadId"], wanted)
        location = f"http://{self.headers['Host']}/{self._bucket}/{self._key}"
        answer = _xml(
            "CompleteMultipartUploadResult",
            f'<Location>{escape(location)}</Location>{self._names()}<ETag>"{stored.etag}"</ETag>',
        )
        answer.headers += self._told(stored)
        return answer

    def _abort(self) -> Answer:
        self._check_headers()
        self.server.objects.abort(self._bucket, self._key, self._query["uploadId"])
        return Answer(204)

    def _told(self, stored: Stored) -> list[tuple[str, str]]:
        told = [
            ("x-goog-generation", str(stored.generation)),
            ("x-goog-metageneration", "1"),
            ("x-goog-stored-content-encoding", "identity"),
            ("x-goog-stored-content-length", str(stored.size)),
            ("x-goog-hash", f"crc32c={self.server.objects.crc32c(self._bucket, self._key, stored)}"),
        ]
        if not stored.is_composite:
            told.append(("x-goog-hash", f"md5={base64.b64encode(bytes.fromhex(stored.etag)).decode()}"))
        return told

    def _names(self) -> str:
        return f"<Bucket>{escape(self._bucket)}</Bucket><Key>{escape(self._key)}</Key>"

    def _metadata(self) -> dict[str, str]:
        prefix = "x-goog-meta-"
        return {
            name.lower().removeprefix(prefix): value
            for name, value in self.headers.items()
            if name.lower().startswith(prefix)
        }

    def _check_length(self) -> None:
        if "Content-Length" not in self.headers:
            raise RefusalError(411, "MissingContentLength", "You must provide the Content-Length header.")

    def _check_headers(self, *known: str) -> None:
        """Refuse a vendor's header that this request would not heed, and those of S3."""
        for name in {name.lower() for name in self.headers} - _HARMLESS - set(known):
            if name.startswith(("x-goog-", "x-amz-")) and not name.startswith("x-goog-meta-"):
                raise RefusalError(400, "InvalidArgument", f"{name} is not known of {self.command} here.")

    def _check_digests(self) -> None:
        """Compare the bytes that came with the checksums that came with them."""
        told = [part.strip() for line in self.headers.get_all("x-goog-hash", []) for part in line.split(",")]
        told += [f"md5={value}" for value in self.headers.get_all("Content-MD5", [])]
        digests = {
            "md5": hashlib.md5(self._body).digest(),
            "crc32c": google_crc32c.Checksum(self._body).digest(),
        }
        for name, _, value in (part.partition("=") for part in told):
            if name not in digests:
                raise RefusalError(400, "InvalidDigest", f"{name} is no checksum that is known.")
            if base64.b64encode(digests[name]).decode() != value:
                raise RefusalError(
                    400, "BadDigest", f"The {name} you specified did not match what we received."
                )

    def _unknown(self) -> RefusalError:
        asked = f"{self.command} with {', '.join(self._query) or 'no query'}"
        return RefusalError(501, "NotImplemented", f"This stand-in does not do this: {asked}.")

    def _send(self, answer: Answer) -> None:
        body = answer.body
        length = len(body) if isinstance(body, bytes) and answer.length is None else answer.length
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            for chunk in (body,) if isinstance(body, bytes) else body:
                self.wfile.write(chunk)


def _xml(name: str, inside: str, *, namespace: str = _NAMESPACE) -> Answer:
    text = f"<?xml version='1.0' encoding='UTF-8'?><{name} xmlns='{namespace}'>{inside}</{name}>"
    return Answer(200, [("Content-Type", "application/xml; charset=UTF-8")], text.encode())


def _error(status: int, code: str, message: str) -> Answer:
    text = (
        f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code>"
        f"<Message>{escape(message)}</Message></Error>"
    )
    return Answer(status, [("Content-Type", "application/xml; charset=UTF-8")], text.encode())
