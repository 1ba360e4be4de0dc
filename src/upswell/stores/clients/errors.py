"""What an object store's refusal means for an upload, in plain words: one table for every client. Pure.

What comes in: a status, an error code, the kind of a failure to get any answer, and what was asked of whom.
What goes out: an UploadError, worded by us: a client's own text may hold request URLs, signatures, and what a
server chose to send.

What is wrong for every upload (credentials, bucket, server) is said without the object's key, so that equal
reasons can be counted.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from msgspec import Struct

from upswell.errors import PermanentUploadError, StoreUnavailableError, TemporaryUploadError
from upswell.safe import safe

Action = Literal["write", "read", "delete", "list", "abort"]


class Asked(Struct, frozen=True):
    """What was asked of whom: the bucket at `endpoint` (empty: the vendor's own), and the object in it."""

    scheme: str
    bucket: str
    endpoint: str = ""
    key: str = ""
    action: Action = "read"

    @property
    def url(self) -> str:
        """The object's URL, without credentials or query."""
        return safe(f"{self.scheme}://{self.bucket}/{self.key}")

    @property
    def server(self) -> str:
        """Who was asked."""
        return safe(self.endpoint) or _VENDORS[self.scheme]

    @property
    def store(self) -> str:
        """The bucket, and where it is."""
        return f"{safe(f'{self.scheme}://{self.bucket}')} at {self.server}"


_VENDORS = {"s3": "Amazon S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}

_RIGHTS: dict[str, dict[Action, str]] = {
    "s3": {
        "write": "PutObject",
        "read": "GetObject",
        "delete": "DeleteObject",
        "list": "ListBucket",
        "abort": "AbortMultipartUpload",
    },
    "gs": {
        "write": "storage.objects.create",
        "read": "storage.objects.get",
        "delete": "storage.objects.delete",
        "list": "storage.objects.list",
    },
    "az": {"write": "write", "read": "read", "delete": "delete", "list": "list"},
}
"""The vendors' names of the rights."""

_DOWN_STATUSES = frozenset({"408", "429", "502", "503", "504", "507"})
_CREDENTIAL_CODES = {
    "AccountIsDisabled": "the account is disabled",
    "AuthenticationFailed": "not authenticated",
    "ExpiredToken": "the credentials have expired",
    "InvalidAccessKeyId": "the access key is unknown",
    "InvalidToken": "the session token is invalid",
    "RequestTimeTooSkewed": "this machine's clock differs too much from the server's",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "TokenRefreshRequired": "the credentials have expired",
}
_DOWN_CODES = frozenset({"ServerBusy", "ServiceUnavailable", "SlowDown"})
_FULL_CODES = frozenset({"QuotaExceeded", "XMinioStorageFull"})
_REGION_CODES = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect"})
_NO_BUCKET_CODES = {"NoSuchBucket": "bucket", "ContainerNotFound": "container"}
"""What is wrong with our credentials or the store: every upload meets it, so none is to blame."""

_DENIED_CODES = frozenset({"AccessDenied", "AuthorizationPermissionMismatch"})
"""Codes of a 403 that is about this key; any other, an identity service's for one, is about our standing."""

TEMPORARY_CODES = frozenset(
    {
        "BadDigest", "ConditionalRequestConflict", "IncompleteBody", "InvalidPart", "InvalidBlockList",
        "Md5Mismatch", "NoSuchUpload", "OperationAborted", "RequestTimeout", "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
    }
)  # fmt: skip
"""Refusals (400 to 499) of these bytes on their way, not of the upload."""

_DOWN_KINDS = {
    "Certificate": "the certificate of {} is not trusted: set SSL_CERT_FILE",
    "Connect": "cannot connect to {}",
    "Timeout": "{} did not answer in time",
}
_BROKEN_KINDS = frozenset({"Request", "Interrupted"})


def store_error(
    status: str, code: str, kind: str, asked: Asked
) -> PermanentUploadError | TemporaryUploadError:
    """Return the error for what a store answered.

    Args:
        status: three digits, or nothing where there was no answer.
        code: the vendor's error code, letters and digits, or nothing.
        kind: how the request failed, where there was no answer.
        asked: what, and of whom.
    """
    what = code or f"{status} {phrase(status)}".strip()
    outage = _outage(status, code, kind, asked)
    if outage is not None:
        return StoreUnavailableError(f"{what}: {outage}" if what else outage)
    if code in _DENIED_CODES:
        right = _RIGHTS[asked.scheme][asked.action]
        return PermanentUploadError(
            f"{what}: the credentials may not {right} on {asked.url} at {asked.server}"
        )
    if status == "412":
        return TemporaryUploadError(f"the object changed while it was used: {what}: {asked.url}")
    if status.startswith("4") and code not in TEMPORARY_CODES and status != "409":
        return PermanentUploadError(f"{asked.server} refused {asked.url}: {what}")
    if kind in _BROKEN_KINDS and not what:
        return TemporaryUploadError(f"the connection to {asked.server} broke: {asked.url}")
    return TemporaryUploadError(f"{asked.server} failed: {what or kind}: {asked.url}")


def _outage(status: str, code: str, kind: str, asked: Asked) -> str | None:
    """Return what is wrong for every upload, or None where it is about this one."""
    check = f"check the credentials for {asked.store}"
    words: str | None = None
    if code in _NO_BUCKET_CODES or (status == "404" and not code and asked.action == "write"):
        what = _NO_BUCKET_CODES.get(code, "bucket")
        words = f'{what} "{safe(asked.bucket)}" does not exist at {asked.server}'
    elif code in _REGION_CODES:
        words = f"{asked.store} is in another region: set store_region"
    elif code in _CREDENTIAL_CODES:
        words = f"{_CREDENTIAL_CODES[code]}: {check}"
    elif code in _FULL_CODES or status == "507":
        words = f"{asked.server} is full: {safe(f'{asked.scheme}://{asked.bucket}')}"
    elif code in _DOWN_CODES or status in _DOWN_STATUSES:
        words = f"{asked.server} is unavailable"
    elif status == "401":
        words = f"not authenticated: {check}"
    elif status == "403" and code not in _DENIED_CODES:
        words = f"{check}, and that they may {_RIGHTS[asked.scheme][asked.action]}"
    elif kind in _DOWN_KINDS and not code:
        words = _DOWN_KINDS[kind].format(asked.server)
    return words


def phrase(status: str) -> str:
    """Return what HTTP calls a status; nothing where it has no name for it."""
    try:
        return HTTPStatus(int(status or 0)).phrase
    except ValueError:
        return ""
